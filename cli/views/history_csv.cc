#include "cli/views/history_csv.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "cli/views/format.h"

namespace wavefield {
namespace {

// No value here needs quotes: numbers, words and times.
std::string Record(const std::vector<std::string>& values) {
  return fmt::format("{}\r\n", fmt::join(values, ","));
}

std::string Real(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : FormatFixed(value, 0);
}

std::string Time(const google::protobuf::Timestamp& time) {
  return time.seconds() == 0 && time.nanos() == 0 ? "" : FormatTime(time);
}

}  // namespace

std::string StepCsvHeader() {
  return Record({"step",
                 "attempt",
                 "time",
                 "loss",
                 "perplexity",
                 "grad_norm",
                 "learning_rate",
                 "tokens",
                 "total_tokens",
                 "tokens_per_second",
                 "step_seconds",
                 "data_seconds",
                 "forward_seconds",
                 "backward_seconds",
                 "communicate_seconds",
                 "optimize_seconds",
                 "checkpoint_seconds",
                 "matmul_rate_ratio",
                 "trained_seconds",
                 "accuracy",
                 "rank_skew_seconds",
                 "slowest_rank",
                 "batch_digest"});
}

std::string StepCsvRecord(const v1::StepMetrics& step) {
  const v1::PhaseSeconds& phases = step.phase_seconds();
  return Record({fmt::to_string(step.step()),
                 fmt::to_string(step.attempt()),
                 Time(step.time()),
                 Real(step.loss()),
                 Real(step.perplexity()),
                 Real(step.grad_norm()),
                 Real(step.learning_rate()),
                 fmt::to_string(step.tokens()),
                 fmt::to_string(step.total_tokens()),
                 Real(step.tokens_per_second()),
                 Real(step.step_seconds()),
                 Real(phases.data()),
                 Real(phases.forward()),
                 Real(phases.backward()),
                 Real(phases.communicate()),
                 Real(phases.optimize()),
                 Real(phases.checkpoint()),
                 Real(step.matmul_rate_ratio()),
                 Real(step.trained_seconds()),
                 Real(step.accuracy()),
                 Real(step.rank_skew_seconds()),
                 fmt::to_string(step.slowest_rank()),
                 step.batch_digest() == 0 ? "" : fmt::to_string(step.batch_digest())});
}

std::string EvaluationCsvHeader() {
  return Record({"step", "attempt", "time", "loss", "perplexity", "bits_per_byte", "accuracy",
                 "tokens", "text_bytes", "seconds", "ema_loss"});
}

std::string EvaluationCsvRecord(const v1::EvaluationResult& evaluation) {
  return Record({fmt::to_string(evaluation.step()), fmt::to_string(evaluation.attempt()),
                 Time(evaluation.time()), Real(evaluation.loss()), Real(evaluation.perplexity()),
                 Real(evaluation.bits_per_byte()), Real(evaluation.accuracy()),
                 fmt::to_string(evaluation.tokens()), fmt::to_string(evaluation.text_bytes()),
                 Real(evaluation.seconds()),
                 evaluation.has_ema_loss() ? Real(evaluation.ema_loss()) : ""});
}

}  // namespace wavefield
