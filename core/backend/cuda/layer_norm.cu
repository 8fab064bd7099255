// Layer norm: a block has a row, in the backward pass one row after another.

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

constexpr float kEpsilon = 1e-5f;

// Reads a row and writes one, 9 FLOPs per element; what it reads again is still in the L1 cache.
template <typename T, int N>
__global__ void LayerNormForwardKernel(const T* x, const float* weight, const float* bias,
                                       int64_t width, T* y, float* mean, float* inverse_deviation) {
  float* shared = SharedMemory<float>();  // [2, kWarp]
  const int64_t first = threadIdx.x * N, step = blockDim.x * N;
  x += blockIdx.x * width;
  y += blockIdx.x * width;
  float sum = 0;
  for (int64_t i = first; i < width; i += step) {
    const Values<N> values = LoadValues<N>(x + i);
    for (int j = 0; j < N; ++j) sum += values.at[j];
  }
  const float center = BlockSum(sum, shared) / static_cast<float>(width);
  float squares = 0;
  for (int64_t i = first; i < width; i += step) {
    const Values<N> values = LoadValues<N>(x + i);
    for (int j = 0; j < N; ++j) {
      const float distance = values.at[j] - center;
      squares += distance * distance;
    }
  }
  squares = BlockSum(squares, shared + kWarp);
  const float r = 1.0f / sqrtf(squares / static_cast<float>(width) + kEpsilon);
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = center;
    inverse_deviation[blockIdx.x] = r;
  }
  for (int64_t i = first; i < width; i += step) {
    Values<N> values = LoadValues<N>(x + i);
    const Values<N> scale = LoadValues<N>(weight + i), shift = LoadValues<N>(bias + i);
    for (int j = 0; j < N; ++j) {
      values.at[j] = (values.at[j] - center) * r * scale.at[j] + shift.at[j];
    }
    StoreValues(y + i, values);
  }
}

// Reads three rows and writes one, 17 FLOPs per element, and 8 bytes of weight_sums and bias_sums
// [blocks, width] per column and block. residual may be null, and may be dx.
template <typename T, int N>
__global__ void LayerNormBackwardKernel(const T* x, const float* weight, const float* mean,
                                        const float* inverse_deviation, const T* dy,
                                        const T* residual, int64_t rows, int64_t width,
                                        int64_t rows_per_block, T* dx, float* weight_sums,
                                        float* bias_sums) {
  float* shared = SharedMemory<float>();  // [2, kWarp] for BlockSum, and the block's own sums
  float* weight_sum = shared + 2 * kWarp;
  float* bias_sum = weight_sum + width;
  const int64_t first = threadIdx.x * N, step = blockDim.x * N;
  for (int64_t i = first; i < width; i += step) {
    StoreValues(weight_sum + i, Values<N>{});
    StoreValues(bias_sum + i, Values<N>{});
  }
  const int64_t begin = blockIdx.x * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t at = row * width;
    const float center = mean[row], r = inverse_deviation[row];
    float sum = 0, dot = 0;
    for (int64_t i = first; i < width; i += step) {
      const Values<N> in = LoadValues<N>(x + at + i), dout = LoadValues<N>(dy + at + i);
      const Values<N> scale = LoadValues<N>(weight + i);
      for (int j = 0; j < N; ++j) {
        const float dnormed = dout.at[j] * scale.at[j];
        sum += dnormed;
        dot += dnormed * (in.at[j] - center) * r;
      }
    }
    const float shift = BlockSum(sum, shared) / static_cast<float>(width);
    const float pull = BlockSum(dot, shared + kWarp) / static_cast<float>(width);
    for (int64_t i = first; i < width; i += step) {
      const Values<N> in = LoadValues<N>(x + at + i), dout = LoadValues<N>(dy + at + i);
      const Values<N> scale = LoadValues<N>(weight + i);
      Values<N> of_weight = LoadValues<N>(weight_sum + i), of_bias = LoadValues<N>(bias_sum + i);
      Values<N> gradient{};
      if (residual != nullptr) gradient = LoadValues<N>(residual + at + i);
      for (int j = 0; j < N; ++j) {
        const float normed = (in.at[j] - center) * r;
        gradient.at[j] += r * (dout.at[j] * scale.at[j] - shift - normed * pull);
        of_weight.at[j] += dout.at[j] * normed;
        of_bias.at[j] += dout.at[j];
      }
      StoreValues(dx + at + i, gradient);
      StoreValues(weight_sum + i, of_weight);
      StoreValues(bias_sum + i, of_bias);
    }
  }
  const int64_t own = blockIdx.x * width;
  for (int64_t i = first; i < width; i += step) {
    StoreValues(weight_sums + own + i, LoadValues<N>(weight_sum + i));
    StoreValues(bias_sums + own + i, LoadValues<N>(bias_sum + i));
  }
}

}  // namespace
}  // namespace cuda

void CudaBackend::LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                                   Tensor inverse_deviation) {
  const auto size = contract::LayerNormForward(x, weight, bias, y, mean, inverse_deviation);
  cuda::DispatchPackets(
      x.dtype, {x.data, weight.data, bias.data, y.data}, {size.width}, [&]<typename T, int N>() {
        cuda::Launch({"LayerNormForwardKernel", static_cast<unsigned>(size.rows),
                      cuda::RowThreads(size.width / N), 2 * cuda::kWarp * sizeof(float)},
                     stream_, cuda::LayerNormForwardKernel<T, N>, cuda::Data<T>(x), weight.f32(),
                     bias.f32(), size.width, cuda::Data<T>(y), mean.f32(), inverse_deviation.f32());
      });
}

void CudaBackend::LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation,
                                    Tensor dy, Tensor residual, Tensor dx, Tensor dweight,
                                    Tensor dbias) {
  const auto size = contract::LayerNormBackward(x, weight, mean, inverse_deviation, dy, residual,
                                                dx, dweight, dbias);
  const auto [blocks, rows_per_block] = cuda::SplitRows(size.rows);
  const ArenaScope scope(workspace_);
  float* weight_sums = workspace_.Allocate({blocks, size.width}).f32();
  float* bias_sums = workspace_.Allocate({blocks, size.width}).f32();
  cuda::DispatchPackets(
      x.dtype, {x.data, weight.data, dy.data, residual.data, dx.data}, {size.width},
      [&]<typename T, int N>() {
        cuda::Launch({"LayerNormBackwardKernel", static_cast<unsigned>(blocks),
                      cuda::RowThreads(size.width / N), cuda::LayerNormBackwardShared(size.width)},
                     stream_, cuda::LayerNormBackwardKernel<T, N>, cuda::Data<T>(x), weight.f32(),
                     mean.f32(), inverse_deviation.f32(), cuda::Data<T>(dy),
                     cuda::Data<T>(residual), size.rows, size.width, rows_per_block,
                     cuda::Data<T>(dx), weight_sums, bias_sums);
      });
  cuda::AddPartialSums(weight_sums, blocks, size.width, dweight.f32(), stream_);
  cuda::AddPartialSums(bias_sums, blocks, size.width, dbias.f32(), stream_);
}

}  // namespace wavefield
