#include "worker/trainer/inference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/data/tokenizer/utf8.h"
#include "worker/trainer/checkpoint_model.h"
#include "worker/trainer/events.h"

namespace wavefield {
namespace {

constexpr int64_t kMaxGeneratedTokens = 1000000;

// The token for a uniform draw u in [0, 1); temperature 0 takes the most likely.
int32_t Sample(std::vector<float> logits, double temperature, double u) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (temperature == 0) return static_cast<int32_t>(best - logits.begin());
  const double peak = *best;
  std::vector<double> cumulative;
  double total = 0;
  for (const float logit : logits) {
    total += std::exp((logit - peak) / temperature);
    cumulative.push_back(total);
  }
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end(), u * total);
  return static_cast<int32_t>(
      std::min<ptrdiff_t>(chosen - cumulative.begin(), static_cast<ptrdiff_t>(logits.size()) - 1));
}

absl::Status Validate(const GenerateTask& task) {
  if (task.max_tokens < 1 || task.max_tokens > kMaxGeneratedTokens) {
    return absl::InvalidArgumentError(
        fmt::format("max_tokens is {}; allowed: 1 to {}", task.max_tokens, kMaxGeneratedTokens));
  }
  if (!(task.temperature >= 0 && task.temperature <= 100)) {
    return absl::InvalidArgumentError(
        fmt::format("temperature is {}; allowed: 0 to 100", task.temperature));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Evaluate(const EvaluateTask& task, int threads, const OutputSink& sink) {
  WF_ASSIGN_OR_RETURN(const CheckpointModel loaded, LoadCheckpointModel(task.checkpoint, threads));
  absl::StatusOr<EvaluationMetrics> metrics;
  if (task.dataset.empty()) {
    metrics = EvaluateIds(*loaded.model, task.token_ids, loaded.tokenizer.token_bytes);
  } else {
    WF_ASSIGN_OR_RETURN(const Dataset dataset, OpenDatasetOf(loaded, task.dataset));
    const auto communicator = MakeSoloCommunicator();
    metrics = EvaluateStream(*loaded.model, dataset.validation(), dataset.token_bytes(),
                             {.sequence_length = task.sequence_length > 0 ? task.sequence_length
                                                                          : loaded.sequence_length,
                              .max_tokens = task.max_tokens},
                             *communicator);
  }
  if (!metrics.ok()) return metrics.status();
  sink({{"evaluation", EvaluationJson(*metrics, loaded.step, 0, absl::Now())}, {"done", true}});
  return absl::OkStatus();
}

absl::Status Generate(const GenerateTask& task, int threads, const OutputSink& sink) {
  WF_RETURN_IF_ERROR(Validate(task));
  WF_ASSIGN_OR_RETURN(const CheckpointModel loaded, LoadCheckpointModel(task.checkpoint, threads));
  WF_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(task.checkpoint));
  SequenceState state(*loaded.backend, loaded.model->config());
  const RandomStream random(task.seed, "generate");
  Utf8Cleaner cleaner;

  std::vector<int32_t> prompt = {tokenizer->separator_id()};  // the start of a document
  for (const int32_t id : tokenizer->Encode(task.prompt)) prompt.push_back(id);
  const absl::Duration start = Clock::Real().Monotonic();
  std::vector<float> logits = loaded.model->Continue(state, prompt);
  const absl::Duration prompt_done = Clock::Real().Monotonic();

  for (int64_t i = 0; i < task.max_tokens; ++i) {
    logits.resize(static_cast<size_t>(tokenizer->vocab_size()));  // drops the padding
    const int32_t id =
        Sample(std::move(logits), task.temperature, random.Uniform(static_cast<uint64_t>(i)));
    std::string text;
    cleaner.Feed(id == tokenizer->separator_id() ? "\n" : tokenizer->Decode({&id, 1}), text);
    if (!text.empty()) sink({{"text", text}});
    logits = loaded.model->Continue(state, {&id, 1});
  }
  std::string rest;
  cleaner.Finish(rest);
  if (!rest.empty()) sink({{"text", rest}});
  const double seconds = absl::ToDoubleSeconds(Clock::Real().Monotonic() - prompt_done);
  sink({{"summary",
         {{"prompt_tokens", prompt.size()},
          {"generated_tokens", task.max_tokens},
          {"prompt_seconds", absl::ToDoubleSeconds(prompt_done - start)},
          {"seconds_per_token", seconds / static_cast<double>(task.max_tokens)}}},
        {"done", true}});
  return absl::OkStatus();
}

}  // namespace wavefield
