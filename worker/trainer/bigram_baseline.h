#pragma once

#include <cstdint>
#include <filesystem>

#include "worker/trainer/evaluation.h"

namespace wavefield {

// What any language model should beat: a bigram model interpolated with a unigram model by
// Witten–Bell smoothing (Witten & Bell, "The zero-frequency problem", 1991; Chen & Goodman, "An
// empirical study of smoothing techniques", 1998, section 2.5):
//   p(w | u) = (c(u, w) + n(u) · p(w)) / (c(u) + n(u)),  n(u) = distinct successors of u,
//   p(w)     = (c(w) + n / V) / (c + n),                 n = distinct tokens.
// It learns from exactly the tokens that the checkpoint in `checkpoint` was trained on (the batches
// of its job, in `dataset`) and is evaluated on the same held-out tokens as a model would be.
absl::StatusOr<EvaluationMetrics> EvaluateBigramBaseline(const std::filesystem::path& checkpoint,
                                                         const std::filesystem::path& dataset,
                                                         int64_t max_tokens);

}  // namespace wavefield
