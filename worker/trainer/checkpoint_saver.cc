#include "worker/trainer/checkpoint_saver.h"

#include <array>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "core/base/check.h"
#include "core/base/checksum.h"
#include "core/base/clock.h"
#include "core/base/json_numbers.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/writer.h"
#include "core/data/tokenizer_description.h"
#include "spdlog/spdlog.h"

namespace wavefield {
namespace {

absl::Duration Now() { return Clock::Real().Monotonic(); }

// The files of the dataset's tokenizer.
absl::StatusOr<std::vector<ExtraFile>> TokenizerFiles(const TrainTask& task, Storage& storage) {
  WF_ASSIGN_OR_RETURN(const auto dataset, storage.LocalPath(task.dataset_directory));
  std::vector<ExtraFile> files = {{kTokenizerFile, dataset / kTokenizerFile}};
  std::error_code none;
  if (std::filesystem::exists(dataset / kTokenizerModelFile, none)) {
    files.push_back({kTokenizerModelFile, dataset / kTokenizerModelFile});
  }
  return files;
}

}  // namespace

void CheckpointSaver::Work::Start(bool behind,
                                  std::function<absl::Status(const std::stop_token&)> work) {
  WF_CHECK(done_);
  if (!behind) {
    status_ = work({});
    return;
  }
  if (thread_.joinable()) thread_.join();
  done_ = false;
  thread_ = std::jthread([this, work = std::move(work)](const std::stop_token& cancel) {
    status_ = work(cancel);
    done_ = true;
  });
}

const absl::Status& CheckpointSaver::Work::Result() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

CheckpointSaver::CheckpointSaver(const TrainTask& task, Storage& storage,
                                 nlohmann::json fingerprint, const TrainingState& state,
                                 Observer observer)
    : task_(task),
      storage_(storage),
      fingerprint_(std::move(fingerprint)),
      state_(state),
      observer_(std::move(observer)) {
  if (WritesCheckpointsBehind(task.training)) {
    snapshot_.emplace(state.ModelTensors(), state.OptimizerTensors(), task.rank, task.world_size);
  }
}

CheckpointSaver::~CheckpointSaver() = default;

absl::Status CheckpointSaver::Save(Mode mode, Communicator& communicator) {
  const absl::Duration begin = Now();
  WF_RETURN_IF_ERROR(Finish(communicator));
  begin_ = begin;
  mode_ = mode;
  step_ = state_.step;
  const absl::Status room = task_.rank == 0 ? CheckRoom() : absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const bool has_room, OkOnEveryRank(room, communicator));
  if (!has_room) {
    if (!room.ok()) observer_.failed(step_, room);
    return absl::OkStatus();
  }
  directory_ = JoinStoragePath(
      task_.checkpoint_directory,
      CheckpointDirectoryName({static_cast<uint64_t>(step_), static_cast<uint64_t>(task_.epoch)}));
  if (task_.rank == 0) manifest_ = ManifestNow();
  stage_ = Stage::kWriting;
  const bool behind = mode == Mode::kBehind;
  if (behind) {
    WF_CHECK(snapshot_.has_value());
    snapshot_->Take();
    stall_ = Now() - begin_;
  }
  work_.Start(behind, [this](const std::stop_token& cancel) { return Write(cancel); });
  return behind ? absl::OkStatus() : Finish(communicator);
}

SaveShare CheckpointSaver::share() const {
  if (work_.running()) return {.busy = true};
  return {.failed = under_way() && work_.failed()};
}

void CheckpointSaver::Advance(const SaveShare& agreed) {
  if (!under_way() || agreed.busy) return;
  const absl::Status result = work_.Result();
  if (stage_ == Stage::kCompleting) {
    stage_ = Stage::kNone;
    if (!agreed.failed) saved_step_ = step_;
    return;
  }
  stage_ = Stage::kCompleting;
  if (task_.rank != 0) {
    if (!result.ok()) observer_.failed(step_, result);
    return;
  }
  absl::Status written = result;
  if (agreed.failed && result.ok()) {
    written = absl::UnavailableError("another rank could not write its share; its log says why");
  }
  work_.Start(mode_ == Mode::kBehind, [this, written = std::move(written)](const std::stop_token&) {
    return Complete(written);
  });
}

absl::Status CheckpointSaver::Finish(Communicator& communicator) {
  while (under_way()) {
    const bool failed = !work_.Result().ok();
    std::array<double, 1> failures = {failed ? 1.0 : 0.0};
    WF_RETURN_IF_ERROR(communicator.AllReduceSum(failures));
    Advance({.failed = failures[0] > 0});
  }
  return absl::OkStatus();
}

// Rank 0 asks for all: they write to one storage.
absl::Status CheckpointSaver::CheckRoom() const {
  uint64_t bytes = 0;
  for (const auto& tensors : {state_.ModelTensors(), state_.OptimizerTensors()}) {
    for (const NamedTensor& named : tensors) bytes += named.tensor.bytes();
  }
  WF_ASSIGN_OR_RETURN(const auto files, TokenizerFiles(task_, storage_));
  for (const ExtraFile& file : files) {
    std::error_code none;
    const auto size = std::filesystem::file_size(file.source, none);
    if (!none) bytes += size;
  }
  return wavefield::CheckRoom(storage_, bytes);
}

absl::Status CheckpointSaver::Write(const std::stop_token& cancel) {
  const std::map<std::string, std::string> metadata = ModelFileMetadata(ToJson(task_.model));
  const auto write = [&](const std::vector<NamedTensor>& model,
                         const std::vector<NamedTensor>& optimizer) {
    return WriteCheckpointShard(storage_, directory_, task_.rank, task_.world_size, model,
                                optimizer, metadata, cancel);
  };
  return mode_ == Mode::kBehind ? write(snapshot_->model(), snapshot_->optimizer())
                                : write(state_.ModelTensors(), state_.OptimizerTensors());
}

absl::Status CheckpointSaver::Complete(const absl::Status& written) {
  absl::Status status = written;
  if (status.ok()) {
    const auto saved = Commit();
    if (saved.ok()) {
      observer_.saved(*saved);
      return absl::OkStatus();
    }
    status = saved.status();
  }
  if (const absl::Status removed = storage_.Delete(directory_); !removed.ok()) {
    spdlog::warn("{} stays, incomplete: {}", directory_, removed.ToString());
  }
  observer_.failed(step_, status);
  return status;
}

absl::StatusOr<SavedCheckpoint> CheckpointSaver::Commit() {
  WF_ASSIGN_OR_RETURN(const std::vector<ExtraFile> files, TokenizerFiles(task_, storage_));
  WF_ASSIGN_OR_RETURN(manifest_.tokenizer_hash, Sha256HexOfFile(files.front().source));
  WF_ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                      CommitCheckpoint(storage_, directory_, manifest_, files));
  SavedCheckpoint saved{.step = step_,
                        .directory = directory_,
                        .manifest = FormatManifest(manifest),
                        .duration = Now() - begin_};
  saved.stall = mode_ == Mode::kBehind ? stall_ : saved.duration;
  for (const auto& file : manifest.files) saved.bytes += static_cast<int64_t>(file.bytes);
  return saved;
}

CheckpointManifest CheckpointSaver::ManifestNow() const {
  CheckpointManifest manifest;
  manifest.job = task_.job;
  manifest.epoch = static_cast<uint64_t>(task_.epoch);
  manifest.step = static_cast<uint64_t>(state_.step);
  manifest.batch_index = static_cast<uint64_t>(state_.step);
  manifest.tokens = static_cast<uint64_t>(state_.total_tokens);
  manifest.seed = task_.training.seed;
  manifest.created = absl::Now();
  manifest.model_config = ToJson(task_.model);
  manifest.training_spec = task_.spec;
  manifest.dataset = task_.dataset;
  manifest.dataset_content_hash = task_.dataset_content_hash;
  manifest.fingerprint = fingerprint_;
  manifest.metrics = {{"loss", NumberToJson(state_.loss)},
                      {"attempt", task_.attempt},
                      {"trained_seconds", state_.trained_seconds}};
  if (state_.evaluation_step > 0) {
    manifest.metrics["evaluation_loss"] = NumberToJson(state_.evaluation_loss);
    manifest.metrics["evaluation_step"] = state_.evaluation_step;
  }
  manifest.world_size = task_.world_size;
  manifest.parent = state_.parent;
  return manifest;
}

}  // namespace wavefield
