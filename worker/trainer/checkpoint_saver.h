#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "core/checkpoint/manifest.h"
#include "core/checkpoint/snapshot.h"
#include "core/checkpoint/storage.h"
#include "core/comm/communicator.h"
#include "worker/trainer/task.h"
#include "worker/trainer/training_state.h"

namespace wavefield {

struct SavedCheckpoint {
  int64_t step = 0;
  std::string directory;  // relative to the storage root
  int64_t bytes = 0;
  std::string manifest;
  absl::Duration stall;     // the step loop waited
  absl::Duration duration;  // from the step boundary until it was complete
};

// What a rank says of the save under way; of several ranks, whether any says so.
struct SaveShare {
  bool busy = false;
  bool failed = false;
};

// Writes a job's checkpoints to the cluster's storage (docs/checkpoint-format.md), one at a time:
// every rank its share, then rank 0 what makes it complete. Each of these two stages begins when
// all ranks are known to be through with the one before. Behind training, a thread of this rank
// does the work and the ranks learn of each other from what they agree on after steps (Advance); it
// uses neither the communicator nor the device. Use from one thread, that of the step loop.
class CheckpointSaver {
 public:
  enum class Mode {
    kBehind,  // the step loop waits for a copy of what is written
    kNow,     // … until the checkpoint is complete, or has failed
  };

  // May be called on another thread, one call at a time.
  struct Observer {
    // On rank 0, as soon as the checkpoint exists, whatever becomes of the group then.
    std::function<void(const SavedCheckpoint&)> saved;
    // On rank 0 once for each that failed; on others if it was this rank that could not write.
    std::function<void(int64_t step, const absl::Status& why)> failed;
  };

  // `task`, `storage` and what `state` views must outlive it. Takes the memory for copies where the
  // job's policy has it write behind training.
  CheckpointSaver(const TrainTask& task, Storage& storage, nlohmann::json fingerprint,
                  const TrainingState& state, Observer observer);
  // Ends what is under way, and leaves it incomplete.
  ~CheckpointSaver();

  // Called by all ranks together, between steps: saves `state`, as soon as a save under way has
  // ended. A failure goes to the observer and is none here. ABORTED when the group is broken.
  absl::Status Save(Mode mode, Communicator& communicator);

  // For the agreement after a step, …
  SaveShare share() const;
  // … and what the ranks agreed on: the same on each.
  void Advance(const SaveShare& agreed);
  // Waits until no save is under way. Called by all ranks together.
  absl::Status Finish(Communicator& communicator);

  // These are the same on all ranks.
  bool under_way() const { return stage_ != Stage::kNone; }
  // Of the last checkpoint that was completed; −1: none yet.
  int64_t saved_step() const { return saved_step_; }

 private:
  enum class Stage { kNone, kWriting, kCompleting };

  // One piece of work at a time, on a thread of its own or at once.
  class Work {
   public:
    void Start(bool behind, std::function<absl::Status(const std::stop_token&)> work);
    bool running() const { return !done_; }
    // Waits for it.
    const absl::Status& Result();
    // REQUIRES: not running.
    bool failed() const { return !status_.ok(); }

   private:
    std::atomic<bool> done_ = true;
    absl::Status status_;
    std::jthread thread_;
  };

  absl::Status CheckRoom() const;
  absl::Status Write(const std::stop_token& cancel);
  // On rank 0: makes the checkpoint complete, or removes what was written of it.
  absl::Status Complete(const absl::Status& written);
  absl::StatusOr<SavedCheckpoint> Commit();
  CheckpointManifest ManifestNow() const;

  const TrainTask& task_;
  Storage& storage_;
  const nlohmann::json fingerprint_;
  const TrainingState& state_;
  const Observer observer_;
  std::optional<ShardSnapshot> snapshot_;

  Stage stage_ = Stage::kNone;
  Mode mode_ = Mode::kNow;
  int64_t step_ = 0;  // of the save under way, as the next four
  std::string directory_;
  CheckpointManifest manifest_;
  absl::Duration begin_;
  absl::Duration stall_;
  int64_t saved_step_ = -1;
  Work work_;  // goes first: its thread uses all of the above
};

}  // namespace wavefield
