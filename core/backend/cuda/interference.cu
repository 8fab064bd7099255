// Interference: a block has a row, in the backward pass one row after another.

#include "core/backend/contract.h"
#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/cuda/sigmoid.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr float kLeastNorm = 1e-12f;

__device__ inline float Divisor(float temperature) {
  return fmaxf(temperature, 0.0f) + log1pf(expf(-fabsf(temperature))) + 0.05f;
}

// What a row's products say about near and far.
struct Alignment {
  __device__ Alignment(float dot, float near2, float far2, float divisor)
      : near_norm(fmaxf(sqrtf(near2), kLeastNorm)),
        far_norm(fmaxf(sqrtf(far2), kLeastNorm)),
        cosine(dot / near_norm / far_norm),
        open(Sigmoid(cosine / divisor)) {}
  float near_norm, far_norm, cosine, open;
};

// Reads five rows and writes one; some 18 FLOPs per element.
template <typename T, int N>
__global__ void InterferenceForwardKernel(const T* near, const T* far, const T* echo, const T* gate,
                                          const float* temperature, int64_t width, T* y) {
  float* shared = SharedMemory<float>();  // [3, kWarp]
  const int64_t first = threadIdx.x * N, step = blockDim.x * N, row = blockIdx.x * width;
  float dot = 0, near2 = 0, far2 = 0;
  for (int64_t i = first; i < width; i += step) {
    const Values<N> x = LoadValues<N>(near + row + i), z = LoadValues<N>(far + row + i);
    for (int j = 0; j < N; ++j) {
      dot += x.at[j] * z.at[j];
      near2 += x.at[j] * x.at[j];
      far2 += z.at[j] * z.at[j];
    }
  }
  dot = BlockSum(dot, shared);
  near2 = BlockSum(near2, shared + kWarp);
  far2 = BlockSum(far2, shared + 2 * kWarp);
  const Alignment a(dot, near2, far2, Divisor(*temperature));
  for (int64_t i = first; i < width; i += step) {
    const Values<N> value = LoadValues<N>(echo + row + i), g = LoadValues<N>(gate + row + i);
    Values<N> sum = LoadValues<N>(y + row + i);
    for (int j = 0; j < N; ++j) sum.at[j] += Sigmoid(g.at[j]) * value.at[j] * a.open;
    StoreValues(y + row + i, sum);
  }
}

// Of near, far, echo and gate.
template <typename T>
struct Gradients {
  T *near, *far, *echo, *gate;
};

// Reads five rows and writes four, which may be their inputs; some 40 FLOPs per element. The block
// adds up its rows' gradients of the divisor in divisor_sums [blocks].
template <typename T, int N>
__global__ void InterferenceBackwardKernel(const T* near, const T* far, const T* echo,
                                           const T* gate, const float* temperature, const T* dy,
                                           int64_t rows, int64_t width, int64_t rows_per_block,
                                           Gradients<T> d, float* divisor_sums) {
  float* shared = SharedMemory<float>();  // [4, kWarp]
  const int64_t first = threadIdx.x * N, step = blockDim.x * N;
  const int64_t begin = blockIdx.x * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  const float divisor = Divisor(*temperature);
  float ddivisor = 0;
  for (int64_t row = begin * width; row < end * width; row += width) {
    float dot = 0, near2 = 0, far2 = 0, dopen = 0;
    for (int64_t i = row + first; i < row + width; i += step) {
      const Values<N> x = LoadValues<N>(near + i), z = LoadValues<N>(far + i);
      const Values<N> value = LoadValues<N>(echo + i), g = LoadValues<N>(gate + i);
      const Values<N> dout = LoadValues<N>(dy + i);
      for (int j = 0; j < N; ++j) {
        dot += x.at[j] * z.at[j];
        near2 += x.at[j] * x.at[j];
        far2 += z.at[j] * z.at[j];
        dopen += dout.at[j] * Sigmoid(g.at[j]) * value.at[j];
      }
    }
    dot = BlockSum(dot, shared);
    near2 = BlockSum(near2, shared + kWarp);
    far2 = BlockSum(far2, shared + 2 * kWarp);
    dopen = BlockSum(dopen, shared + 3 * kWarp);
    const Alignment a(dot, near2, far2, divisor);
    const float dargument = dopen * a.open * (1.0f - a.open), dcosine = dargument / divisor;
    ddivisor -= dargument * a.cosine / (divisor * divisor);
    const float across = dcosine / a.near_norm / a.far_norm;
    const auto own = [&](float norm) {
      return norm > kLeastNorm ? dcosine * a.cosine / norm / norm : 0.0f;
    };
    const float near_pull = own(a.near_norm), far_pull = own(a.far_norm);
    for (int64_t i = row + first; i < row + width; i += step) {
      Values<N> x = LoadValues<N>(near + i), z = LoadValues<N>(far + i);
      Values<N> value = LoadValues<N>(echo + i), g = LoadValues<N>(gate + i);
      const Values<N> dout = LoadValues<N>(dy + i);
      for (int j = 0; j < N; ++j) {
        const float of_near = z.at[j] * across - x.at[j] * near_pull;
        z.at[j] = x.at[j] * across - z.at[j] * far_pull;
        x.at[j] = of_near;
        const float sigmoid = Sigmoid(g.at[j]), passed = dout.at[j] * sigmoid * a.open;
        g.at[j] = passed * value.at[j] * (1.0f - sigmoid);
        value.at[j] = passed;
      }
      StoreValues(d.near + i, x);
      StoreValues(d.far + i, z);
      StoreValues(d.echo + i, value);
      StoreValues(d.gate + i, g);
    }
  }
  if (threadIdx.x == 0) divisor_sums[blockIdx.x] = ddivisor;
}

// One warp: *dtemperature += σ(temperature) · Σ divisor_sums, σ being the derivative of softplus.
__global__ void TemperatureGradientKernel(const float* temperature, const float* divisor_sums,
                                          int64_t blocks, float* dtemperature) {
  float sum = 0;
  for (int64_t b = threadIdx.x; b < blocks; b += kWarp) sum += divisor_sums[b];
  sum = WarpSum(sum);
  if (threadIdx.x == 0) *dtemperature += sum * Sigmoid(*temperature);
}

}  // namespace
}  // namespace cuda

void CudaBackend::InterferenceForward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                      Tensor temperature, Tensor y) {
  const auto size = contract::Interference(near, far, echo, gate, temperature, y);
  cuda::DispatchPackets(near.dtype, {near.data, far.data, echo.data, gate.data, y.data},
                        {size.width}, [&]<typename T, int N>() {
                          cuda::Launch(
                              {"InterferenceForwardKernel", static_cast<unsigned>(size.rows),
                               cuda::RowThreads(size.width / N), 3 * cuda::kWarp * sizeof(float)},
                              stream_, cuda::InterferenceForwardKernel<T, N>, cuda::Data<T>(near),
                              cuda::Data<T>(far), cuda::Data<T>(echo), cuda::Data<T>(gate),
                              temperature.f32(), size.width, cuda::Data<T>(y));
                        });
}

void CudaBackend::InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                       Tensor temperature, Tensor dy, Tensor dnear, Tensor dfar,
                                       Tensor decho, Tensor dgate, Tensor dtemperature) {
  const auto size = contract::InterferenceBackward(near, far, echo, gate, temperature, dy, dnear,
                                                   dfar, decho, dgate, dtemperature);
  const auto [blocks, rows_per_block] = cuda::SplitRows(size.rows);
  const ArenaScope scope(workspace_);
  float* sums = workspace_.Allocate({blocks}).f32();
  cuda::DispatchPackets(
      near.dtype,
      {near.data, far.data, echo.data, gate.data, dy.data, dnear.data, dfar.data, decho.data,
       dgate.data},
      {size.width}, [&]<typename T, int N>() {
        cuda::Launch(
            {"InterferenceBackwardKernel", static_cast<unsigned>(blocks),
             cuda::RowThreads(size.width / N), 4 * cuda::kWarp * sizeof(float)},
            stream_, cuda::InterferenceBackwardKernel<T, N>, cuda::Data<T>(near),
            cuda::Data<T>(far), cuda::Data<T>(echo), cuda::Data<T>(gate), temperature.f32(),
            cuda::Data<T>(dy), size.rows, size.width, rows_per_block,
            {cuda::Data<T>(dnear), cuda::Data<T>(dfar), cuda::Data<T>(decho), cuda::Data<T>(dgate)},
            sums);
      });
  cuda::Launch({"TemperatureGradientKernel", 1, cuda::kWarp}, stream_,
               cuda::TemperatureGradientKernel, temperature.f32(), sums, blocks,
               dtemperature.f32());
}

}  // namespace wavefield
