#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/cuda/sigmoid.h"

namespace wavefield {
namespace cuda {
namespace {

// gate_up [rows, 2 · width]. Reads 2 · rows · width elements and writes half of that; some 12 FLOPs
// each.
template <typename T, int N>
__global__ void SwiGluForwardKernel(const T* gate_up, int64_t rows, int64_t width, T* y) {
  const int64_t i = GridIndex() * N, row = i / width;
  if (row >= rows) return;
  const T* at = gate_up + i + row * width;
  const Values<N> gate = LoadValues<N>(at);
  Values<N> values = LoadValues<N>(at + width);
  for (int j = 0; j < N; ++j) values.at[j] *= gate.at[j] * Sigmoid(gate.at[j]);
  StoreValues(y + i, values);
}

// Reads 3 · rows · width elements and writes two thirds of that; some 20 FLOPs each. dgate_up may
// be gate_up.
template <typename T, int N>
__global__ void SwiGluBackwardKernel(const T* gate_up, const T* dy, int64_t rows, int64_t width,
                                     T* dgate_up) {
  const int64_t i = GridIndex() * N, row = i / width;
  if (row >= rows) return;
  const int64_t at = i + row * width;
  Values<N> gate = LoadValues<N>(gate_up + at), up = LoadValues<N>(gate_up + at + width);
  const Values<N> dout = LoadValues<N>(dy + i);
  for (int j = 0; j < N; ++j) {
    const float x = gate.at[j], sigmoid = Sigmoid(x);
    gate.at[j] = dout.at[j] * up.at[j] * sigmoid * (1.0f + x * (1.0f - sigmoid));
    up.at[j] = dout.at[j] * x * sigmoid;
  }
  StoreValues(dgate_up + at, gate);
  StoreValues(dgate_up + at + width, up);
}

}  // namespace
}  // namespace cuda

void CudaBackend::SwiGluForward(Tensor gate_up, Tensor y) {
  const auto size = contract::SwiGlu(gate_up, y);
  cuda::DispatchPackets(y.dtype, {gate_up.data, y.data}, {size.width}, [&]<typename T, int N>() {
    cuda::Launch({"SwiGluForwardKernel", cuda::Blocks(size.rows * size.width, cuda::kThreads, N),
                  cuda::kThreads},
                 stream_, cuda::SwiGluForwardKernel<T, N>, cuda::Data<T>(gate_up), size.rows,
                 size.width, cuda::Data<T>(y));
  });
}

void CudaBackend::SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) {
  const auto size = contract::SwiGluBackward(gate_up, dy, dgate_up);
  cuda::DispatchPackets(
      dy.dtype, {gate_up.data, dy.data, dgate_up.data}, {size.width}, [&]<typename T, int N>() {
        cuda::Launch({"SwiGluBackwardKernel",
                      cuda::Blocks(size.rows * size.width, cuda::kThreads, N), cuda::kThreads},
                     stream_, cuda::SwiGluBackwardKernel<T, N>, cuda::Data<T>(gate_up),
                     cuda::Data<T>(dy), size.rows, size.width, cuda::Data<T>(dgate_up));
      });
}

}  // namespace wavefield
