#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/logging.h"
#include "core/model/config/model_config.h"
#include "core/model/config/training_config.h"

namespace wavefield {

// What this host adds to a task.
struct HostOptions {
  std::filesystem::path storage_root;
  std::string address = "127.0.0.1";  // other ranks reach this one here
  int threads = 1;
};

// One rank of one attempt of a job (message TrainTask).
struct TrainTask {
  std::string job;  // "jobs/{job}"
  nlohmann::json spec;
  ModelConfig model;
  TrainingConfig training;
  std::string device = "cpu";
  int64_t epoch = 0;
  int attempt = 0;
  int rank = 0;
  int world_size = 1;
  std::string dataset;            // "datasets/{dataset}"
  std::string dataset_directory;  // relative to the storage root, like all below
  std::string dataset_content_hash;
  std::string checkpoint_directory;
  std::vector<std::string> resume_candidates;  // newest first
  std::string init_from_directory;  // without candidates, weights come from here; "": drawn
};

// What the log's lines about it have; `step`: about what was done then.
LogFields LogFieldsOf(const TrainTask& task, std::optional<int64_t> step = std::nullopt);

// A message as users read it: paths in the storage are relative to its root.
std::string WithoutRoot(const std::string& message, const HostOptions& host);

struct EvaluateTask {
  std::filesystem::path checkpoint;
  std::filesystem::path dataset;   // empty: `token_ids`
  std::vector<int32_t> token_ids;  // one window; every id but the first is a target
  int64_t max_tokens = 0;          // 0: all of the held-out text
  int64_t sequence_length = 0;     // 0: the training's
};

struct AuditTask {
  std::filesystem::path checkpoint;
  std::filesystem::path dataset;  // empty: ids drawn by chance
  int64_t windows = 0;            // 0: by default, like the next two
  int64_t sequence_length = 0;
  int64_t changes_per_window = 0;
  uint64_t seed = 1;
};

struct GenerateTask {
  std::filesystem::path checkpoint;
  std::string prompt;
  int64_t max_tokens = 0;
  double temperature = 0;
  uint64_t seed = 0;
};

// From the JSON of a message Assignment. INVALID_ARGUMENT names what is missing or wrong.
absl::StatusOr<TrainTask> ParseTrainTask(const nlohmann::json& assignment);
absl::StatusOr<EvaluateTask> ParseEvaluateTask(const nlohmann::json& assignment,
                                               const std::filesystem::path& storage_root);
absl::StatusOr<AuditTask> ParseAuditTask(const nlohmann::json& assignment,
                                         const std::filesystem::path& storage_root);
absl::StatusOr<GenerateTask> ParseGenerateTask(const nlohmann::json& assignment,
                                               const std::filesystem::path& storage_root);

}  // namespace wavefield
