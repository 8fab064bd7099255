#include "worker/trainer/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

}  // namespace

absl::Status Trainer::Run() {
  while (!Finished()) {
    WF_RETURN_IF_ERROR(TrainStep());
  }
  if (!stopped_ && state_.evaluation_step != state_.step) WF_RETURN_IF_ERROR(Evaluate());
  if (state_.step != restored_step_) {
    WF_RETURN_IF_ERROR(Save(CheckpointSaver::Mode::kNow));
    if (saver_.saved_step() != state_.step) {
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
  position_.phase = "step";
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

  saver_.Advance(agreed.save);

  position_.step = ++state_.step;
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
  // That at the end is written when all else is done.
  if ((due(task_.training.checkpoint_every_steps) || agreed.save_due) && !Finished()) {
    return Save(CheckpointSaver::Mode::kBehind);
  }
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
                  .save = saver_.share(),
                  .batch_digest = share_digest_};
  if (task_.rank != 0) return share;
  const TrainingConfig& training = task_.training;
  const double step_seconds = phases.data + phases.forward + phases.backward + phases.communicate +
                              phases.optimize + phases.checkpoint;
  share.budget = training.max_minutes > 0 &&
                 state_.trained_seconds + step_seconds >= 60 * training.max_minutes;
  share.save_due = training.checkpoint_every_minutes > 0 && !saver_.under_way() &&
                   absl::ToDoubleMinutes(Now() - last_save_) >= training.checkpoint_every_minutes;
  return share;
}

absl::Status Trainer::Evaluate() {
  position_.phase = "evaluation";
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

absl::Status Trainer::Save(CheckpointSaver::Mode mode) {
  position_.phase = "checkpoint";
  last_save_ = Now();
  const absl::Status group = saver_.Save(mode, *communicator_);
  save_seconds_ = absl::ToDoubleSeconds(Now() - last_save_);
  return group;
}

void Trainer::ReportSaved(const SavedCheckpoint& saved) {
  const LogScope about(LogFieldsOf(task_, saved.step));
  spdlog::info("checkpoint {}", saved.directory);
  channel_.SendEvent({{"checkpoint_saved",
                       {{"step", saved.step},
                        {"directory", saved.directory},
                        {"bytes", saved.bytes},
                        {"seconds", absl::ToDoubleSeconds(saved.stall)},
                        {"write_seconds", absl::ToDoubleSeconds(saved.duration)},
                        {"manifest", saved.manifest}}}});
}

// The failure is one of the job: rank 0 reports it, the others what they know of its cause.
void Trainer::ReportFailedSave(int64_t step, const absl::Status& why) {
  const LogScope about(LogFieldsOf(task_, step));
  const std::string reason = WithoutRoot(why.ToString(), host_);
  if (task_.rank != 0)
    return Warn(fmt::format("no checkpoint at step {}: {}", step, why.ToString()));
  spdlog::warn("no checkpoint at step {}: {}", step, reason);
  channel_.SendEvent({{"checkpoint_failed", {{"step", step}, {"message", reason}}}});
}

void Trainer::Warn(const std::string& message) {
  const std::string text = WithoutRoot(message, host_);
  spdlog::warn("{}", text);
  channel_.SendEvent({{"warning", text}});
}

}  // namespace wavefield
