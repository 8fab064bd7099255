#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace wavefield::cuda {

// Sums over rows in two fixed stages: every block of a kernel sums its rows, AddPartialSums adds
// what the blocks found. Which rows belong together depends on their number alone.
struct RowBlocks {
  int64_t blocks;          // at most 512
  int64_t rows_per_block;  // block i has the rows [i · rows_per_block, (i + 1) · rows_per_block)
};
RowBlocks SplitRows(int64_t rows);

// sums[c] += Σ_b partials[b, c], in a fixed order. partials [blocks, width]; sums [width].
void AddPartialSums(const float* partials, int64_t blocks, int64_t width, float* sums,
                    cudaStream_t stream);

}  // namespace wavefield::cuda
