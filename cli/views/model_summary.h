#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/config/model_config.h"
#include "wavefield/v1/spec.pb.h"

namespace wavefield {

// The architecture that `spec` asks for: its preset, with the fields given beside it. A vocabulary
// of a tokenizer, `tokenizer_vocab_size`, replaces the preset's when it is positive. NOT_FOUND for
// an unknown preset; INVALID_ARGUMENT with every field violation.
absl::StatusOr<ModelConfig> ResolveModel(const v1::ModelSpec& spec, int64_t tokenizer_vocab_size);

// Tensors of one name and shape, `count` of them over the layers.
struct TensorGroup {
  std::string name;  // "layers.*.mixer.out.weight"
  std::vector<int64_t> shape;
  int64_t count = 1;

  int64_t elements() const;  // of all of them
};
// Every parameter of the model, in the order of docs/model.md. REQUIRES a valid configuration.
std::vector<TensorGroup> ListTensors(const ModelConfig& config);

}  // namespace wavefield
