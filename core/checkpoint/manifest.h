#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace wavefield {

inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr uint64_t kMaxManifestBytes = 16 << 20;
inline constexpr int kCheckpointFormatVersion = 1;
inline constexpr int kMaxWorldSize = 65'536;

// What a checkpoint is and of which files it consists. Its presence makes a checkpoint complete.
// docs/checkpoint-format.md describes it as it is on disk.
struct CheckpointManifest {
  struct File {
    std::string name;
    uint64_t bytes = 0;
    std::string sha256;
    friend bool operator==(const File&, const File&) = default;
  };

  int format_version = kCheckpointFormatVersion;
  std::string job;
  uint64_t epoch = 0;        // of the attempt that wrote it
  uint64_t step = 0;         // optimizer steps done
  uint64_t batch_index = 0;  // of the next batch
  uint64_t tokens = 0;       // trained on so far
  uint64_t seed = 0;
  absl::Time created = absl::UnixEpoch();  // whole seconds are kept
  nlohmann::json model_config = nlohmann::json::object();
  nlohmann::json training_spec = nlohmann::json::object();
  std::string dataset;
  std::string dataset_content_hash;
  std::string tokenizer_hash;
  nlohmann::json fingerprint = nlohmann::json::object();
  nlohmann::json metrics = nlohmann::json::object();
  int world_size = 1;
  std::string parent;  // what the attempt began with (docs/checkpoint-format.md), or empty
  std::vector<File> files;

  friend bool operator==(const CheckpointManifest&, const CheckpointManifest&) = default;
};

// The text of manifest.json; its last line holds the SHA-256 of all that stands before.
std::string FormatManifest(const CheckpointManifest& manifest);

// DATA_LOSS when the text is not as it was written; FAILED_PRECONDITION for a format version of the
// future; INVALID_ARGUMENT, naming the key, for contents no manifest may have.
absl::StatusOr<CheckpointManifest> ParseManifest(std::string_view text);

}  // namespace wavefield
