#include "core/checkpoint/export/stored_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "absl/strings/match.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr size_t kMaxNamed = 5;  // problems listed in an error

absl::Status Refusal(std::vector<std::string> problems) {
  const size_t all = problems.size();
  if (all > kMaxNamed) problems.resize(kMaxNamed);
  return absl::InvalidArgumentError(
      fmt::format("{}{}", fmt::join(problems, "; "),
                  all > kMaxNamed ? fmt::format("; and {} more", all - kMaxNamed) : ""));
}

}  // namespace

absl::StatusOr<StoredTensors> StoredTensors::Open(std::span<const std::filesystem::path> files) {
  StoredTensors stored;
  for (const std::filesystem::path& path : files) {
    WF_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
    WF_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
    const char* data = mapped.bytes().data() + file.data_offset();
    for (const auto& [name, entry] : file.entries()) {
      const Stored tensor{entry.dtype, entry.shape, data + entry.begin};
      if (!stored.tensors_.emplace(name, tensor).second) {
        return absl::InvalidArgumentError(
            fmt::format("{}: tensor '{}' is in another file too", path.string(), name));
      }
    }
    stored.files_.push_back(std::move(mapped));
  }
  return stored;
}

bool StoredTensors::HasPrefix(const std::string& prefix) const {
  const auto first = tensors_.lower_bound(prefix);
  return first != tensors_.end() && absl::StartsWith(first->first, prefix);
}

absl::StatusOr<std::vector<NamedTensor>> StoredTensors::Select(
    std::span<const ParameterDescription> parameters, const std::string& prefix) const {
  std::vector<NamedTensor> selected;
  std::set<std::string> names;
  std::vector<std::string> problems;
  for (const ParameterDescription& parameter : parameters) {
    const std::string name = prefix + parameter.name;
    names.insert(name);
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      problems.push_back(fmt::format("tensor '{}' is missing; the configuration asks for {}", name,
                                     parameter.shape.ToString()));
    } else if (found->second.dtype != "F32") {
      problems.push_back(fmt::format("tensor '{}' is {}, expected F32", name, found->second.dtype));
    } else if (!(found->second.shape == parameter.shape)) {
      problems.push_back(fmt::format("tensor '{}' has shape {}, the configuration asks for {}",
                                     name, found->second.shape.ToString(),
                                     parameter.shape.ToString()));
    } else {
      // Only read through.
      void* const data = const_cast<char*>(found->second.data);
      selected.push_back({parameter.name, {data, DType::kFloat32, parameter.shape}});
    }
  }
  for (const auto& [name, tensor] : tensors_) {
    if (absl::StartsWith(name, prefix) && !names.contains(name)) {
      problems.push_back(fmt::format("tensor '{}' {} is not part of the configuration's model",
                                     name.substr(0, 200), tensor.shape.ToString()));
    }
  }
  if (!problems.empty()) return Refusal(std::move(problems));
  return selected;
}

}  // namespace wavefield
