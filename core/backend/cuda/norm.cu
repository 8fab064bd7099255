// RMS norm: a block has a row, in the backward pass one row after another.

#include "core/backend/contract.h"
#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/limits.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr float kEpsilon = 1e-6f;

// Reads a row and writes one, 5 FLOPs per element; what it reads again is still in the L1 cache.
template <typename T, int N>
__global__ void RmsNormForwardKernel(const T* x, const float* weight, int64_t width, T* y,
                                     float* inverse_rms) {
  const int64_t first = threadIdx.x * N, step = blockDim.x * N;
  x += blockIdx.x * width;
  y += blockIdx.x * width;
  float squares = 0;
  for (int64_t i = first; i < width; i += step) {
    const Values<N> values = LoadValues<N>(x + i);
    for (int j = 0; j < N; ++j) squares += values.at[j] * values.at[j];
  }
  squares = BlockSum(squares, SharedMemory<float>());
  const float r = 1.0f / sqrtf(squares / static_cast<float>(width) + kEpsilon);
  if (threadIdx.x == 0) inverse_rms[blockIdx.x] = r;
  for (int64_t i = first; i < width; i += step) {
    Values<N> values = LoadValues<N>(x + i);
    const Values<N> scale = LoadValues<N>(weight + i);
    for (int j = 0; j < N; ++j) values.at[j] *= r * scale.at[j];
    StoreValues(y + i, values);
  }
}

// Reads three rows and writes one, 11 FLOPs per element, and 4 bytes of weight_sums [blocks, width]
// per column and block. residual may be null, and may be dx.
template <typename T, int N>
__global__ void RmsNormBackwardKernel(const T* x, const float* weight, const float* inverse_rms,
                                      const T* dy, const T* residual, int64_t rows, int64_t width,
                                      int64_t rows_per_block, T* dx, float* weight_sums) {
  // By turns the first and the second [kWarp] are for BlockSum, so that a barrier a row suffices;
  // then [width] sums, each one thread's own.
  float* shared = SharedMemory<float>();
  float* sums = shared + 2 * kWarp;
  const int64_t first = threadIdx.x * N, step = blockDim.x * N;
  for (int64_t i = first; i < width; i += step) StoreValues(sums + i, Values<N>{});
  const int64_t begin = blockIdx.x * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t at = row * width;
    float dot = 0;
    for (int64_t i = first; i < width; i += step) {
      const Values<N> in = LoadValues<N>(x + at + i), dout = LoadValues<N>(dy + at + i);
      const Values<N> scale = LoadValues<N>(weight + i);
      for (int j = 0; j < N; ++j) dot += dout.at[j] * scale.at[j] * in.at[j];
    }
    dot = BlockSum(dot, shared + row % 2 * kWarp);
    const float r = inverse_rms[row];
    const float pull = r * r * r * dot / static_cast<float>(width);
    for (int64_t i = first; i < width; i += step) {
      const Values<N> in = LoadValues<N>(x + at + i), dout = LoadValues<N>(dy + at + i);
      const Values<N> scale = LoadValues<N>(weight + i);
      Values<N> sum = LoadValues<N>(sums + i), gradient{};
      if (residual != nullptr) gradient = LoadValues<N>(residual + at + i);
      for (int j = 0; j < N; ++j) {
        const float scaled = dout.at[j] * r;
        gradient.at[j] += scaled * scale.at[j] - pull * in.at[j];
        sum.at[j] += scaled * in.at[j];
      }
      StoreValues(dx + at + i, gradient);
      StoreValues(sums + i, sum);
    }
  }
  for (int64_t i = first; i < width; i += step) {
    StoreValues(weight_sums + blockIdx.x * width + i, LoadValues<N>(sums + i));
  }
}

}  // namespace
}  // namespace cuda

void CudaBackend::RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) {
  const auto size = contract::RmsNormForward(x, weight, y, inverse_rms);
  cuda::DispatchPackets(
      x.dtype, {x.data, weight.data, y.data}, {size.width}, [&]<typename T, int N>() {
        const dim3 grid(static_cast<unsigned>(size.rows));
        cuda::Launch({"RmsNormForwardKernel", grid, cuda::RowThreads(size.width / N),
                      cuda::kWarp * sizeof(float)},
                     stream_, cuda::RmsNormForwardKernel<T, N>, cuda::Data<T>(x), weight.f32(),
                     size.width, cuda::Data<T>(y), inverse_rms.f32());
      });
}

void CudaBackend::RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy,
                                  Tensor residual, Tensor dx, Tensor dweight) {
  const auto size = contract::RmsNormBackward(x, weight, inverse_rms, dy, residual, dx, dweight);
  const auto [blocks, rows_per_block] = cuda::SplitRows(size.rows);
  const ArenaScope scope(workspace_);
  float* sums = workspace_.Allocate({blocks, size.width}).f32();
  cuda::DispatchPackets(
      x.dtype, {x.data, weight.data, dy.data, residual.data, dx.data}, {size.width},
      [&]<typename T, int N>() {
        cuda::Launch({"RmsNormBackwardKernel", static_cast<unsigned>(blocks),
                      cuda::RowThreads(size.width / N), cuda::RmsNormBackwardShared(size.width)},
                     stream_, cuda::RmsNormBackwardKernel<T, N>, cuda::Data<T>(x), weight.f32(),
                     inverse_rms.f32(), cuda::Data<T>(dy), cuda::Data<T>(residual), size.rows,
                     size.width, rows_per_block, cuda::Data<T>(dx), sums);
      });
  cuda::AddPartialSums(sums, blocks, size.width, dweight.f32(), stream_);
}

}  // namespace wavefield
