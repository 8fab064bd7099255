#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "worker/trainer/inference.h"

namespace wavefield {

inline constexpr int kMaxAuditWindows = 64;
inline constexpr int kMaxAuditLength = 4096;
inline constexpr int kMaxAuditChanges = 256;

// Audits the causality of a checkpoint (core/model/causality.h), computed as it was trained, and
// emits the report: that it did not pass is no error.
absl::Status Audit(const AuditTask& task, int threads, const OutputSink& sink);

// Tokens of a window for `asked` (0: as many as it was trained with, within 512 and what fits).
// INVALID_ARGUMENT outside 2 … kMaxAuditLength, and where two windows' logits take over 1 GiB.
absl::StatusOr<int64_t> AuditLength(int64_t asked, int64_t trained, int64_t vocab_size);

// Windows of `length` tokens from the first to the last of `text`, `count` of them or as many as it
// has without overlap; one shorter window if it has fewer tokens. REQUIRES: at least 2 tokens.
std::vector<std::vector<int32_t>> SpreadWindows(const TokenStream& text, int64_t count,
                                                int64_t length);

}  // namespace wavefield
