#include <algorithm>

#include "core/backend/contract.h"
#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/limits.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/cuda/sigmoid.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kWarps = kThreads / kWarp;
constexpr float kEpsilon = 1e-6f;

// A row of D columns in shared memory: heads lie at odd distances, so that lanes that read the same
// column of different heads meet different banks.
struct HeadLayout {
  int heads, head_width, distance;

  __device__ HeadLayout(int64_t heads, int64_t head_width)
      : heads(static_cast<int>(heads)),
        head_width(static_cast<int>(head_width)),
        distance(this->head_width | 1) {}
  __device__ int width() const { return heads * head_width; }
};

// weights [H, H] = softmax over the rows of coupling. A warp has a row: reads and writes 4 bytes
// per weight, some 40 FLOPs.
__global__ void CouplingKernel(const float* coupling, int64_t heads, float* weights) {
  const int64_t row = blockIdx.x * heads;
  float largest = -INFINITY, sum = 0;
  for (int64_t j = threadIdx.x; j < heads; j += kWarp) {
    largest = fmaxf(largest, coupling[row + j]);
  }
  largest = WarpMax(largest);
  for (int64_t j = threadIdx.x; j < heads; j += kWarp) sum += expf(coupling[row + j] - largest);
  sum = WarpSum(sum);
  for (int64_t j = threadIdx.x; j < heads; j += kWarp) {
    weights[row + j] = expf(coupling[row + j] - largest) / sum;
  }
}

// dcoupling += the softmax's gradient, from dweights [H, H]. A warp has a row: reads 12 bytes and
// writes 4 per weight, 5 FLOPs.
__global__ void CouplingGradientKernel(const float* weights, const float* dweights, int64_t heads,
                                       float* dcoupling) {
  const int64_t row = blockIdx.x * heads;
  float mean = 0;
  for (int64_t j = threadIdx.x; j < heads; j += kWarp) {
    mean += weights[row + j] * dweights[row + j];
  }
  mean = WarpSum(mean);
  for (int64_t j = threadIdx.x; j < heads; j += kWarp) {
    dcoupling[row + j] += weights[row + j] * (dweights[row + j] - mean);
  }
}

// Copies a row to shared memory; for all threads of a block.
template <typename T>
__device__ void LoadRow(const HeadLayout& layout, const T* from, float* to) {
  for (int i = threadIdx.x; i < layout.width(); i += blockDim.x) {
    to[i / layout.head_width * layout.distance + i % layout.head_width] = Load(from + i);
  }
}

// Σ_j weights[j · step] · y_j at one column.
__device__ inline float Mixed(const HeadLayout& layout, const float* weights, int step,
                              const float* y, int column) {
  float sum = 0;
  for (int j = 0; j < layout.heads; ++j) sum += weights[j * step] * y[j * layout.distance + column];
  return sum;
}

// A warp couples head i of a row: mixed = Σ_j weights[i, j] y_j into shared memory; 1 / root mean
// square of it, or of q ⊙ it. q: of this head, or null.
template <typename T>
__device__ float CoupleHead(const HeadLayout& layout, int i, const float* weights, const float* y,
                            const T* q, float* mixed) {
  float squares = 0;
  for (int c = threadIdx.x % kWarp; c < layout.head_width; c += kWarp) {
    const float sum = Mixed(layout, weights + i * layout.heads, 1, y, c);
    mixed[i * layout.distance + c] = sum;
    const float value = q == nullptr ? sum : sum * Load(q + c);
    squares += value * value;
  }
  return 1.0f / sqrtf(WarpSum(squares) / static_cast<float>(layout.head_width) + kEpsilon);
}

// A block has rows_per_block rows, a warp every kWarps-th head. Per row and column reads two
// elements (three with a q) and writes one; 2H + 20 FLOPs. qkv may be null.
template <typename T>
__global__ void ReadoutForwardKernel(int64_t count, int64_t rows_per_block, int64_t heads,
                                     int64_t head_width, const T* y, const T* qkv,
                                     const float* weights, const float* head_norm, const T* qkvg,
                                     T* out) {
  const HeadLayout layout(heads, head_width);
  const int width = layout.width(), lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  float* shared_weights = SharedMemory<float>();              // [H, H]
  float* row = shared_weights + layout.heads * layout.heads;  // [H, distance]
  float* mixed = row + layout.heads * layout.distance;        // [H, distance]
  for (int i = threadIdx.x; i < layout.heads * layout.heads; i += blockDim.x) {
    shared_weights[i] = weights[i];
  }
  const int64_t begin = blockIdx.x * rows_per_block;
  for (int64_t n = begin; n < begin + rows_per_block && n < count; ++n) {
    __syncthreads();
    LoadRow(layout, y + n * width, row);
    __syncthreads();
    for (int i = warp; i < layout.heads; i += kWarps) {
      const int first = i * layout.head_width;
      const T* q = qkv == nullptr ? nullptr : qkv + n * 3 * width + first;
      const T* gate = qkvg + (n * 4 + 3) * width + first;
      const float inverse_rms = CoupleHead(layout, i, shared_weights, row, q, mixed);
      for (int c = lane; c < layout.head_width; c += kWarp) {
        float value = mixed[i * layout.distance + c] * inverse_rms;
        if (q != nullptr) value *= Load(q + c);
        const float g = Load(gate + c);
        Store(out + n * width + first + c, value * head_norm[first + c] * g * Sigmoid(g));
      }
    }
  }
}

// A block has rows_per_block rows, a warp every kWarps-th head. Per row and column reads three
// elements (four with a q) and writes two (three); 6H + 60 FLOPs. qkv and dqkv may be null.
// weight_sums [blocks, H, H], norm_sums [blocks, D].
template <typename T>
__global__ void ReadoutBackwardKernel(int64_t count, int64_t rows_per_block, int64_t heads,
                                      int64_t head_width, const T* y, const T* qkv,
                                      const float* weights, const float* head_norm, const T* qkvg,
                                      const T* dout, T* dy, T* dqkv, T* dqkvg, float* weight_sums,
                                      float* norm_sums) {
  const HeadLayout layout(heads, head_width);
  const int width = layout.width(), lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int pairs = layout.heads * layout.heads, padded = layout.heads * layout.distance;
  float* shared_weights = SharedMemory<float>();  // [H, H]
  float* dweights = shared_weights + pairs;       // [H, H]
  float* dnorm = dweights + pairs;                // [D]
  float* row = dnorm + width;                     // [H, distance]: y
  float* mixed = row + padded;                    // [H, distance]
  float* dmixed = mixed + padded;                 // [H, distance]
  for (int p = threadIdx.x; p < pairs; p += blockDim.x) {
    shared_weights[p] = weights[p];
    dweights[p] = 0;
  }
  for (int c = threadIdx.x; c < width; c += blockDim.x) dnorm[c] = 0;
  const int64_t begin = blockIdx.x * rows_per_block;
  for (int64_t n = begin; n < begin + rows_per_block && n < count; ++n) {
    __syncthreads();
    LoadRow(layout, y + n * width, row);
    __syncthreads();
    for (int i = warp; i < layout.heads; i += kWarps) {
      const int first = i * layout.head_width;
      const T* q = qkv == nullptr ? nullptr : qkv + n * 3 * width + first;
      const int64_t gate = (n * 4 + 3) * width + first;
      const float inverse_rms = CoupleHead(layout, i, shared_weights, row, q, mixed);
      float* gradient = dmixed + i * layout.distance;
      float pull = 0;
      for (int c = lane; c < layout.head_width; c += kWarp) {
        float normed = mixed[i * layout.distance + c] * inverse_rms;
        if (q != nullptr) normed *= Load(q + c);
        const float g = Load(qkvg + gate + c), sigmoid = Sigmoid(g);
        const float above = Load(dout + n * width + first + c), scale = head_norm[first + c];
        Store(dqkvg + gate + c, above * normed * scale * sigmoid * (1.0f + g * (1.0f - sigmoid)));
        const float open = above * g * sigmoid;
        dnorm[first + c] += open * normed;
        gradient[c] = open * scale;
        pull += open * scale * normed;
      }
      pull = WarpSum(pull) / static_cast<float>(layout.head_width);
      for (int c = lane; c < layout.head_width; c += kWarp) {
        const float sum = mixed[i * layout.distance + c];
        const float in = q == nullptr ? 1.0f : Load(q + c);
        const float dvalue = inverse_rms * (gradient[c] - pull * sum * in * inverse_rms);
        if (q != nullptr) Store(dqkv + n * 3 * width + first + c, dvalue * sum);
        gradient[c] = dvalue * in;
      }
    }
    __syncthreads();
    for (int e = threadIdx.x; e < width; e += blockDim.x) {
      const int j = e / layout.head_width, c = e % layout.head_width;
      Store(dy + n * width + e, Mixed(layout, shared_weights + j, layout.heads, dmixed, c));
    }
    for (int p = threadIdx.x; p < pairs; p += blockDim.x) {
      const float* to = dmixed + p / layout.heads * layout.distance;
      const float* from = row + p % layout.heads * layout.distance;
      float sum = 0;
      for (int c = 0; c < layout.head_width; ++c) sum += to[c] * from[c];
      dweights[p] += sum;
    }
  }
  for (int p = threadIdx.x; p < pairs; p += blockDim.x) {
    weight_sums[blockIdx.x * pairs + p] = dweights[p];
  }
  for (int c = threadIdx.x; c < width; c += blockDim.x) {
    norm_sums[static_cast<int64_t>(blockIdx.x) * width + c] = dnorm[c];
  }
}

void FillCouplingWeights(const Tensor& coupling, const Tensor& weights, cudaStream_t stream) {
  const int64_t heads = coupling.shape[0];
  Launch({"CouplingKernel", static_cast<unsigned>(heads), kWarp}, stream, CouplingKernel,
         coupling.f32(), heads, weights.f32());
}

}  // namespace
}  // namespace cuda

void CudaBackend::FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                      Tensor qkvg, Tensor out) {
  const auto size = contract::FieldReadoutForward(y, qkv, coupling, head_norm, qkvg, out);
  const ArenaScope scope(workspace_);
  const Tensor weights = workspace_.Allocate({size.heads, size.heads});
  cuda::FillCouplingWeights(coupling, weights, stream_);
  // Several, to share what a block loads first, where there are blocks enough.
  const int64_t rows_per_block = std::clamp<int64_t>(size.rows / 128, 1, 16);
  const size_t shared = cuda::ReadoutForwardShared(size.heads, size.head_width);
  cuda::DispatchActivation(y.dtype, [&]<typename T>(T) {
    cuda::Launch(
        {"ReadoutForwardKernel", cuda::Blocks(size.rows, rows_per_block), cuda::kThreads, shared},
        stream_, cuda::ReadoutForwardKernel<T>, size.rows, rows_per_block, size.heads,
        size.head_width, cuda::Data<T>(y), cuda::Data<T>(qkv), weights.f32(), head_norm.f32(),
        cuda::Data<T>(qkvg), cuda::Data<T>(out));
  });
}

void CudaBackend::FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                       Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv,
                                       Tensor dqkvg, Tensor dcoupling, Tensor dhead_norm) {
  const auto size = contract::FieldReadoutBackward(y, qkv, coupling, head_norm, qkvg, dout, dy,
                                                   dqkv, dqkvg, dcoupling, dhead_norm);
  const int64_t heads = size.heads, pairs = heads * heads, width = size.width();
  const cuda::RowBlocks split = cuda::SplitRows(size.rows);
  if (split.blocks == 0) return;
  const ArenaScope scope(workspace_);
  const Tensor weights = workspace_.Allocate({heads, heads});
  const Tensor dweights = workspace_.Allocate({heads, heads});
  const Tensor weight_sums = workspace_.Allocate({split.blocks, pairs});
  const Tensor norm_sums = workspace_.Allocate({split.blocks, width});
  cuda::FillCouplingWeights(coupling, weights, stream_);
  const size_t shared = cuda::ReadoutBackwardShared(heads, size.head_width);
  cuda::DispatchActivation(y.dtype, [&]<typename T>(T) {
    cuda::Launch(
        {"ReadoutBackwardKernel", static_cast<unsigned>(split.blocks), cuda::kThreads, shared},
        stream_, cuda::ReadoutBackwardKernel<T>, size.rows, split.rows_per_block, heads,
        size.head_width, cuda::Data<T>(y), cuda::Data<T>(qkv), weights.f32(), head_norm.f32(),
        cuda::Data<T>(qkvg), cuda::Data<T>(dout), cuda::Data<T>(dy), cuda::Data<T>(dqkv),
        cuda::Data<T>(dqkvg), weight_sums.f32(), norm_sums.f32());
  });
  cuda::AddPartialSums(norm_sums.f32(), split.blocks, width, dhead_norm.f32(), stream_);
  Fill(dweights, 0);
  cuda::AddPartialSums(weight_sums.f32(), split.blocks, pairs, dweights.f32(), stream_);
  cuda::Launch({"CouplingGradientKernel", static_cast<unsigned>(heads), cuda::kWarp}, stream_,
               cuda::CouplingGradientKernel, weights.f32(), dweights.f32(), heads, dcoupling.f32());
}

}  // namespace wavefield
