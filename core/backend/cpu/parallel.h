#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace wavefield {

// body(thread, begin, end) for consecutive pieces of [0, n), one per thread, thread in
// [0, threads). One piece on the calling thread when n < 2 · grain: not worth a second thread.
void ParallelRanges(int threads, int64_t n, int64_t grain,
                    absl::FunctionRef<void(int thread, int64_t begin, int64_t end)> body);

// Rows that share one partial sum of a parameter's gradient. Fixed, so that sums over rows do not
// depend on the number of threads.
inline constexpr int64_t kRowBlock = 128;

inline int64_t RowBlocks(int64_t rows) { return (rows + kRowBlock - 1) / kRowBlock; }

}  // namespace wavefield
