// From a task to the first step: the data, the device, the other ranks, the state.

#include <fmt/format.h>

#include <array>
#include <stop_token>
#include <utility>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/model/accounting.h"
#include "spdlog/spdlog.h"
#include "worker/trainer/checkpoint_loader.h"
#include "worker/trainer/trainer.h"

namespace wavefield {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Minutes(2);
constexpr absl::Duration kOperationTimeout = absl::Minutes(30);

nlohmann::json Fingerprint(const Device& device, int world_size) {
  std::string libraries = device.backend->fingerprint();
  if (device.cuda != nullptr && world_size > 1) {
    libraries += fmt::format(" NCCL {}", device.cuda->nccl_version);
  }
  return {{"backend", device.backend->name()},
          {"libraries", libraries},
          {"threads", device.backend->threads()},
          {"world_size", world_size}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const TrainTask& task,
                                                         const HostOptions& host,
                                                         WorkerChannel& channel,
                                                         RunPosition& position) {
  position.phase = "data";
  WF_ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(host.storage_root / task.dataset_directory,
                                                     VerifyMode::kQuick));
  if (dataset.content_hash() != task.dataset_content_hash) {
    return absl::FailedPreconditionError(fmt::format(
        "{} has content hash {}, the job was created for {}; prepare it again or submit "
        "a new job",
        task.dataset, dataset.content_hash(), task.dataset_content_hash));
  }
  if (dataset.train().size() <= task.training.sequence_length) {
    return absl::FailedPreconditionError(fmt::format("{} has {} training tokens; a window needs {}",
                                                     task.dataset, dataset.train().size(),
                                                     task.training.sequence_length + 1));
  }
  position.phase = "start";
  WF_ASSIGN_OR_RETURN(Device device, OpenDevice(task.device, host.threads));
  WF_RETURN_IF_ERROR(CheckMemory(device, task.model, task.training, task.world_size));
  auto trainer = std::unique_ptr<Trainer>(
      new Trainer(task, host, channel, position, std::move(dataset), std::move(device)));
  WF_RETURN_IF_ERROR(trainer->MeetPeers());
  position.phase = "data";
  WF_RETURN_IF_ERROR(trainer->VerifyDataset());
  position.phase = "resume";
  WF_RETURN_IF_ERROR(trainer->Restore());
  return trainer;
}

Trainer::Trainer(const TrainTask& task, const HostOptions& host, WorkerChannel& channel,
                 RunPosition& position, Dataset dataset, Device device)
    : task_(task),
      host_(host),
      channel_(channel),
      position_(position),
      dataset_(std::move(dataset)),
      sampler_(dataset_.train().size(), task.training.sequence_length, task.training.batch_size,
               task.training.seed),
      device_(std::move(device)),
      backend_(*device_.backend),
      matmul_rate_(MeasureMatMulRate(backend_, ExecutionOf(task.training).activations)),
      model_(backend_, task.model, ExecutionOf(task.training)),
      optimizer_(backend_, model_.layout(), task.training),
      state_{.model = model_, .optimizer = optimizer_},
      storage_(host.storage_root),
      saver_(task, storage_, Fingerprint(device_, task.world_size), state_,
             {.saved = [this](const SavedCheckpoint& saved) { ReportSaved(saved); },
              .failed = [this](int64_t step,
                               const absl::Status& why) { ReportFailedSave(step, why); }}) {
  const MemoryEstimate plan =
      EstimateMemory(task.model, task.training, host.threads, task.device, task.world_size);
  model_.arena().Reserve(static_cast<size_t>(plan.activations));
  backend_.ReserveWorkspace(static_cast<size_t>(plan.reserved));
}

absl::Status Trainer::MeetPeers() {
  if (task_.world_size == 1) {
    communicator_ = MakeSoloCommunicator();
    gradient_communicator_ = communicator_;
  } else {
    std::stop_source cancel;
    channel_.OnAbort([cancel](const std::string&) mutable { cancel.request_stop(); });
    const GlooOptions options{.rank = task_.rank,
                              .world_size = task_.world_size,
                              .address = host_.address,
                              .connect_timeout = kConnectTimeout,
                              .operation_timeout = kOperationTimeout,
                              .cancel = cancel.get_token()};
    WF_ASSIGN_OR_RETURN(communicator_, MakeGlooCommunicator(options, channel_));
    gradient_communicator_ = communicator_;
    if (device_.cuda != nullptr) {
      const NcclOptions nccl{.rank = task_.rank,
                             .world_size = task_.world_size,
                             .connect_timeout = kConnectTimeout,
                             .operation_timeout = kOperationTimeout,
                             .cancel = cancel.get_token()};
      WF_ASSIGN_OR_RETURN(gradient_communicator_,
                          device_.cuda->make_communicator(backend_, nccl, channel_));
    }
  }
  channel_.OnAbort([host = communicator_, weak_device = std::weak_ptr(gradient_communicator_)](
                       const std::string& reason) {
    host->Abort(reason);
    if (const auto device = weak_device.lock()) device->Abort(reason);
  });
  // Ranks that round differently would drift apart, and those of another release would not
  // understand each other. Muon steps by matrix products, whose bits depend on the threads.
  std::string arithmetic = fmt::format("{} reports={}", backend_.fingerprint(), kStepReports);
  if (task_.training.optimizer == "muon") {
    arithmetic += fmt::format(" threads={}", backend_.threads());
  }
  const auto kind = static_cast<double>(HashName(arithmetic) >> 16);
  std::array<double, 2> sums = {matmul_rate_, kind};
  WF_RETURN_IF_ERROR(communicator_->AllReduceSum(sums));
  if (sums[1] != kind * task_.world_size) {
    return absl::FailedPreconditionError(fmt::format(
        "the ranks do not compute alike: this host has {}, another differs; train on "
        "hosts with the same instruction set, libraries and release of the programs{}",
        arithmetic, task_.training.optimizer == "muon" ? ", on equally many threads" : ""));
  }
  group_matmul_rate_ = sums[0];
  spdlog::info("rank {} of {} met its peers; {}", task_.rank, task_.world_size,
               backend_.fingerprint());
  return absl::OkStatus();
}

absl::Status Trainer::VerifyDataset() {
  absl::Status status;
  if (task_.rank == 0) status = Dataset::Open(dataset_.directory(), VerifyMode::kFull).status();
  WF_ASSIGN_OR_RETURN(const bool sound, OkOnEveryRank(status, *communicator_));
  if (sound) return absl::OkStatus();
  return status.ok() ? absl::AbortedError("rank 0 found the dataset damaged") : status;
}

absl::Status Trainer::Restore() {
  model_.ZeroGradients();
  const nlohmann::json fingerprint = Fingerprint(device_, task_.world_size);
  WF_ASSIGN_OR_RETURN(const ResumedFrom resumed,
                      Resume(task_, storage_, fingerprint, *communicator_, state_));
  std::string origin = "resumed from " + resumed.directory;
  if (resumed.directory.empty()) {
    if (task_.init_from_directory.empty()) {
      origin = "from scratch";
      model_.Initialize(task_.training.seed);
    } else {
      origin = "with the weights of " + task_.init_from_directory;
      WF_RETURN_IF_ERROR(LoadInitialWeights(task_, storage_, *communicator_, state_));
    }
    optimizer_.BeginAverage(model_.parameters());
  }
  SetLogStep(state_.step);
  position_.step = restored_step_ = state_.step;
  last_save_ = Clock::Real().Monotonic();
  budget_reached_ =
      task_.training.max_minutes > 0 && state_.trained_seconds >= 60 * task_.training.max_minutes;
  spdlog::info("training begins at step {}, {}", state_.step + 1, origin);
  for (const std::string& warning : resumed.warnings) Warn(warning);
  if (task_.rank == 0) {
    channel_.SendEvent({{"training_started",
                         {{"first_step", state_.step + 1},
                          {"resumed_from", resumed.directory},
                          {"exact", resumed.exact},
                          {"fingerprint", fingerprint.dump()},
                          {"refused_checkpoints", resumed.refused}}}});
  }
  return absl::OkStatus();
}

}  // namespace wavefield
