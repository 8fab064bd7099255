#include "coordinator/checkpoints/difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/manifest.h"
#include "core/checkpoint/safetensors.h"

namespace wavefield::coordinator {
namespace {

using nlohmann::json;
using wavefield::v1::Checkpoint;
using wavefield::v1::DiffCheckpointsResponse;
using wavefield::v1::TensorDifference;

constexpr int64_t kMaxWeightBytes = int64_t{8} << 30;
constexpr size_t kMaxValueBytes = 1000;
constexpr size_t kPieceElements = 256 << 10;

bool HoldsWeights(const std::string& file) {
  const std::string suffix = ".safetensors";
  return file.size() > suffix.size() && file.rfind("optimizer-", 0) != 0 &&
         file.compare(file.size() - suffix.size(), suffix.size(), suffix) == 0;
}

absl::Status NotAsWritten(const Checkpoint& checkpoint, const std::string& file) {
  return absl::DataLossError(
      fmt::format("{} of {} is missing or not as it was written: verify the checkpoint", file,
                  checkpoint.name()));
}

// The weights of one checkpoint, where they lie.
class Weights {
 public:
  static absl::StatusOr<Weights> Open(const std::filesystem::path& root,
                                      const Checkpoint& checkpoint) {
    Weights weights;
    for (const auto& file : checkpoint.files()) {
      if (!HoldsWeights(file.path())) continue;
      auto opened = SafetensorsFile::Open(root / checkpoint.directory() / file.path());
      if (!opened.ok()) return NotAsWritten(checkpoint, file.path());
      std::multimap<uint64_t, std::string> in_file;
      for (const auto& [name, entry] : opened->entries()) {
        if (!weights.file_of_.emplace(name, weights.files_.size()).second) {
          return absl::DataLossError(fmt::format("{} has the tensor '{}' in two files",
                                                 checkpoint.name(),
                                                 Shortened(name, kMaxValueBytes)));
        }
        in_file.emplace(entry.begin, name);
      }
      for (const auto& [begin, name] : in_file) weights.names_.push_back(name);
      weights.files_.push_back(*std::move(opened));
    }
    return weights;
  }

  // In the order of files, and in each as they lie.
  const std::vector<std::string>& names() const { return names_; }
  // Null: there is none.
  const SafetensorsFile* FileOf(const std::string& name) const {
    const auto found = file_of_.find(name);
    return found == file_of_.end() ? nullptr : &files_[found->second];
  }

 private:
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> file_of_;
  std::vector<std::string> names_;
};

struct Sums {
  double difference = 0;  // Σ (b − a)²
  double reference = 0;   // Σ a²
};

double Relative(const Sums& sums) {
  if (sums.difference == 0) return 0;
  return std::sqrt(sums.difference / sums.reference);
}

class Comparison {
 public:
  Comparison(const Weights& a, const Weights& b, const std::function<bool()>& cancelled,
             DiffCheckpointsResponse& response)
      : a_(a), b_(b), cancelled_(cancelled), response_(response) {}

  absl::Status Run() {
    for (const std::string& name : a_.names()) WF_RETURN_IF_ERROR(Add(name));
    for (const std::string& name : b_.names()) {
      if (a_.FileOf(name) == nullptr) WF_RETURN_IF_ERROR(Add(name));
    }
    response_.set_relative_distance(Relative(total_));
    return absl::OkStatus();
  }

 private:
  absl::Status Add(const std::string& name) {
    TensorDifference& tensor = *response_.add_tensors();
    tensor.set_name(name);
    const SafetensorsFile* a = a_.FileOf(name);
    const SafetensorsFile* b = b_.FileOf(name);
    if (a != nullptr) tensor.set_shape_a(a->entries().at(name).shape.ToString());
    if (b != nullptr) tensor.set_shape_b(b->entries().at(name).shape.ToString());
    bytes_ += tensor.ByteSizeLong();
    if (bytes_ > kMaxListBytes) {
      return absl::ResourceExhaustedError(
          "these checkpoints have more tensors than an answer can hold: download them, and compare "
          "them there");
    }
    if (a == nullptr || b == nullptr) return absl::OkStatus();
    const auto& entry_a = a->entries().at(name);
    const auto& entry_b = b->entries().at(name);
    if (!(entry_a.shape == entry_b.shape) || entry_a.dtype != "F32" || entry_b.dtype != "F32") {
      return absl::OkStatus();
    }
    return Measure(*a, *b, tensor);
  }

  absl::Status Measure(const SafetensorsFile& a, const SafetensorsFile& b,
                       TensorDifference& tensor) {
    const std::string& name = tensor.name();
    const size_t elements = static_cast<size_t>(a.entries().at(name).shape.elements());
    Sums sums;
    double largest = 0;
    for (size_t begin = 0; begin < elements; begin += kPieceElements) {
      if (cancelled_()) return absl::CancelledError("the comparison was ended");
      const size_t count = std::min(kPieceElements, elements - begin);
      piece_a_.resize(count);
      piece_b_.resize(count);
      if (!a.ReadPiece(name, begin, piece_a_).ok()) return NotAsWritten(response_.a(), name);
      if (!b.ReadPiece(name, begin, piece_b_).ok()) return NotAsWritten(response_.b(), name);
      for (size_t i = 0; i < count; ++i) {
        const double x = piece_a_[i];
        const double distance = static_cast<double>(piece_b_[i]) - x;
        sums.difference += distance * distance;
        sums.reference += x * x;
        largest = std::max(largest, std::abs(distance));
      }
    }
    total_.difference += sums.difference;
    total_.reference += sums.reference;
    tensor.set_distance(std::sqrt(sums.difference));
    tensor.set_relative_distance(Relative(sums));
    tensor.set_max_difference(largest);
    return absl::OkStatus();
  }

  const Weights& a_;
  const Weights& b_;
  const std::function<bool()>& cancelled_;
  DiffCheckpointsResponse& response_;
  Sums total_;
  size_t bytes_ = 0;
  std::vector<float> piece_a_;
  std::vector<float> piece_b_;
};

// "a.b" → JSON of the value, for all values that are no objects.
void Flatten(const std::string& path, const json& value,
             std::map<std::string, std::string>& settings) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, inner] : value.items()) {
      Flatten(path.empty() ? key : path + "." + key, inner, settings);
    }
    return;
  }
  settings[Shortened(path, kMaxValueBytes)] =
      Shortened(value.dump(-1, ' ', false, json::error_handler_t::replace), kMaxValueBytes);
}

absl::StatusOr<std::map<std::string, std::string>> SettingsOf(const std::filesystem::path& root,
                                                              const Checkpoint& checkpoint) {
  const auto text = ReadFile(root / checkpoint.directory() / kManifestFile, kMaxManifestBytes);
  if (!text.ok()) return NotAsWritten(checkpoint, kManifestFile);
  const auto manifest = ParseManifest(*text);
  if (!manifest.ok()) return NotAsWritten(checkpoint, kManifestFile);
  json settings = manifest->training_spec;
  settings["model"] = manifest->model_config;
  std::map<std::string, std::string> flat;
  Flatten("", settings, flat);
  return flat;
}

void CompareSettings(const std::map<std::string, std::string>& a,
                     const std::map<std::string, std::string>& b,
                     DiffCheckpointsResponse& response) {
  std::set<std::string> paths;
  for (const auto& [path, value] : a) paths.insert(path);
  for (const auto& [path, value] : b) paths.insert(path);
  size_t bytes = 0;
  for (const std::string& path : paths) {
    const auto in_a = a.find(path);
    const auto in_b = b.find(path);
    if (in_a != a.end() && in_b != b.end() && in_a->second == in_b->second) continue;
    if (bytes > kMaxListBytes / 4) return;
    auto& difference = *response.add_settings();
    difference.set_path(path);
    if (in_a != a.end()) difference.set_a(in_a->second);
    if (in_b != b.end()) difference.set_b(in_b->second);
    bytes += difference.ByteSizeLong();
  }
}

absl::Status CheckSize(const Checkpoint& checkpoint, const std::string& field) {
  int64_t bytes = 0;
  for (const auto& file : checkpoint.files()) {
    if (HoldsWeights(file.path())) bytes += file.bytes();
  }
  if (bytes <= kMaxWeightBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{}: {} has {} of weights; at most {} are compared here: download both, and compare them "
      "there",
      field, checkpoint.name(), Gib(bytes), Gib(kMaxWeightBytes)));
}

}  // namespace

absl::Status Compare(const std::filesystem::path& storage_root,
                     const std::function<bool()>& cancelled, DiffCheckpointsResponse& response) {
  WF_RETURN_IF_ERROR(CheckSize(response.a(), "a"));
  WF_RETURN_IF_ERROR(CheckSize(response.b(), "b"));
  WF_ASSIGN_OR_RETURN(const auto settings_a, SettingsOf(storage_root, response.a()));
  WF_ASSIGN_OR_RETURN(const auto settings_b, SettingsOf(storage_root, response.b()));
  CompareSettings(settings_a, settings_b, response);
  WF_ASSIGN_OR_RETURN(const Weights a, Weights::Open(storage_root, response.a()));
  WF_ASSIGN_OR_RETURN(const Weights b, Weights::Open(storage_root, response.b()));
  return Comparison(a, b, cancelled, response).Run();
}

}  // namespace wavefield::coordinator
