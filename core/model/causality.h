#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/model.h"

namespace wavefield {

// Does a model see the future? Changes tokens of real windows and looks for a logit before the
// change that moved, both as training computes a window (all at once) and as generation does (token
// by token from a state); and compares the two, since a model that trains on what it cannot see
// when it generates has a loss that means nothing.
struct CausalityAudit {
  // The largest difference that was found between two logits.
  struct Finding {
    double difference = 0;
    int64_t window = 0;
    int64_t changed_token = -1;  // whose id was changed; −1 where nothing was
    int64_t token = 0;           // after which the logit stands
    int64_t vocabulary_id = 0;
  };
  Finding training_leak;    // of logits before the change
  Finding generation_leak;  // likewise
  Finding disagreement;     // between training and generation, nothing changed
  int64_t windows = 0;
  int64_t changes = 0;       // in training; generation repeats one for each window
  double largest_logit = 0;  // in size
  double allowed_leak = 0;   // 0: not one bit
  double allowed_disagreement = 0;

  bool passed() const;
};

struct CausalityAuditOptions {
  int64_t changes_per_window = 8;
  uint64_t seed = 1;
};

// windows: token ids, each at least 2. Holds the T·V logits of a window four times.
CausalityAudit AuditCausality(Model& model, std::span<const std::vector<int32_t>> windows,
                              const CausalityAuditOptions& options);

}  // namespace wavefield
