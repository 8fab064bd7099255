#pragma once

#include <memory>
#include <optional>

#include "core/comm/communicator.h"
#include "core/data/dataset.h"
#include "core/data/sampler.h"
#include "worker/trainer/checkpoint_saver.h"
#include "worker/trainer/device.h"
#include "worker/trainer/events.h"
#include "worker/trainer/step_agreement.h"
#include "worker/trainer/training_state.h"
#include "worker/trainer/worker_channel.h"

namespace wavefield {

// Where a run is: what is told when it fails.
struct RunPosition {
  std::string phase = "start";  // TrainerFailure.phase
  int64_t step = 0;             // the last that was done
};

// One rank's training run, from its task to the last checkpoint. Use from one thread: Create(),
// Run().
class Trainer {
 public:
  // Meets the other ranks and restores the newest checkpoint. `task`, `channel` and `position`,
  // which it keeps true, must outlive it.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const TrainTask& task,
                                                         const HostOptions& host,
                                                         WorkerChannel& channel,
                                                         RunPosition& position);
  // Trains until the budget is used up or a stop is asked for. ABORTED when the attempt was ended
  // from outside or a peer died.
  absl::Status Run();

 private:
  Trainer(const TrainTask& task, const HostOptions& host, WorkerChannel& channel,
          RunPosition& position, Dataset dataset, Device device);

  absl::Status MeetPeers();
  absl::Status VerifyDataset();
  absl::Status Restore();
  absl::Status TrainStep();
  // Leaves gradients of all ranks together.
  absl::StatusOr<LossSums> ForwardBackward(PhaseSeconds& phases);
  StepShare Share(const LossSums& sums, const PhaseSeconds& phases) const;
  absl::Status Evaluate();
  // Whether it is known before step `step` that an evaluation follows it.
  bool EvaluatesAfter(int64_t step) const;
  void ReportFieldHealth();
  absl::Status Save(CheckpointSaver::Mode mode);
  // These two may be called on a thread of the saver.
  void ReportSaved(const SavedCheckpoint& saved);
  void ReportFailedSave(int64_t step, const absl::Status& why);
  void Warn(const std::string& message);
  bool Finished() const;

  const TrainTask& task_;
  const HostOptions host_;
  WorkerChannel& channel_;
  RunPosition& position_;
  Dataset dataset_;
  BatchSampler sampler_;
  const Device device_;
  Backend& backend_;
  const double matmul_rate_;  // FLOP/s of this rank, measured while the memory is free
  std::shared_ptr<Communicator> communicator_;  // for memory of the host
  Model model_;
  Optimizer optimizer_;
  TrainingState state_;
  DirectoryStorage storage_;
  CheckpointSaver saver_;
  // For memory of the device. Goes before that memory does, which ends what is on its way there.
  std::shared_ptr<Communicator> gradient_communicator_;
  double group_matmul_rate_ = 0;      // FLOP/s of all ranks together
  std::vector<LayerUpdate> updates_;  // by the last step, if an evaluation was to follow; rank 0
  bool stopped_ = false;
  bool skipping_ = false;  // updates, as the gradient is not finite
  bool budget_reached_ = false;
  int64_t restored_step_ = 0;  // done before this attempt
  absl::Duration last_save_;
  double save_seconds_ = 0;    // waited for a checkpoint, until it is reported
  uint64_t share_digest_ = 0;  // of this rank's windows of the step
};

}  // namespace wavefield
