// Some columns of wide rows: copies, features, the sigmoid gate.

#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/cuda/sigmoid.h"

namespace wavefield {
namespace cuda {
namespace {

// Rows of `width` columns that lie `stride` elements apart in a wider matrix.
template <typename T>
struct Columns {
  T* data;
  int64_t stride;
};

// Moves rows · width elements.
template <typename T, int N>
__global__ void CopyColumnsKernel(Columns<const T> source, int64_t rows, int64_t width,
                                  Columns<T> destination) {
  const int64_t i = GridIndex() * N, row = i / width, column = i % width;
  if (row >= rows) return;
  StoreValues(destination.data + row * destination.stride + column,
              LoadValues<N>(source.data + row * source.stride + column));
}

// Reads and writes rows · width elements; 2 FLOPs each.
template <typename T, int N>
__global__ void ReluForwardKernel(float floor, const T* x, int64_t rows, int64_t width,
                                  Columns<T> y) {
  const int64_t i = GridIndex() * N, row = i / width, column = i % width;
  if (row >= rows) return;
  Values<N> values = LoadValues<N>(x + i);
  for (float& value : values.at) {
    // A NaN is not below 0, and stays.
    value = (value < 0 ? 0 : value) + floor;
  }
  StoreValues(y.data + row * y.stride + column, values);
}

// Reads 2 · rows · width elements and writes half of that; a FLOP each.
template <typename T, int N>
__global__ void ReluBackwardKernel(float floor, Columns<const T> y, Columns<const T> dy,
                                   int64_t rows, int64_t width, T* dx) {
  const int64_t i = GridIndex() * N, row = i / width, column = i % width;
  if (row >= rows) return;
  const Values<N> values = LoadValues<N>(y.data + row * y.stride + column);
  Values<N> gradient = LoadValues<N>(dy.data + row * dy.stride + column);
  T rounded;  // as a closed unit's y is
  Store(&rounded, floor);
  for (int j = 0; j < N; ++j) {
    gradient.at[j] = values.at[j] > Load(&rounded) ? gradient.at[j] : 0;
  }
  StoreValues(dx + i, gradient);
}

// Reads 2 · rows · width elements and writes half of that; some 10 FLOPs each.
template <typename T, int N>
__global__ void SigmoidGateForwardKernel(const T* x, Columns<const T> gate, int64_t rows,
                                         int64_t width, T* y) {
  const int64_t i = GridIndex() * N, row = i / width, column = i % width;
  if (row >= rows) return;
  Values<N> values = LoadValues<N>(x + i);
  const Values<N> g = LoadValues<N>(gate.data + row * gate.stride + column);
  for (int j = 0; j < N; ++j) values.at[j] *= Sigmoid(g.at[j]);
  StoreValues(y + i, values);
}

// Reads 3 · rows · width elements and writes two thirds of that; some 15 FLOPs each. dx may be dy.
template <typename T, int N>
__global__ void SigmoidGateBackwardKernel(const T* x, Columns<const T> gate, const T* dy,
                                          int64_t rows, int64_t width, T* dx, Columns<T> dgate) {
  const int64_t i = GridIndex() * N, row = i / width, column = i % width;
  if (row >= rows) return;
  Values<N> of_gate = LoadValues<N>(x + i), gradient = LoadValues<N>(dy + i);
  const Values<N> g = LoadValues<N>(gate.data + row * gate.stride + column);
  for (int j = 0; j < N; ++j) {
    const float open = Sigmoid(g.at[j]);
    gradient.at[j] *= open;
    of_gate.at[j] *= gradient.at[j] * (1.0f - open);
  }
  StoreValues(dgate.data + row * dgate.stride + column, of_gate);
  StoreValues(dx + i, gradient);
}

}  // namespace
}  // namespace cuda

void CudaBackend::CopyColumns(Tensor source, int64_t source_column, int64_t width,
                              Tensor destination, int64_t destination_column) {
  const auto size =
      contract::CopyColumns(source, source_column, width, destination, destination_column);
  cuda::DispatchPackets(
      source.dtype, {source.data, destination.data},
      {width, source_column, size.source_stride, destination_column, size.destination_stride},
      [&]<typename T, int N>() {
        cuda::Launch({"CopyColumnsKernel", cuda::Blocks(size.rows * width, cuda::kThreads, N),
                      cuda::kThreads},
                     stream_, cuda::CopyColumnsKernel<T, N>,
                     {cuda::Data<T>(source) + source_column, size.source_stride}, size.rows, width,
                     {cuda::Data<T>(destination) + destination_column, size.destination_stride});
      });
}

void CudaBackend::ReluForward(float floor, Tensor x, int64_t column, Tensor y) {
  const auto size = contract::Relu(x, column, y);
  cuda::DispatchPackets(
      x.dtype, {x.data, y.data}, {size.width, column, size.destination_stride},
      [&]<typename T, int N>() {
        cuda::Launch({"ReluForwardKernel", cuda::Blocks(size.rows * size.width, cuda::kThreads, N),
                      cuda::kThreads},
                     stream_, cuda::ReluForwardKernel<T, N>, floor, cuda::Data<T>(x), size.rows,
                     size.width, {cuda::Data<T>(y) + column, size.destination_stride});
      });
}

void CudaBackend::ReluBackward(float floor, Tensor y, int64_t column, Tensor dy, Tensor dx) {
  const auto size = contract::ReluBackward(y, column, dy, dx);
  cuda::DispatchPackets(
      y.dtype, {y.data, dy.data, dx.data}, {size.width, column, size.destination_stride},
      [&]<typename T, int N>() {
        cuda::Launch({"ReluBackwardKernel", cuda::Blocks(size.rows * size.width, cuda::kThreads, N),
                      cuda::kThreads},
                     stream_, cuda::ReluBackwardKernel<T, N>, floor,
                     {cuda::Data<T>(y) + column, size.destination_stride},
                     {cuda::Data<T>(dy) + column, size.destination_stride}, size.rows, size.width,
                     cuda::Data<T>(dx));
      });
}

void CudaBackend::SigmoidGateForward(Tensor x, Tensor qkvg, Tensor y) {
  const auto size = contract::SigmoidGate(x, qkvg, y);
  const int64_t width = size.width;
  cuda::DispatchPackets(x.dtype, {x.data, qkvg.data, y.data}, {width}, [&]<typename T, int N>() {
    cuda::Launch({"SigmoidGateForwardKernel", cuda::Blocks(size.rows * width, cuda::kThreads, N),
                  cuda::kThreads},
                 stream_, cuda::SigmoidGateForwardKernel<T, N>, cuda::Data<T>(x),
                 {cuda::Data<T>(qkvg) + 3 * width, 4 * width}, size.rows, width, cuda::Data<T>(y));
  });
}

void CudaBackend::SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx, Tensor dqkvg) {
  const auto size = contract::SigmoidGateBackward(x, qkvg, dy, dx, dqkvg);
  const int64_t width = size.width;
  cuda::DispatchPackets(
      x.dtype, {x.data, qkvg.data, dy.data, dx.data, dqkvg.data}, {width},
      [&]<typename T, int N>() {
        cuda::Launch({"SigmoidGateBackwardKernel",
                      cuda::Blocks(size.rows * width, cuda::kThreads, N), cuda::kThreads},
                     stream_, cuda::SigmoidGateBackwardKernel<T, N>, cuda::Data<T>(x),
                     {cuda::Data<T>(qkvg) + 3 * width, 4 * width}, cuda::Data<T>(dy), size.rows,
                     width, cuda::Data<T>(dx), {cuda::Data<T>(dqkvg) + 3 * width, 4 * width});
      });
}

}  // namespace wavefield
