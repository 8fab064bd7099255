#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/comm/communicator.h"
#include "core/data/dataset.h"
#include "core/model/model.h"

namespace wavefield {

// A model on held-out text (docs/model.md, "Evaluation").
struct EvaluationMetrics {
  double loss = 0;  // nats per target token
  double perplexity = 0;
  double bits_per_byte = 0;  // NaN: not known, for tokens whose bytes of text are not
  double accuracy = 0;
  int64_t tokens = 0;
  int64_t text_bytes = 0;
  double seconds = 0;
  std::optional<double> ema_loss;  // of the weights' moving average, if one is kept
};

struct EvaluationOptions {
  int64_t sequence_length = 512;  // T of a window
  int64_t max_tokens = 0;         // 0: all
  int64_t batch_size = 4;         // windows per pass
};

// Non-overlapping windows over the start of `text`, dealt to the ranks; every rank gets the result.
// INVALID_ARGUMENT when `text` holds fewer than two tokens.
absl::StatusOr<EvaluationMetrics> EvaluateStream(Model& model, const TokenStream& text,
                                                 std::span<const uint8_t> token_bytes,
                                                 const EvaluationOptions& options,
                                                 Communicator& communicator);

// One window: every id but the first is a target. INVALID_ARGUMENT for fewer than two ids or one
// that the model does not know.
absl::StatusOr<EvaluationMetrics> EvaluateIds(Model& model, std::span<const int32_t> ids,
                                              std::span<const uint8_t> token_bytes);

}  // namespace wavefield
