#include "worker/trainer/checkpoint_loader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "core/base/json_numbers.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/reader.h"
#include "core/checkpoint/writer.h"

namespace wavefield {
namespace {

absl::Status LoadModel(const std::string& directory, Storage& storage, TrainingState& state) {
  WF_ASSIGN_OR_RETURN(const auto path, storage.LocalPath(directory));
  WF_RETURN_IF_ERROR(VerifyCheckpoint(path, VerifyLevel::kFull).status());
  return LoadTensors(path, state.ModelTensors(), TensorGroup::kModel);
}

}  // namespace

absl::StatusOr<ResumedFrom> Resume(const TrainTask& task, Storage& storage,
                                   const nlohmann::json& fingerprint, Communicator& communicator,
                                   TrainingState& state) {
  // Rank 0 chooses; the others take its word.
  ResumedFrom resumed;
  std::array<double, 1> choice = {-1};
  if (communicator.rank() == 0) {
    const auto removed = RemoveIncompleteCheckpoints(storage, task.checkpoint_directory,
                                                     static_cast<uint64_t>(task.epoch));
    if (!removed.ok()) {
      resumed.warnings.push_back("incomplete checkpoints stay: " + removed.status().ToString());
    }
    for (size_t i = 0; i < task.resume_candidates.size() && choice[0] < 0; ++i) {
      WF_ASSIGN_OR_RETURN(const auto path, storage.LocalPath(task.resume_candidates[i]));
      const auto verified = VerifyCheckpoint(path, VerifyLevel::kFull);
      if (verified.ok()) {
        choice[0] = static_cast<double>(i);
      } else {
        ++resumed.refused;
        resumed.warnings.push_back(fmt::format("checkpoint {} passed over: {}",
                                               task.resume_candidates[i],
                                               verified.status().ToString()));
      }
    }
  } else {
    choice[0] = 0;
  }
  WF_RETURN_IF_ERROR(communicator.AllReduceSum(choice));
  if (choice[0] < 0 && !task.resume_candidates.empty()) {
    return absl::DataLossError(fmt::format(
        "none of the job's {} checkpoints is sound; starting over would lose its progress: repair "
        "the storage, or submit a new job. {}",
        task.resume_candidates.size(), fmt::join(resumed.warnings, "; ")));
  }
  if (choice[0] < 0) return resumed;

  resumed.directory = task.resume_candidates.at(static_cast<size_t>(choice[0]));
  WF_ASSIGN_OR_RETURN(const auto path, storage.LocalPath(resumed.directory));
  WF_ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                      VerifyCheckpoint(path, VerifyLevel::kQuick));
  WF_RETURN_IF_ERROR(LoadTensors(path, state.ModelTensors(), TensorGroup::kModel));
  WF_RETURN_IF_ERROR(LoadTensors(path, state.OptimizerTensors(), TensorGroup::kOptimizer));
  state.step = static_cast<int64_t>(manifest.step);
  state.total_tokens = static_cast<int64_t>(manifest.tokens);
  try {
    state.trained_seconds = manifest.metrics.value("trained_seconds", 0.0);
    state.loss = NumberFromJson(manifest.metrics.at("loss"));
    if (manifest.metrics.contains("evaluation_loss")) {
      state.evaluation_loss = NumberFromJson(manifest.metrics.at("evaluation_loss"));
      state.evaluation_step = manifest.metrics.at("evaluation_step").get<int64_t>();
    }
  } catch (const std::exception& error) {
    return absl::DataLossError(
        fmt::format("{}: metrics of the manifest: {}", path.string(), error.what()));
  }
  state.parent = path.filename().string();
  resumed.exact = manifest.fingerprint == fingerprint;
  return resumed;
}

absl::Status LoadInitialWeights(const TrainTask& task, Storage& storage, Communicator& communicator,
                                TrainingState& state) {
  const absl::Status loaded = LoadModel(task.init_from_directory, storage, state);
  WF_ASSIGN_OR_RETURN(const bool all_loaded, OkOnEveryRank(loaded, communicator));
  if (!loaded.ok()) {
    return absl::Status(loaded.code(),
                        fmt::format("init_from, checkpoint {}: {}", task.init_from_directory,
                                    std::string(loaded.message())));
  }
  if (!all_loaded) {
    return absl::AbortedError(fmt::format("another rank could not load init_from, checkpoint {}",
                                          task.init_from_directory));
  }
  state.parent = task.init_from_directory;
  return absl::OkStatus();
}

}  // namespace wavefield
