#include "core/backend/cuda/attention_decode.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"

namespace wavefield::cuda {
namespace {

// Tokens that are one block's work: fixed, so that bits depend on nothing else.
constexpr int64_t kStretch = 256;
constexpr int kColumns = kLargestHeadWidth / kWarp;  // of a lane: lane, lane + 32, …

// A softmax over some tokens, not yet divided by its sum; in powers of two. The lanes of a warp
// hold its columns.
struct PartialSoftmax {
  float maximum = -INFINITY;
  float sum = 0;
  float out[kColumns] = {};

  // Takes in what has this maximum, sum and values.
  __device__ void Add(float other_maximum, float other_sum, const float* other_out) {
    const float largest = fmaxf(maximum, other_maximum);
    // Both may be −∞ where all scores are NaN, and the sum is then NaN as it should be.
    const float mine = exp2f(maximum - largest), others = exp2f(other_maximum - largest);
    maximum = largest;
    sum = sum * mine + other_sum * others;
    for (int j = 0; j < kColumns; ++j) out[j] = out[j] * mine + other_out[j] * others;
  }
};

// A partial result in memory: maximum, sum, then one float per column of the head.
__host__ __device__ int64_t PartialFloats(int head_width) { return 2 + head_width; }

__host__ __device__ int64_t Stretches(const AttentionShape& shape) {
  return (shape.end() + kStretch - 1) / kStretch;
}

__device__ void StorePartial(const PartialSoftmax& softmax, int head_width, float* to) {
  const int lane = threadIdx.x % kWarp;
  if (lane == 0) {
    to[0] = softmax.maximum;
    to[1] = softmax.sum;
  }
  for (int j = 0; j < kColumns; ++j) {
    const int column = lane + j * kWarp;
    if (column < head_width) to[2 + column] = softmax.out[j];
  }
}

// Adds `count` partial results, `floats` apart, in their order.
__device__ void AddPartials(int64_t count, int64_t floats, int head_width, const float* partials,
                            PartialSoftmax& softmax) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t i = 0; i < count; ++i, partials += floats) {
    if (partials[1] == 0.0f) continue;  // of no tokens
    float out[kColumns];
    for (int j = 0; j < kColumns; ++j) {
      const int column = lane + j * kWarp;
      out[j] = column < head_width ? partials[2 + column] : 0.0f;
    }
    softmax.Add(partials[0], partials[1], out);
  }
}

// One head and one stretch per block, every kAttentionWarps-th token per warp. Reads q and 8·d
// bytes per token, writes 4·(2 + d) bytes per stretch; 4·d FLOPs per token. No spills.
template <typename T>
__global__ void DecodeStretchKernel(AttentionShape shape, const T* qkv, const float* history,
                                    float* partials) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t stretches = Stretches(shape), index = blockIdx.x / stretches;
  const int64_t start = blockIdx.x % stretches * kStretch;
  const int64_t last = Smaller(start + kStretch, shape.end());
  const int64_t width = shape.width(), floats = PartialFloats(shape.head_width);
  const T* query = qkv + shape.Offset(index, 3);
  const float* keys = history + shape.PastOffset(index);

  float q[kColumns];
  for (int j = 0; j < kColumns; ++j) {
    const int column = lane + j * kWarp;
    q[j] = column < shape.head_width ? Load(query + column) * (shape.scale * kLog2E) : 0.0f;
  }
  PartialSoftmax softmax;
#pragma unroll 2
  for (int64_t token = start + warp; token < last; token += kAttentionWarps) {
    const float* key = keys + token * 2 * width;
    float score = 0, v[kColumns];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int column = lane + j * kWarp;
      const bool here = column < shape.head_width;
      score += q[j] * (here ? key[column] : 0.0f);
      v[j] = here ? key[width + column] : 0.0f;
    }
    softmax.Add(WarpSum(score), 1.0f, v);
  }
  float* shared = SharedMemory<float>();
  StorePartial(softmax, shape.head_width, shared + warp * floats);
  __syncthreads();
  if (warp != 0) return;
  PartialSoftmax whole;
  AddPartials(kAttentionWarps, floats, shape.head_width, shared, whole);
  StorePartial(whole, shape.head_width, partials + blockIdx.x * floats);
}

// Joins the stretches of one head per warp: reads them, writes d elements of y. No spills.
template <typename T>
__global__ void DecodeJoinKernel(AttentionShape shape, const float* partials, T* y,
                                 float* log_sum) {
  const int lane = threadIdx.x;
  const int64_t stretches = Stretches(shape), floats = PartialFloats(shape.head_width);
  PartialSoftmax softmax;
  AddPartials(stretches, floats, shape.head_width, partials + blockIdx.x * stretches * floats,
              softmax);
  for (int j = 0; j < kColumns; ++j) {
    const int column = lane + j * kWarp;
    if (column < shape.head_width) {
      Store(y + shape.Offset(blockIdx.x, 1) + column, softmax.out[j] / softmax.sum);
    }
  }
  if (lane == 0) log_sum[blockIdx.x] = softmax.maximum * kLn2 + logf(softmax.sum);
}

}  // namespace

int64_t DecodeFloats(int64_t batch, const AttentionShape& shape) {
  return batch * shape.heads * Stretches(shape) * PartialFloats(shape.head_width);
}

template <typename T>
void DecodeToken(int64_t batch, const AttentionShape& shape, const T* qkv, const float* history,
                 float* partials, T* y, float* log_sum, cudaStream_t stream) {
  const int64_t heads = batch * shape.heads;
  const size_t shared = kAttentionWarps * PartialFloats(shape.head_width) * sizeof(float);
  Launch({"DecodeStretchKernel", static_cast<unsigned>(heads * Stretches(shape)), kAttentionThreads,
          shared},
         stream, DecodeStretchKernel<T>, shape, qkv, history, partials);
  Launch({"DecodeJoinKernel", static_cast<unsigned>(heads), kWarp}, stream, DecodeJoinKernel<T>,
         shape, static_cast<const float*>(partials), y, log_sum);
}

template void DecodeToken(int64_t, const AttentionShape&, const float*, const float*, float*,
                          float*, float*, cudaStream_t);
template void DecodeToken(int64_t, const AttentionShape&, const BFloat16*, const float*, float*,
                          BFloat16*, float*, cudaStream_t);

}  // namespace wavefield::cuda
