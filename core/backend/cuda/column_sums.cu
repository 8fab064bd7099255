#include <algorithm>

#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"

namespace wavefield::cuda {
namespace {

constexpr int64_t kMostBlocks = 512;
constexpr int64_t kLeastRows = 16;
constexpr int kGroups = 16;

// A lane has a column, a warp every kGroups-th block: reads 4 bytes · blocks per column, reads and
// writes 4 more; a FLOP per partial.
__global__ void AddPartialSumsKernel(const float* partials, int64_t blocks, int64_t width,
                                     float* sums) {
  float* groups = SharedMemory<float>();  // [kGroups, kWarp]
  const int lane = threadIdx.x % kWarp, group = threadIdx.x / kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  float sum = 0;
  if (column < width) {
    for (int64_t b = group; b < blocks; b += kGroups) sum += partials[b * width + column];
  }
  groups[threadIdx.x] = sum;
  __syncthreads();
  if (group != 0 || column >= width) return;
  for (int g = 1; g < kGroups; ++g) sum += groups[g * kWarp + lane];
  sums[column] += sum;
}

}  // namespace

RowBlocks SplitRows(int64_t rows) {
  const int64_t per_block = std::max(kLeastRows, (rows + kMostBlocks - 1) / kMostBlocks);
  return {(rows + per_block - 1) / per_block, per_block};
}

void AddPartialSums(const float* partials, int64_t blocks, int64_t width, float* sums,
                    cudaStream_t stream) {
  constexpr int kBlock = kGroups * kWarp;
  Launch({"AddPartialSumsKernel", Blocks(width, kWarp), kBlock, kBlock * sizeof(float)}, stream,
         AddPartialSumsKernel, partials, blocks, width, sums);
}

}  // namespace wavefield::cuda
