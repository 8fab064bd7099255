#include <algorithm>

#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int64_t kLeastSpan = 1 << 14;  // elements that a block sums
constexpr int64_t kMostSpans = 1024;

// Over a block of kThreads; the first thread gets the result.
__device__ inline double BlockSumOfDoubles(double sum, double* shared) {
  shared[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  return shared[threadIdx.x];
}

// Reads 4 bytes per element; 2 FLOPs each, in double. sums [blocks].
template <int N>
__global__ void SumOfSquaresKernel(const float* x, int64_t n, int64_t span, double* sums) {
  const int64_t begin = blockIdx.x * span, end = begin + span < n ? begin + span : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x * N; i < end; i += kThreads * N) {
    ForPacket<N>(i, end, [&]<int M>(Count<M>, int64_t k) {
      const Values<M> values = LoadValues<M>(x + k);
      for (const float value : values.at) sum += static_cast<double>(value) * value;
    });
  }
  sum = BlockSumOfDoubles(sum, SharedMemory<double>());
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One block. Reads 8 bytes per sum; a FLOP each, in double.
__global__ void AddSumsKernel(const double* sums, int64_t n, double* total) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += sums[i];
  sum = BlockSumOfDoubles(sum, SharedMemory<double>());
  if (threadIdx.x == 0) *total = sum;
}

// Reads 16 bytes per element and writes 12; 15 FLOPs each.
template <int N>
__global__ void AdamWKernel(AdamWParameters p, const float* gradient, int64_t n, float* parameter,
                            float* m, float* v) {
  ForPacket<N>(GridIndex() * N, n, [&]<int M>(Count<M>, int64_t i) {
    const Values<M> in = LoadValues<M>(gradient + i);
    Values<M> value = LoadValues<M>(parameter + i);
    Values<M> first = LoadValues<M>(m + i), second = LoadValues<M>(v + i);
    for (int j = 0; j < M; ++j) {
      const float g = in.at[j] * p.gradient_scale;
      first.at[j] = p.beta1 * first.at[j] + (1.0f - p.beta1) * g;
      second.at[j] = p.beta2 * second.at[j] + (1.0f - p.beta2) * g * g;
      const float direction =
          first.at[j] / p.bias_correction1 / (sqrtf(second.at[j] / p.bias_correction2) + p.epsilon);
      value.at[j] -= p.learning_rate * (direction + p.weight_decay * value.at[j]);
    }
    StoreValues(parameter + i, value);
    StoreValues(m + i, first);
    StoreValues(v + i, second);
  });
}

}  // namespace
}  // namespace cuda

double CudaBackend::SumOfSquares(Tensor x) {
  const int64_t n = contract::SumOfSquares(x);
  // Whole packets: blocks begin where they are aligned.
  const int64_t span =
      std::max(cuda::kLeastSpan, (n / cuda::kMostSpans / cuda::kThreads + 1) * cuda::kThreads);
  const int64_t blocks = (n + span - 1) / span;
  const ArenaScope scope(workspace_);
  const Tensor room = workspace_.Allocate({1 + blocks, 2});  // doubles: the total, the blocks' sums
  auto* total = static_cast<double*>(room.data);
  double* sums = total + 1;
  constexpr size_t kShared = cuda::kThreads * sizeof(double);
  cuda::DispatchPacket<float>({x.data}, {}, [&]<int N>() {
    cuda::Launch({"SumOfSquaresKernel", static_cast<unsigned>(blocks), cuda::kThreads, kShared},
                 stream_, cuda::SumOfSquaresKernel<N>, x.f32(), n, span, sums);
  });
  cuda::Launch({"AddSumsKernel", 1, cuda::kThreads, kShared}, stream_, cuda::AddSumsKernel, sums,
               blocks, total);
  double result = 0;
  CopyToHost(room.Rows(0, 1), &result);
  return result;
}

void CudaBackend::AdamW(const AdamWParameters& parameters, Tensor gradient, Tensor parameter,
                        Tensor m, Tensor v) {
  const int64_t n = contract::AdamW(gradient, parameter, m, v);
  cuda::DispatchPacket<float>({gradient.data, parameter.data, m.data, v.data}, {}, [&]<int N>() {
    cuda::Launch({"AdamWKernel", cuda::Blocks(n, cuda::kThreads, N), cuda::kThreads}, stream_,
                 cuda::AdamWKernel<N>, parameters, gradient.f32(), n, parameter.f32(), m.f32(),
                 v.f32());
  });
}

}  // namespace wavefield
