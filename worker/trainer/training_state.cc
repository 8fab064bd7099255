#include "worker/trainer/training_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <map>
#include <utility>

#include "absl/time/clock.h"
#include "core/base/checksum.h"
#include "core/base/json_numbers.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/reader.h"
#include "core/checkpoint/writer.h"
#include "core/data/tokenizer_description.h"
#include "spdlog/spdlog.h"

namespace wavefield {
namespace {

std::vector<NamedTensor> NamedViews(Model& model, Tensor flat, const std::string& prefix) {
  std::vector<NamedTensor> tensors;
  for (const ParameterInfo& info : model.layout().parameters()) {
    tensors.push_back({prefix + info.name, model.layout().View(flat, info), &model.backend()});
  }
  return tensors;
}

absl::Status OrElsewhere(const absl::Status& status) {
  return status.ok() ? absl::UnavailableError("another rank could not save; its log says why")
                     : status;
}

}  // namespace

absl::StatusOr<bool> OkOnEveryRank(const absl::Status& status, Communicator& communicator) {
  std::array<double, 1> failures = {status.ok() ? 0.0 : 1.0};
  WF_RETURN_IF_ERROR(communicator.AllReduceSum(failures));
  return failures[0] == 0;
}

std::vector<NamedTensor> TrainingState::ModelTensors() const {
  return NamedViews(model, model.parameters(), "");
}

std::vector<NamedTensor> TrainingState::OptimizerTensors() const {
  auto tensors = NamedViews(model, optimizer.first_moment(), "m.");
  for (auto& tensor : NamedViews(model, optimizer.second_moment(), "v.")) {
    tensors.push_back(std::move(tensor));
  }
  if (optimizer.average().empty()) return tensors;
  for (auto& tensor : NamedViews(model, optimizer.average(), "ema.")) {
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

CheckpointKeeper::CheckpointKeeper(const TrainTask& task, const HostOptions& host,
                                   nlohmann::json fingerprint)
    : task_(task), storage_(host.storage_root), fingerprint_(std::move(fingerprint)) {}

absl::Status CheckpointKeeper::Save(
    const TrainingState& state, Communicator& communicator,
    const std::function<void(const SavedCheckpoint&)>& on_committed) {
  const std::string directory = JoinStoragePath(
      task_.checkpoint_directory, CheckpointDirectoryName({static_cast<uint64_t>(state.step),
                                                           static_cast<uint64_t>(task_.epoch)}));
  const std::map<std::string, std::string> metadata = {{"format", "wavefield"},
                                                       {"config", ToJson(task_.model).dump()}};
  absl::Status status =
      WriteCheckpointShard(storage_, directory, communicator.rank(), communicator.world_size(),
                           state.ModelTensors(), state.OptimizerTensors(), metadata);
  WF_ASSIGN_OR_RETURN(const bool all_wrote, OkOnEveryRank(status, communicator));
  if (all_wrote && communicator.rank() == 0) {
    const auto saved = Commit(state, directory);
    status = saved.status();
    if (saved.ok()) on_committed(*saved);
  }
  WF_ASSIGN_OR_RETURN(const bool committed, OkOnEveryRank(status, communicator));
  if (committed) return absl::OkStatus();
  if (communicator.rank() == 0) {
    if (const absl::Status removed = storage_.Delete(directory); !removed.ok()) {
      spdlog::warn("{} stays, incomplete: {}", directory, removed.ToString());
    }
  }
  // Nobody writes there again before it is gone.
  WF_RETURN_IF_ERROR(communicator.Barrier());
  return OrElsewhere(status);
}

absl::StatusOr<SavedCheckpoint> CheckpointKeeper::Commit(const TrainingState& state,
                                                         const std::string& directory) {
  WF_ASSIGN_OR_RETURN(const auto dataset, storage_.LocalPath(task_.dataset_directory));
  WF_ASSIGN_OR_RETURN(const std::string tokenizer, ReadFile(dataset / kTokenizerFile, 64 << 20));
  CheckpointManifest manifest;
  manifest.job = task_.job;
  manifest.epoch = static_cast<uint64_t>(task_.epoch);
  manifest.step = static_cast<uint64_t>(state.step);
  manifest.batch_index = static_cast<uint64_t>(state.step);
  manifest.tokens = static_cast<uint64_t>(state.total_tokens);
  manifest.seed = task_.training.seed;
  manifest.created = absl::Now();
  manifest.model_config = ToJson(task_.model);
  manifest.training_spec = task_.spec;
  manifest.dataset = task_.dataset;
  manifest.dataset_content_hash = task_.dataset_content_hash;
  manifest.tokenizer_hash = Sha256Hex(tokenizer);
  manifest.fingerprint = fingerprint_;
  manifest.metrics = {{"loss", NumberToJson(state.loss)},
                      {"attempt", task_.attempt},
                      {"trained_seconds", state.trained_seconds}};
  if (state.evaluation_step > 0) {
    manifest.metrics["evaluation_loss"] = NumberToJson(state.evaluation_loss);
    manifest.metrics["evaluation_step"] = state.evaluation_step;
  }
  manifest.world_size = task_.world_size;
  manifest.parent = state.parent;

  std::vector<ExtraFile> extra = {{kTokenizerFile, dataset / kTokenizerFile}};
  std::error_code none;
  if (std::filesystem::exists(dataset / kTokenizerModelFile, none)) {
    extra.push_back({kTokenizerModelFile, dataset / kTokenizerModelFile});
  }
  WF_ASSIGN_OR_RETURN(manifest, CommitCheckpoint(storage_, directory, std::move(manifest), extra));
  SavedCheckpoint saved{.directory = directory, .manifest = FormatManifest(manifest)};
  for (const auto& file : manifest.files) saved.bytes += static_cast<int64_t>(file.bytes);
  return saved;
}

absl::StatusOr<ResumedFrom> CheckpointKeeper::Resume(TrainingState& state,
                                                     Communicator& communicator) {
  // Rank 0 chooses; the others take its word.
  ResumedFrom resumed;
  std::array<double, 1> choice = {-1};
  if (communicator.rank() == 0) {
    const auto removed = RemoveIncompleteCheckpoints(storage_, task_.checkpoint_directory,
                                                     static_cast<uint64_t>(task_.epoch));
    if (!removed.ok()) {
      resumed.warnings.push_back("incomplete checkpoints stay: " + removed.status().ToString());
    }
    for (size_t i = 0; i < task_.resume_candidates.size() && choice[0] < 0; ++i) {
      WF_ASSIGN_OR_RETURN(const auto path, storage_.LocalPath(task_.resume_candidates[i]));
      const auto verified = VerifyCheckpoint(path, VerifyLevel::kFull);
      if (verified.ok()) {
        choice[0] = static_cast<double>(i);
      } else {
        ++resumed.refused;
        resumed.warnings.push_back(fmt::format("checkpoint {} passed over: {}",
                                               task_.resume_candidates[i],
                                               verified.status().ToString()));
      }
    }
  } else {
    choice[0] = 0;
  }
  WF_RETURN_IF_ERROR(communicator.AllReduceSum(choice));
  if (choice[0] < 0 && !task_.resume_candidates.empty()) {
    return absl::DataLossError(fmt::format(
        "none of the job's {} checkpoints is sound; starting over would lose its progress: repair "
        "the storage, or submit a new job. {}",
        task_.resume_candidates.size(), fmt::join(resumed.warnings, "; ")));
  }
  if (choice[0] < 0) return resumed;

  resumed.directory = task_.resume_candidates.at(static_cast<size_t>(choice[0]));
  WF_ASSIGN_OR_RETURN(const auto path, storage_.LocalPath(resumed.directory));
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
  resumed.exact = manifest.fingerprint == fingerprint_;
  return resumed;
}

}  // namespace wavefield
