// Ranges of elements: fill, sums, GELU.

#include "core/backend/contract.h"
#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

// Writes n elements.
template <typename T, int N>
__global__ void FillKernel(float value, int64_t n, T* x) {
  ForPacket<N>(GridIndex() * N, n, [&]<int M>(Count<M>, int64_t i) {
    Values<M> values;
    for (int j = 0; j < M; ++j) values.at[j] = value;
    StoreValues(x + i, values);
  });
}

// Reads 2n elements, writes n; n FLOPs.
template <typename T, int N>
__global__ void AddKernel(const T* source, int64_t n, T* destination) {
  ForPacket<N>(GridIndex() * N, n, [&]<int M>(Count<M>, int64_t i) {
    Values<M> sum = LoadValues<M>(destination + i);
    const Values<M> other = LoadValues<M>(source + i);
    for (int j = 0; j < M; ++j) sum.at[j] += other.at[j];
    StoreValues(destination + i, sum);
  });
}

// Reads 2n elements, writes n; 3n FLOPs.
template <int N>
__global__ void AxpbyKernel(float a, const float* x, float b, int64_t n, float* y) {
  ForPacket<N>(GridIndex() * N, n, [&]<int M>(Count<M>, int64_t i) {
    const Values<M> in = LoadValues<M>(x + i);
    Values<M> sum = LoadValues<M>(y + i);
    for (int j = 0; j < M; ++j) sum.at[j] = a * in.at[j] + b * sum.at[j];
    StoreValues(y + i, sum);
  });
}

__device__ inline float NormalCdf(float x) { return 0.5f * (1.0f + erff(x * 0.70710678f)); }

// Reads n elements, writes n; some 20 FLOPs each.
template <typename T, int N>
__global__ void GeluForwardKernel(const T* x, int64_t n, T* y) {
  ForPacket<N>(GridIndex() * N, n, [&]<int M>(Count<M>, int64_t i) {
    Values<M> values = LoadValues<M>(x + i);
    for (int j = 0; j < M; ++j) values.at[j] *= NormalCdf(values.at[j]);
    StoreValues(y + i, values);
  });
}

// Reads 2n elements, writes n; some 40 FLOPs each. dx may be dy.
template <typename T, int N>
__global__ void GeluBackwardKernel(const T* x, const T* dy, int64_t n, T* dx) {
  ForPacket<N>(GridIndex() * N, n, [&]<int M>(Count<M>, int64_t i) {
    const Values<M> values = LoadValues<M>(x + i);
    Values<M> gradient = LoadValues<M>(dy + i);
    for (int j = 0; j < M; ++j) {
      const float value = values.at[j];
      const float density = 0.39894228f * expf(-0.5f * value * value);
      gradient.at[j] *= NormalCdf(value) + value * density;
    }
    StoreValues(dx + i, gradient);
  });
}

}  // namespace
}  // namespace cuda

void CudaBackend::Fill(Tensor x, float value) {
  const int64_t n = x.elements();
  cuda::DispatchPackets(x.dtype, {x.data}, {}, [&]<typename T, int N>() {
    cuda::Launch({"FillKernel", cuda::Blocks(n, cuda::kThreads, N), cuda::kThreads}, stream_,
                 cuda::FillKernel<T, N>, value, n, cuda::Data<T>(x));
  });
}

void CudaBackend::Add(Tensor source, Tensor destination) {
  const int64_t n = contract::Add(source, destination);
  cuda::DispatchPackets(
      source.dtype, {source.data, destination.data}, {}, [&]<typename T, int N>() {
        cuda::Launch({"AddKernel", cuda::Blocks(n, cuda::kThreads, N), cuda::kThreads}, stream_,
                     cuda::AddKernel<T, N>, cuda::Data<T>(source), n, cuda::Data<T>(destination));
      });
}

void CudaBackend::Axpby(float a, Tensor x, float b, Tensor y) {
  const int64_t n = contract::Axpby(x, y);
  cuda::DispatchPacket<float>({x.data, y.data}, {}, [&]<int N>() {
    cuda::Launch({"AxpbyKernel", cuda::Blocks(n, cuda::kThreads, N), cuda::kThreads}, stream_,
                 cuda::AxpbyKernel<N>, a, x.f32(), b, n, y.f32());
  });
}

void CudaBackend::GeluForward(Tensor x, Tensor y) {
  const int64_t n = contract::Gelu(x, y);
  cuda::DispatchPackets(x.dtype, {x.data, y.data}, {}, [&]<typename T, int N>() {
    cuda::Launch({"GeluForwardKernel", cuda::Blocks(n, cuda::kThreads, N), cuda::kThreads}, stream_,
                 cuda::GeluForwardKernel<T, N>, cuda::Data<T>(x), n, cuda::Data<T>(y));
  });
}

void CudaBackend::GeluBackward(Tensor x, Tensor dy, Tensor dx) {
  const int64_t n = contract::GeluBackward(x, dy, dx);
  cuda::DispatchPackets(x.dtype, {x.data, dy.data, dx.data}, {}, [&]<typename T, int N>() {
    cuda::Launch({"GeluBackwardKernel", cuda::Blocks(n, cuda::kThreads, N), cuda::kThreads},
                 stream_, cuda::GeluBackwardKernel<T, N>, cuda::Data<T>(x), cuda::Data<T>(dy), n,
                 cuda::Data<T>(dx));
  });
}

}  // namespace wavefield
