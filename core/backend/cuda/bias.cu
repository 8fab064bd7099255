#include "core/backend/contract.h"
#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

// Reads and writes every element of y once; a FLOP each.
template <typename T, int N>
__global__ void AddBiasKernel(const float* bias, int64_t elements, int64_t width, T* y) {
  const int64_t i = GridIndex() * N;
  if (i >= elements) return;
  Values<N> values = LoadValues<N>(y + i);
  const Values<N> shift = LoadValues<N>(bias + i % width);
  for (int j = 0; j < N; ++j) values.at[j] += shift.at[j];
  StoreValues(y + i, values);
}

// A thread sums N columns of the block's rows. Reads every element once, a FLOP each; writes 4
// bytes of sums [blocks, width] per column and block.
template <typename T, int N>
__global__ void SumRowsKernel(const T* dy, int64_t rows, int64_t width, int64_t rows_per_block,
                              float* sums) {
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  if (column >= width) return;
  const int64_t begin = blockIdx.x * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  Values<N> sum{};
#pragma unroll 4
  for (int64_t row = begin; row < end; ++row) {
    const Values<N> values = LoadValues<N>(dy + row * width + column);
    for (int j = 0; j < N; ++j) sum.at[j] += values.at[j];
  }
  StoreValues(sums + blockIdx.x * width + column, sum);
}

}  // namespace
}  // namespace cuda

void CudaBackend::AddBias(Tensor bias, Tensor y) {
  const auto size = contract::AddBias(bias, y);
  const int64_t elements = size.rows * size.width;
  cuda::DispatchPackets(y.dtype, {bias.data, y.data}, {size.width}, [&]<typename T, int N>() {
    cuda::Launch({"AddBiasKernel", cuda::Blocks(elements, cuda::kThreads, N), cuda::kThreads},
                 stream_, cuda::AddBiasKernel<T, N>, bias.f32(), elements, size.width,
                 cuda::Data<T>(y));
  });
}

void CudaBackend::AddBiasBackward(Tensor dy, Tensor dbias) {
  const auto size = contract::AddBias(dbias, dy);
  const auto [blocks, rows_per_block] = cuda::SplitRows(size.rows);
  const ArenaScope scope(workspace_);
  float* sums = workspace_.Allocate({blocks, size.width}).f32();
  cuda::DispatchPackets(dy.dtype, {dy.data}, {size.width}, [&]<typename T, int N>() {
    const unsigned threads = cuda::RowThreads(size.width / N);
    const dim3 grid(static_cast<unsigned>(blocks), cuda::Blocks(size.width, threads, N));
    cuda::Launch({"SumRowsKernel", grid, threads}, stream_, cuda::SumRowsKernel<T, N>,
                 cuda::Data<T>(dy), size.rows, size.width, rows_per_block, sums);
  });
  cuda::AddPartialSums(sums, blocks, size.width, dbias.f32(), stream_);
}

}  // namespace wavefield
