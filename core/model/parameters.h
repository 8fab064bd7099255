#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "core/model/config/model_config.h"
#include "core/tensor/tensor.h"

namespace wavefield {

struct ParameterInfo {
  std::string name;  // docs/model.md, "Configuration and tensor names"
  Shape shape;
  int64_t offset;  // of the first element in the flat buffer
  bool decays;     // subject to weight decay
};

// Where every parameter of a model lies in one flat buffer: in the order of the forward pass,
// without gaps. The same layout serves parameters, gradients and optimizer state. Immutable.
class ParameterLayout {
 public:
  // REQUIRES: a valid configuration.
  explicit ParameterLayout(const ModelConfig& config);

  const std::vector<ParameterInfo>& parameters() const { return parameters_; }
  int64_t elements() const { return elements_; }

  // The named tensor's view of a flat buffer of elements() floats. REQUIRES: the name exists.
  Tensor View(Tensor flat, const std::string& name) const;
  Tensor View(Tensor flat, const ParameterInfo& info) const;

 private:
  void Add(std::string name, Shape shape, bool decays);

  std::vector<ParameterInfo> parameters_;
  int64_t elements_ = 0;
};

// Writes the initial values (docs/model.md, "Initialisation") into `flat`. Every value is a
// function of (seed, tensor name, element) alone.
void InitializeParameters(const ModelConfig& config, const ParameterLayout& layout, uint64_t seed,
                          Backend& backend, Tensor flat);

}  // namespace wavefield
