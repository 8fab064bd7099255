#include "worker/trainer/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stop_token>
#include <utility>

#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/model/accounting.h"
#include "core/optim/schedule.h"
#include "spdlog/spdlog.h"
#include "worker/trainer/gradient_reduction.h"
#include "worker/trainer/micro_batches.h"

namespace wavefield {
namespace {

// Field health is measured on at most so many tokens of the held-out text, and for models of at
// most so many heads in all layers: the event fits a line of the channel (worker/channel.md).
constexpr int64_t kInspectedTokens = 2048;
constexpr int64_t kMaxReportedHeads = 8192;
constexpr absl::Duration kConnectTimeout = absl::Minutes(2);
constexpr absl::Duration kOperationTimeout = absl::Minutes(30);

absl::Duration Now() { return Clock::Real().Monotonic(); }

// Adds the time since the last call to one phase after the other.
class PhaseTimer {
 public:
  void Charge(double& phase) {
    const absl::Duration now = Now();
    phase += absl::ToDoubleSeconds(now - std::exchange(last_, now));
  }

 private:
  absl::Duration last_ = Now();
};

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
                                                         WorkerChannel& channel) {
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
  WF_ASSIGN_OR_RETURN(Device device, OpenDevice(task.device, host.threads));
  WF_RETURN_IF_ERROR(CheckMemory(device, task.model, task.training, task.world_size));
  auto trainer = std::unique_ptr<Trainer>(
      new Trainer(task, host, channel, std::move(dataset), std::move(device)));
  WF_RETURN_IF_ERROR(trainer->MeetPeers());
  WF_RETURN_IF_ERROR(trainer->VerifyDataset());
  WF_RETURN_IF_ERROR(trainer->Resume());
  return trainer;
}

Trainer::Trainer(const TrainTask& task, const HostOptions& host, WorkerChannel& channel,
                 Dataset dataset, Device device)
    : task_(task),
      host_(host),
      channel_(channel),
      dataset_(std::move(dataset)),
      sampler_(dataset_.train().size(), task.training.sequence_length, task.training.batch_size,
               task.training.seed),
      device_(std::move(device)),
      backend_(*device_.backend),
      matmul_rate_(MeasureMatMulRate(backend_, ExecutionOf(task.training).activations)),
      model_(backend_, task.model, ExecutionOf(task.training)),
      optimizer_(backend_, model_.layout(), task.training),
      state_{.model = model_, .optimizer = optimizer_},
      keeper_(task, host, Fingerprint(device_, task.world_size)) {
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

absl::Status Trainer::Resume() {
  model_.ZeroGradients();
  WF_ASSIGN_OR_RETURN(const ResumedFrom resumed, keeper_.Resume(state_, *communicator_));
  if (resumed.directory.empty()) {
    model_.Initialize(task_.training.seed);
    optimizer_.BeginAverage(model_.parameters());
  }
  SetLogStep(state_.step);
  saved_step_ = state_.step;
  last_save_ = Now();
  budget_reached_ =
      task_.training.max_minutes > 0 && state_.trained_seconds >= 60 * task_.training.max_minutes;
  spdlog::info("training begins at step {}, {}", state_.step + 1,
               resumed.directory.empty() ? "from scratch" : "resumed from " + resumed.directory);
  for (const std::string& warning : resumed.warnings) Warn(warning);
  if (task_.rank == 0) {
    channel_.SendEvent({{"training_started",
                         {{"first_step", state_.step + 1},
                          {"resumed_from", resumed.directory},
                          {"exact", resumed.exact},
                          {"fingerprint", Fingerprint(device_, task_.world_size).dump()},
                          {"refused_checkpoints", resumed.refused}}}});
  }
  return absl::OkStatus();
}

absl::Status Trainer::Run() {
  while (!Finished()) {
    WF_RETURN_IF_ERROR(TrainStep());
  }
  if (!stopped_ && state_.evaluation_step != state_.step) WF_RETURN_IF_ERROR(Evaluate());
  if (saved_step_ != state_.step) {
    WF_RETURN_IF_ERROR(Save());
    if (saved_step_ != state_.step) {
      return absl::UnavailableError(
          fmt::format("the last checkpoint, at step {}, could not be written", state_.step));
    }
  }
  spdlog::info("training ends at step {}", state_.step);
  if (task_.rank == 0) {
    channel_.SendEvent({{"finished", {{"step", state_.step}, {"stopped", stopped_}}}});
  }
  return communicator_->Barrier();
}

bool Trainer::Finished() const {
  return stopped_ || budget_reached_ ||
         (task_.training.max_steps > 0 && state_.step >= task_.training.max_steps);
}

absl::Status Trainer::TrainStep() {
  const absl::Duration start = Now();
  PhaseSeconds phases;
  if (device_.cuda != nullptr) device_.cuda->set_step(state_.step + 1);
  phases.checkpoint = std::exchange(save_seconds_, 0);
  WF_ASSIGN_OR_RETURN(const LossSums sums, ForwardBackward(phases));
  PhaseTimer timer;
  const bool measures = task_.rank == 0 && EvaluatesAfter(state_.step + 1);
  updates_.clear();
  const double grad_norm = optimizer_.Step(state_.step + 1, model_.gradients(), model_.parameters(),
                                           measures ? &updates_ : nullptr);
  backend_.Synchronize();
  timer.Charge(phases.optimize);
  WF_ASSIGN_OR_RETURN(StepAgreement agreed, Agree(Share(sums, phases), *communicator_));
  timer.Charge(agreed.phases.communicate);  // waiting for slower ranks

  ++state_.step;
  SetLogStep(state_.step);
  state_.total_tokens += agreed.sums.tokens;
  state_.loss = agreed.sums.loss / static_cast<double>(agreed.sums.tokens);
  const double seconds = absl::ToDoubleSeconds(Now() - start) + phases.checkpoint;
  state_.trained_seconds += seconds;
  if (const bool skipped = !std::isfinite(grad_norm); skipped != skipping_) {
    skipping_ = skipped;
    if (skipped && task_.rank == 0) {
      Warn(
          fmt::format("from step {} on the gradient norm is {}; updates are skipped until it is "
                      "finite",
                      state_.step, grad_norm));
    }
  }
  if (task_.rank == 0) {
    const double flops = ModelFlopsPerToken(task_.model) * static_cast<double>(agreed.sums.tokens);
    channel_.SendEvent(
        {{"step", StepJson({.step = state_.step,
                            .attempt = task_.attempt,
                            .loss = state_.loss,
                            .grad_norm = grad_norm,
                            .learning_rate = LearningRate(task_.training, state_.step),
                            .accuracy = static_cast<double>(agreed.sums.correct) /
                                        static_cast<double>(agreed.sums.tokens),
                            .tokens = agreed.sums.tokens,
                            .total_tokens = state_.total_tokens,
                            .step_seconds = seconds,
                            .trained_seconds = state_.trained_seconds,
                            .matmul_rate_ratio = flops / seconds / group_matmul_rate_,
                            .batch_digest = agreed.batch_digest,
                            .phases = agreed.phases,
                            .rank_skew_seconds = agreed.rank_skew_seconds,
                            .slowest_rank = agreed.slowest_rank},
                           absl::Now())}});
  }
  stopped_ = agreed.stop;
  budget_reached_ = agreed.budget;

  const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
  if (due(task_.training.evaluate_every_steps)) WF_RETURN_IF_ERROR(Evaluate());
  if (due(task_.training.checkpoint_every_steps) || agreed.save_due) WF_RETURN_IF_ERROR(Save());
  return absl::OkStatus();
}

absl::StatusOr<LossSums> Trainer::ForwardBackward(PhaseSeconds& phases) {
  const TrainingConfig& training = task_.training;
  const float scale = 1.0f / static_cast<float>(training.batch_size * training.sequence_length);
  PhaseTimer timer;
  const auto share = ReadMicroBatches(dataset_.train(), sampler_, training, state_.step, task_.rank,
                                      task_.world_size);
  share_digest_ = BatchDigest(share);
  model_.ZeroGradients();
  timer.Charge(phases.data);
  LossSums sums;
  const RandomStream dropout_keys(training.seed, "dropout");
  GradientReduction reduction(*gradient_communicator_, model_.gradients());
  const Model::OnGradients reduce = [&](int64_t begin, int64_t) { reduction.Final(begin); };
  for (const MicroBatch& batch : share) {
    const int64_t window = state_.step * training.batch_size + batch.first_window;
    model_.Forward(batch.batch, batch.ids, dropout_keys.Bits(static_cast<uint64_t>(window)));
    backend_.Synchronize();
    timer.Charge(phases.forward);
    const bool last = &batch == &share.back();
    sums += model_.Backward(batch.targets, scale, last ? reduce : Model::OnGradients());
    backend_.Synchronize();
    timer.Charge(phases.backward);
  }
  WF_RETURN_IF_ERROR(reduction.Finish());
  timer.Charge(phases.communicate);
  return sums;
}

StepShare Trainer::Share(const LossSums& sums, const PhaseSeconds& phases) const {
  StepShare share{.sums = sums,
                  .phases = phases,
                  .stop = channel_.stop_requested(),
                  .batch_digest = share_digest_};
  if (task_.rank != 0) return share;
  const TrainingConfig& training = task_.training;
  const double step_seconds = phases.data + phases.forward + phases.backward + phases.communicate +
                              phases.optimize + phases.checkpoint;
  share.budget = training.max_minutes > 0 &&
                 state_.trained_seconds + step_seconds >= 60 * training.max_minutes;
  share.save_due = training.checkpoint_every_minutes > 0 &&
                   absl::ToDoubleMinutes(Now() - last_save_) >= training.checkpoint_every_minutes;
  return share;
}

absl::Status Trainer::Evaluate() {
  if (dataset_.validation().size() < 2) return absl::OkStatus();
  const auto evaluate = [&] {
    return EvaluateStream(model_, dataset_.validation(), dataset_.token_bytes(),
                          {.sequence_length = task_.training.sequence_length,
                           .max_tokens = task_.training.evaluate_max_tokens,
                           .batch_size = task_.training.micro_batch_size},
                          *communicator_);
  };
  WF_ASSIGN_OR_RETURN(EvaluationMetrics metrics, evaluate());
  if (!optimizer_.average().empty()) {
    // Between steps the gradients' memory is free: it keeps the weights meanwhile.
    backend_.Copy(model_.parameters(), model_.gradients());
    backend_.Copy(optimizer_.average(), model_.parameters());
    const auto averaged = evaluate();
    backend_.Copy(model_.gradients(), model_.parameters());
    WF_RETURN_IF_ERROR(averaged.status());
    metrics.ema_loss = averaged->loss;
  }
  state_.evaluation_loss = metrics.loss;
  state_.evaluation_step = state_.step;
  if (task_.rank == 0) {
    channel_.SendEvent(
        {{"evaluation", EvaluationJson(metrics, state_.step, task_.attempt, absl::Now())}});
    ReportFieldHealth();
  }
  return absl::OkStatus();
}

bool Trainer::EvaluatesAfter(int64_t step) const {
  const TrainingConfig& training = task_.training;
  return step == training.max_steps ||
         (training.evaluate_every_steps > 0 && step % training.evaluate_every_steps == 0);
}

// On as much text as fits a training pass at most: it needs no more memory than one.
void Trainer::ReportFieldHealth() {
  if (task_.model.n_layers * task_.model.n_heads > kMaxReportedHeads) return;
  const TrainingConfig& training = task_.training;
  const int64_t targets = dataset_.validation().size() - 1;
  int64_t length = std::min({training.sequence_length, kInspectedTokens, targets});
  if (training.sequence_chunk > 0) length = std::min(length, training.sequence_chunk);
  const int64_t windows =
      std::min({training.micro_batch_size, kInspectedTokens / length, targets / length});
  std::vector<int64_t> starts;
  for (int64_t w = 0; w < windows; ++w) starts.push_back(w * length);
  const MicroBatch text = ReadWindows(dataset_.validation(), starts, length);
  channel_.SendEvent(
      {{"field_health", FieldHealthJson(model_.Inspect(text.batch, text.ids), updates_, state_.step,
                                        task_.attempt, absl::Now())}});
}

absl::Status Trainer::Save() {
  const absl::Duration start = Now();
  const auto report = [&](const SavedCheckpoint& saved) {
    spdlog::info("checkpoint {}", saved.directory);
    channel_.SendEvent({{"checkpoint_saved",
                         {{"step", state_.step},
                          {"directory", saved.directory},
                          {"bytes", saved.bytes},
                          {"seconds", absl::ToDoubleSeconds(Now() - start)},
                          {"manifest", saved.manifest}}}});
  };
  const absl::Status saved = keeper_.Save(state_, *communicator_, report);
  last_save_ = Now();
  save_seconds_ = absl::ToDoubleSeconds(last_save_ - start);
  if (absl::IsAborted(saved)) return saved;
  if (saved.ok()) {
    saved_step_ = state_.step;
  } else {
    ReportFailedSave(saved.ToString());
  }
  return absl::OkStatus();
}

// The failure is one of the job: rank 0 reports it, the others what they know of its cause.
void Trainer::ReportFailedSave(const std::string& why) {
  const std::string message = fmt::format("no checkpoint at step {}: {}", state_.step, why);
  if (task_.rank != 0) return Warn(message);
  spdlog::warn("{}", message);
  channel_.SendEvent({{"checkpoint_failed", {{"step", state_.step}, {"message", why}}}});
}

void Trainer::Warn(const std::string& message) {
  spdlog::warn("{}", message);
  channel_.SendEvent({{"warning", message}});
}

}  // namespace wavefield
