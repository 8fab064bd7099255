// Bitonic sort (Batcher, "Sorting networks and their applications", 1968) of row keys: the network
// is fixed by their number, so it has neither atomics nor an order that could differ.

#include <algorithm>
#include <bit>

#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/row_sort.h"

namespace wavefield::cuda {
namespace {

constexpr int64_t kLeastTile = 2 * kWarp;
constexpr int64_t kMostTile = 2048;  // keys that a block sorts in shared memory
constexpr int kThreads = 256;

// The `index`-th pair of keys that are `stride` apart is put in order: ascending where bit `size`
// of the place in the whole sequence (keys[0] has place `first`) is 0. Both are powers of two.
__device__ inline void CompareAndSwap(RowKey* keys, int64_t first, int64_t index, int64_t size,
                                      int64_t stride) {
  const int64_t low = 2 * index - (index & (stride - 1)), high = low + stride;
  const bool ascending = ((first + low) & size) == 0;
  const RowKey a = keys[low], b = keys[high];
  if ((a > b) == ascending) {
    keys[low] = b;
    keys[high] = a;
  }
}

// One thread for two keys of a tile. Reads 4 bytes and writes 8 per row; log²(tile) / 2 comparisons
// per pair, in shared memory. Behind the last row stand keys greater than all others.
__global__ void SortTilesKernel(const int32_t* ids, int64_t rows, int64_t vocabulary,
                                RowKey* keys) {
  RowKey* tile = SharedMemory<RowKey>();
  const int64_t length = 2 * blockDim.x, first = blockIdx.x * length;
  for (int64_t i = threadIdx.x; i < length; i += blockDim.x) {
    tile[i] = ~RowKey{0};
    if (first + i >= rows) continue;
    const int64_t id = ids[first + i];
    if (id < 0 || id >= vocabulary) __trap();
    tile[i] = static_cast<RowKey>(id) << 32 | static_cast<RowKey>(first + i);
  }
  for (int64_t size = 2; size <= length; size *= 2) {
    for (int64_t stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      CompareAndSwap(tile, first, threadIdx.x, size, stride);
    }
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < length; i += blockDim.x) keys[first + i] = tile[i];
}

// One step of the network across tiles: reads and writes 8 bytes per key.
__global__ void CompareKeysKernel(int64_t pairs, int64_t size, int64_t stride, RowKey* keys) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index < pairs) CompareAndSwap(keys, 0, index, size, stride);
}

// The last steps of a size, within tiles: reads and writes 8 bytes per key.
__global__ void MergeTilesKernel(int64_t size, RowKey* keys) {
  RowKey* tile = SharedMemory<RowKey>();
  const int64_t length = 2 * blockDim.x, first = blockIdx.x * length;
  for (int64_t i = threadIdx.x; i < length; i += blockDim.x) tile[i] = keys[first + i];
  for (int64_t stride = length / 2; stride > 0; stride /= 2) {
    __syncthreads();
    CompareAndSwap(tile, first, threadIdx.x, size, stride);
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < length; i += blockDim.x) keys[first + i] = tile[i];
}

}  // namespace

int64_t SortedRoom(int64_t rows) {
  return std::max(kLeastTile, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows))));
}

void SortRows(const int32_t* ids, int64_t rows, int64_t vocabulary, RowKey* keys,
              cudaStream_t stream) {
  const int64_t room = SortedRoom(rows), tile = std::min(room, kMostTile);
  const auto tiles = static_cast<unsigned>(room / tile), threads = static_cast<unsigned>(tile / 2);
  const size_t shared = static_cast<size_t>(tile) * sizeof(RowKey);
  Launch({"SortTilesKernel", tiles, threads, shared}, stream, SortTilesKernel, ids, rows,
         vocabulary, keys);
  for (int64_t size = 2 * tile; size <= room; size *= 2) {
    for (int64_t stride = size / 2; stride >= tile; stride /= 2) {
      Launch({"CompareKeysKernel", Blocks(room / 2, kThreads), kThreads}, stream, CompareKeysKernel,
             room / 2, size, stride, keys);
    }
    Launch({"MergeTilesKernel", tiles, threads, shared}, stream, MergeTilesKernel, size, keys);
  }
}

}  // namespace wavefield::cuda
