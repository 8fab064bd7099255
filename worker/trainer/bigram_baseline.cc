#include "worker/trainer/bigram_baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/reader.h"
#include "core/data/sampler.h"
#include "core/model/config/training_config.h"

namespace wavefield {
namespace {

class BigramModel {
 public:
  explicit BigramModel(int64_t vocab_size)
      : tokens_(static_cast<size_t>(vocab_size)),
        contexts_(tokens_.size()),
        kinds_(tokens_.size()) {}

  void Learn(int32_t context, int32_t token) {
    if (tokens_[static_cast<size_t>(token)]++ == 0) ++distinct_;
    ++total_;
    ++contexts_[static_cast<size_t>(context)];
    if (pairs_[Key(context, token)]++ == 0) ++kinds_[static_cast<size_t>(context)];
  }

  double Probability(int32_t context, int32_t token) const {
    const double unigram =
        (tokens_[static_cast<size_t>(token)] + distinct_ / static_cast<double>(tokens_.size())) /
        (total_ + distinct_);
    const double seen = contexts_[static_cast<size_t>(context)];
    const double kinds = kinds_[static_cast<size_t>(context)];
    if (seen == 0) return unigram;
    const auto pair = pairs_.find(Key(context, token));
    const double count = pair == pairs_.end() ? 0 : pair->second;
    return (count + kinds * unigram) / (seen + kinds);
  }

 private:
  static uint64_t Key(int32_t context, int32_t token) {
    return static_cast<uint64_t>(static_cast<uint32_t>(context)) << 32 |
           static_cast<uint32_t>(token);
  }

  std::vector<double> tokens_, contexts_, kinds_;
  absl::flat_hash_map<uint64_t, double> pairs_;
  double distinct_ = 0, total_ = 0;
};

}  // namespace

absl::StatusOr<EvaluationMetrics> EvaluateBigramBaseline(const std::filesystem::path& checkpoint,
                                                         const std::filesystem::path& directory,
                                                         int64_t max_tokens) {
  const absl::Duration start = Clock::Real().Monotonic();
  WF_ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                      VerifyCheckpoint(checkpoint, VerifyLevel::kQuick));
  WF_ASSIGN_OR_RETURN(const TrainingConfig training,
                      TrainingConfigFromSpec(manifest.training_spec));
  WF_ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(directory, VerifyMode::kFull));
  if (dataset.content_hash() != manifest.dataset_content_hash) {
    return absl::FailedPreconditionError(
        fmt::format("{} is not the dataset that {} was trained on ({})", directory.string(),
                    checkpoint.string(), manifest.dataset));
  }
  const BatchSampler sampler(dataset.train().size(), training.sequence_length, training.batch_size,
                             training.seed);
  BigramModel model(dataset.vocab_size());
  std::vector<int32_t> window(static_cast<size_t>(training.sequence_length) + 1);
  for (uint64_t batch = 0; batch < manifest.batch_index; ++batch) {
    for (const int64_t first : sampler.Batch(static_cast<int64_t>(batch))) {
      dataset.train().Copy(first, window);
      for (size_t i = 1; i < window.size(); ++i) model.Learn(window[i - 1], window[i]);
    }
  }

  int64_t targets = dataset.validation().size() - 1;
  if (max_tokens > 0) targets = std::min(targets, max_tokens);
  if (targets < 1) return absl::InvalidArgumentError("the held-out text has fewer than 2 tokens");
  std::vector<int32_t> text(static_cast<size_t>(targets) + 1);
  dataset.validation().Copy(0, text);
  EvaluationMetrics metrics;
  double bits = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    bits -= std::log2(model.Probability(text[i - 1], text[i]));
    if (!dataset.token_bytes().empty()) {
      metrics.text_bytes += dataset.token_bytes()[static_cast<size_t>(text[i])];
    }
  }
  metrics.tokens = targets;
  metrics.loss = bits * std::numbers::ln2 / static_cast<double>(targets);
  metrics.perplexity = std::exp(metrics.loss);
  metrics.bits_per_byte = metrics.text_bytes > 0 ? bits / static_cast<double>(metrics.text_bytes)
                                                 : std::numeric_limits<double>::quiet_NaN();
  metrics.seconds = absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  return metrics;
}

}  // namespace wavefield
