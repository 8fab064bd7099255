#include "worker/trainer/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "worker/trainer/micro_batches.h"

namespace wavefield {
namespace {

int64_t BytesOf(std::span<const int32_t> targets, std::span<const uint8_t> token_bytes) {
  int64_t bytes = 0;
  for (const int32_t id : targets) {
    if (id >= 0 && static_cast<size_t>(id) < token_bytes.size()) {
      bytes += token_bytes[static_cast<size_t>(id)];
    }
  }
  return bytes;
}

EvaluationMetrics MetricsOf(const LossSums& sums, int64_t text_bytes) {
  EvaluationMetrics metrics;
  metrics.tokens = sums.tokens;
  metrics.text_bytes = text_bytes;
  metrics.loss = sums.loss / static_cast<double>(sums.tokens);
  metrics.perplexity = std::exp(metrics.loss);
  metrics.accuracy = static_cast<double>(sums.correct) / static_cast<double>(sums.tokens);
  metrics.bits_per_byte = text_bytes > 0
                              ? sums.loss / (std::numbers::ln2 * static_cast<double>(text_bytes))
                              : std::numeric_limits<double>::quiet_NaN();
  return metrics;
}

}  // namespace

absl::StatusOr<EvaluationMetrics> EvaluateStream(Model& model, const TokenStream& text,
                                                 std::span<const uint8_t> token_bytes,
                                                 const EvaluationOptions& options,
                                                 Communicator& communicator) {
  const absl::Duration start = Clock::Real().Monotonic();
  int64_t targets = text.size() - 1;
  if (options.max_tokens > 0) targets = std::min(targets, options.max_tokens);
  if (targets < 1) {
    return absl::InvalidArgumentError(
        fmt::format("the held-out text has {} tokens; evaluation needs at least 2", text.size()));
  }
  const int64_t length = std::min(options.sequence_length, targets);
  LossSums sums;
  int64_t text_bytes = 0;
  const auto add = [&](const MicroBatch& windows) {
    sums += model.Evaluate(windows.batch, windows.ids, windows.targets);
    text_bytes += BytesOf(windows.targets, token_bytes);
  };

  int64_t group = 0;
  const auto mine = [&] { return group++ % communicator.world_size() == communicator.rank(); };
  const int64_t whole_windows = targets / length;
  for (int64_t first = 0; first < whole_windows; first += options.batch_size) {
    if (!mine()) continue;
    std::vector<int64_t> starts;
    for (int64_t w = first; w < std::min(whole_windows, first + options.batch_size); ++w) {
      starts.push_back(w * length);
    }
    add(ReadWindows(text, starts, length));
  }
  if (const int64_t rest = targets % length; rest > 0 && mine()) {
    add(ReadWindows(text, {whole_windows * length}, rest));
  }

  std::array<double, 4> totals = {sums.loss, static_cast<double>(sums.tokens),
                                  static_cast<double>(sums.correct),
                                  static_cast<double>(text_bytes)};
  WF_RETURN_IF_ERROR(communicator.AllReduceSum(totals));
  EvaluationMetrics metrics = MetricsOf({.loss = totals[0],
                                         .tokens = static_cast<int64_t>(totals[1]),
                                         .correct = static_cast<int64_t>(totals[2])},
                                        static_cast<int64_t>(totals[3]));
  metrics.seconds = absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  return metrics;
}

absl::StatusOr<EvaluationMetrics> EvaluateIds(Model& model, std::span<const int32_t> ids,
                                              std::span<const uint8_t> token_bytes) {
  const absl::Duration start = Clock::Real().Monotonic();
  if (ids.size() < 2) {
    return absl::InvalidArgumentError(
        fmt::format("{} token ids given; a window needs at least 2", ids.size()));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= model.config().vocab_size) {
      return absl::InvalidArgumentError(fmt::format("token id {} at position {}; allowed: 0 to {}",
                                                    ids[i], i, model.config().vocab_size - 1));
    }
  }
  const auto targets = ids.subspan(1);
  EvaluationMetrics metrics = MetricsOf(model.Evaluate(1, ids.first(ids.size() - 1), targets),
                                        BytesOf(targets, token_bytes));
  metrics.seconds = absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  return metrics;
}

}  // namespace wavefield
