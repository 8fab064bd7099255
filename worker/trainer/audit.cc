#include "worker/trainer/audit.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/json_numbers.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/model/causality.h"
#include "core/model/mixers/mixer.h"
#include "worker/trainer/checkpoint_model.h"

namespace wavefield {
namespace {

constexpr int64_t kDefaultWindows = 4;
constexpr int64_t kDefaultLength = 512;
constexpr int64_t kDefaultChanges = 8;
constexpr int64_t kMaxLogitBytes = int64_t{1} << 30;

std::vector<std::vector<int32_t>> RandomWindows(int64_t count, int64_t length, int64_t vocab_size,
                                                uint64_t seed) {
  const RandomStream random(seed, "audited ids");
  std::vector<std::vector<int32_t>> windows(static_cast<size_t>(count));
  uint64_t draw = 0;
  for (auto& window : windows) {
    for (int64_t t = 0; t < length; ++t) {
      window.push_back(
          static_cast<int32_t>(random.Below(draw++, static_cast<uint64_t>(vocab_size))));
    }
  }
  return windows;
}

std::string PropagationOf(const Model& model) {
  if (model.options().propagation) return NameOf(*model.options().propagation);
  const auto ways = FindMixer(model.config().form)->Ways(model.config());
  return ways.empty() ? "" : NameOf(ways.front());
}

nlohmann::json FindingJson(const CausalityAudit::Finding& finding) {
  return {{"difference", NumberToJson(finding.difference)},
          {"window", finding.window},
          {"changed_token", finding.changed_token},
          {"token", finding.token},
          {"vocabulary_id", finding.vocabulary_id}};
}

nlohmann::json ReportJson(const CausalityAudit& audit) {
  return {{"training_leak", FindingJson(audit.training_leak)},
          {"generation_leak", FindingJson(audit.generation_leak)},
          {"disagreement", FindingJson(audit.disagreement)},
          {"allowed_leak", NumberToJson(audit.allowed_leak)},
          {"allowed_disagreement", NumberToJson(audit.allowed_disagreement)},
          {"largest_logit", NumberToJson(audit.largest_logit)},
          {"windows", audit.windows},
          {"changes", audit.changes},
          {"passed", audit.passed()}};
}

}  // namespace

absl::StatusOr<int64_t> AuditLength(int64_t asked, int64_t trained, int64_t vocab_size) {
  // Those of both modes, of a changed window, and the device's own.
  const int64_t bytes_per_token = 4 * vocab_size * static_cast<int64_t>(sizeof(float));
  const int64_t largest =
      std::min<int64_t>(kMaxAuditLength, std::max<int64_t>(2, kMaxLogitBytes / bytes_per_token));
  if (asked == 0) return std::clamp<int64_t>(std::min(trained, kDefaultLength), 2, largest);
  if (asked < 2 || asked > kMaxAuditLength) {
    return absl::InvalidArgumentError(
        fmt::format("sequence_length is {}; allowed: 2 to {}", asked, kMaxAuditLength));
  }
  if (asked > largest) {
    return absl::InvalidArgumentError(fmt::format(
        "sequence_length is {}: the logits of {} ids after every token, held four times, take "
        "{:.1f} "
        "GiB, and at most {} GiB are allowed; give a sequence_length of at most {}",
        asked, vocab_size, static_cast<double>(asked * bytes_per_token) / (int64_t{1} << 30),
        kMaxLogitBytes >> 30, largest));
  }
  return asked;
}

std::vector<std::vector<int32_t>> SpreadWindows(const TokenStream& text, int64_t count,
                                                int64_t length) {
  length = std::min(length, text.size());
  count = std::min(count, text.size() / length);
  std::vector<std::vector<int32_t>> windows;
  for (int64_t i = 0; i < count; ++i) {
    windows.emplace_back(static_cast<size_t>(length));
    text.Copy(i * (text.size() - length) / std::max<int64_t>(1, count - 1), windows.back());
  }
  return windows;
}

absl::Status Audit(const AuditTask& task, int threads, const OutputSink& sink) {
  WF_ASSIGN_OR_RETURN(const CheckpointModel loaded, LoadCheckpointModel(task.checkpoint, threads));
  Model& model = *loaded.model;
  const int64_t vocab_size = model.config().vocab_size;
  WF_ASSIGN_OR_RETURN(const int64_t length,
                      AuditLength(task.sequence_length, loaded.sequence_length, vocab_size));
  const int64_t count = task.windows > 0 ? task.windows : kDefaultWindows;
  std::vector<std::vector<int32_t>> windows;
  if (task.dataset.empty()) {
    windows =
        RandomWindows(count, length, std::min(loaded.tokenizer.vocab_size, vocab_size), task.seed);
  } else {
    WF_ASSIGN_OR_RETURN(const Dataset dataset, OpenDatasetOf(loaded, task.dataset));
    const TokenStream& text = dataset.validation();
    if (text.size() < 2) {
      return absl::FailedPreconditionError(
          fmt::format("the held-out text has {} tokens; an audit needs at least 2", text.size()));
    }
    windows = SpreadWindows(text, count, length);
  }
  const CausalityAudit audit =
      AuditCausality(model, windows,
                     {.changes_per_window =
                          task.changes_per_window > 0 ? task.changes_per_window : kDefaultChanges,
                      .seed = task.seed});
  nlohmann::json report = ReportJson(audit);
  report["step"] = loaded.step;
  report["tokens"] = windows[0].size();
  report["propagation"] = PropagationOf(model);
  report["random_ids"] = task.dataset.empty();
  sink({{"causality", report}, {"done", true}});
  return absl::OkStatus();
}

}  // namespace wavefield
