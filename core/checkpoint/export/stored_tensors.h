#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/checkpoint/safetensors.h"
#include "core/data/mapped_file.h"
#include "core/model/parameters.h"

namespace wavefield {

// The tensors of .safetensors files, where they lie: mapped, not read. Nobody may shorten the files
// meanwhile.
class StoredTensors {
 public:
  // INVALID_ARGUMENT for what is no such file, and for a name that two of them have.
  static absl::StatusOr<StoredTensors> Open(std::span<const std::filesystem::path> files);

  // Whether any name begins with `prefix`.
  bool HasPrefix(const std::string& prefix) const;

  // The tensors prefix + name of all parameters, under their names alone, in their order; valid as
  // long as this object. INVALID_ARGUMENT, naming up to five tensors, where one is missing, has
  // another shape (both are named) or is not fp32, and for names with the prefix that are no
  // parameter's.
  absl::StatusOr<std::vector<NamedTensor>> Select(std::span<const ParameterDescription> parameters,
                                                  const std::string& prefix) const;

 private:
  struct Stored {
    std::string dtype;
    Shape shape;
    const char* data;
  };

  std::vector<MappedFile> files_;
  std::map<std::string, Stored> tensors_;
};

}  // namespace wavefield
