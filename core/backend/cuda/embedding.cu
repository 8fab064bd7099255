#include <algorithm>

#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/cuda/row_sort.h"

namespace wavefield {
namespace cuda {
namespace {

// Reads 4 bytes per element of the table and writes an element of y; no FLOPs.
template <typename T, int N>
__global__ void EmbeddingForwardKernel(const float* table, const int32_t* ids, int64_t elements,
                                       int64_t width, int64_t vocabulary, T* y) {
  const int64_t i = GridIndex() * N;
  if (i >= elements) return;
  const int64_t id = ids[i / width];
  if (id < 0 || id >= vocabulary) __trap();
  StoreValues(y + i, LoadValues<N>(table + id * width + i % width));
}

// The backward pass sums dy over runs of keys with one id, a tile of the sorted keys per block, in
// the order of the rows. What belongs to a run that began in an earlier tile is left in `carries`.
struct Tiling {
  int64_t rows, tile_rows;
  __host__ __device__ int64_t tiles() const { return (rows + tile_rows - 1) / tile_rows; }
};

__device__ inline int64_t IdOf(RowKey key) { return static_cast<int64_t>(key >> 32); }

// Whether a run began before key `first` and goes on with it.
__device__ inline bool Carried(const RowKey* keys, int64_t first) {
  return first > 0 && IdOf(keys[first - 1]) == IdOf(keys[first]);
}

template <int N>
__device__ inline void AddTo(float* sum, const Values<N>& values) {
  Values<N> total = LoadValues<N>(sum);
  for (int j = 0; j < N; ++j) total.at[j] += values.at[j];
  StoreValues(sum, total);
}

// Reads dy once, a FLOP per element; for each run reads and writes a row of dtable, for each tile
// writes at most a row of carries [tiles, width].
template <typename T, int N>
__global__ void SumRunsKernel(const RowKey* keys, Tiling tiling, const T* dy, int64_t width,
                              float* carries, float* dtable) {
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  if (column >= width) return;
  const int64_t first = blockIdx.x * tiling.tile_rows;
  const int64_t end =
      first + tiling.tile_rows < tiling.rows ? first + tiling.tile_rows : tiling.rows;
  bool carried = Carried(keys, first);
  Values<N> sum{};
  for (int64_t k = first; k < end; ++k) {
    const int64_t id = IdOf(keys[k]), row = static_cast<uint32_t>(keys[k]);
    const Values<N> values = LoadValues<N>(dy + row * width + column);
    for (int j = 0; j < N; ++j) sum.at[j] += values.at[j];
    if (k + 1 < end && IdOf(keys[k + 1]) == id) continue;
    if (carried) {
      StoreValues(carries + blockIdx.x * width + column, sum);
    } else {
      AddTo(dtable + id * width + column, sum);
    }
    carried = false;
    sum = {};
  }
}

// The block of the second tile of a run adds what the run's tiles from there on carried: reads
// carries once and, for each run of several tiles, reads and writes a row of dtable.
template <int N>
__global__ void AddCarriesKernel(const RowKey* keys, Tiling tiling, int64_t width,
                                 const float* carries, float* dtable) {
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  const int64_t first = blockIdx.x * tiling.tile_rows, before = first - tiling.tile_rows;
  if (column >= width || !Carried(keys, first)) return;
  const int64_t id = IdOf(keys[first]);
  if (IdOf(keys[before]) == id && Carried(keys, before)) return;
  Values<N> sum{};
  for (int64_t tile = blockIdx.x; tile < tiling.tiles(); ++tile) {
    if (IdOf(keys[tile * tiling.tile_rows]) != id) break;
    const Values<N> carry = LoadValues<N>(carries + tile * width + column);
    for (int j = 0; j < N; ++j) sum.at[j] += carry.at[j];
  }
  AddTo(dtable + id * width + column, sum);
}

constexpr int64_t kLeastTileRows = 32;
constexpr int64_t kMostTiles = 4096;

}  // namespace
}  // namespace cuda

void CudaBackend::EmbeddingForward(Tensor table, Tensor ids, Tensor y) {
  const auto size = contract::Embedding(ids, y, table);
  const int64_t elements = size.rows * size.width;
  cuda::DispatchPackets(y.dtype, {table.data, y.data}, {size.width}, [&]<typename T, int N>() {
    cuda::Launch(
        {"EmbeddingForwardKernel", cuda::Blocks(elements, cuda::kThreads, N), cuda::kThreads},
        stream_, cuda::EmbeddingForwardKernel<T, N>, table.f32(), ids.i32(), elements, size.width,
        size.vocabulary, cuda::Data<T>(y));
  });
}

void CudaBackend::EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) {
  const auto size = contract::Embedding(ids, dy, dtable);
  if (size.rows == 0) return;
  const cuda::Tiling tiling{size.rows,
                            std::max(cuda::kLeastTileRows, (size.rows - 1) / cuda::kMostTiles + 1)};
  const ArenaScope scope(workspace_);
  auto* keys = static_cast<cuda::RowKey*>(
      workspace_.Allocate({cuda::SortedRoom(size.rows), 2}, DType::kInt32).data);
  float* carries = workspace_.Allocate({tiling.tiles(), size.width}).f32();
  cuda::SortRows(ids.i32(), size.rows, size.vocabulary, keys, stream_);
  cuda::DispatchPackets(dy.dtype, {dy.data, dtable.data}, {size.width}, [&]<typename T, int N>() {
    const unsigned threads = cuda::RowThreads(size.width / N);
    const dim3 grid(static_cast<unsigned>(tiling.tiles()), cuda::Blocks(size.width, threads, N));
    cuda::Launch({"SumRunsKernel", grid, threads}, stream_, cuda::SumRunsKernel<T, N>, keys, tiling,
                 cuda::Data<T>(dy), size.width, carries, dtable.f32());
    cuda::Launch({"AddCarriesKernel", grid, threads}, stream_, cuda::AddCarriesKernel<N>, keys,
                 tiling, size.width, carries, dtable.f32());
  });
}

}  // namespace wavefield
