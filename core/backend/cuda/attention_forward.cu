// Causal softmax attention, forward: blocks of queries against blocks of keys with a running
// maximum (Dao et al., arXiv 2205.14135). One token after a history: attention_decode.cu.

#include "core/backend/contract.h"
#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/attention_decode.h"
#include "core/backend/cuda/attention_rows.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"

namespace wavefield {
namespace cuda {
namespace {

// Shared memory of a block.
template <typename T, int kWidth>
struct ForwardRoom {
  static constexpr int kKeys = sizeof(T) == 4 && kWidth > 64 ? 32 : 64;
  // Two lanes share a row of scores: with this pad each of 8 neighbours meets other banks.
  static constexpr int kScoreStride = kKeys + 8;
  static constexpr int kStride = kRowStride<T, kWidth>;

  struct Warp {
    alignas(kTileAlignment) float scores[kTile * kScoreStride];
    alignas(kTileAlignment) T weights[kTile * kScoreStride];
    float factors[kTile];
  };
  alignas(kTileAlignment) T q[kAttentionRows * kStride];
  alignas(kTileAlignment) T k[kKeys * kStride];
  alignas(kTileAlignment) T v[kKeys * kStride];
  Warp warps[kAttentionWarps];
  int hidden[kWidth];  // see HideNonFinite
};

// The running softmax of one row, kept by the two lanes that share it. In powers of two.
struct RunningSoftmax {
  float maximum = -INFINITY;
  float sum = 0;  // this lane's half
};

// Row lane / 2 of scores [kTile, kKeys], of which the row sees the first `seen` keys, becomes
// weights 2^(scale · score − maximum), 0 for unseen keys whatever their scores are. Returns by how
// much what was summed up to now has to be multiplied: exactly 1 if the maximum stays.
template <int kKeys, int kStride, typename T>
__device__ float SoftmaxRow(const float* scores, int64_t seen, float scale, RunningSoftmax& softmax,
                            T* weights) {
  constexpr int kPacket = 4, kPackets = kKeys / (2 * kPacket);
  const int lane = threadIdx.x % kWarp, half = lane % 2 * kPacket;
  scores += lane / 2 * kStride + half;
  weights += lane / 2 * kStride + half;
  float score[kPackets][kPacket];
  float largest = softmax.maximum;
#pragma unroll
  for (int i = 0; i < kPackets; ++i) {
    const auto packet = *reinterpret_cast<const Packet<float, kPacket>*>(scores + i * 2 * kPacket);
#pragma unroll
    for (int e = 0; e < kPacket; ++e) {
      const bool visible = i * 2 * kPacket + half + e < seen;
      score[i][e] = visible ? packet.element[e] * scale : -INFINITY;
      largest = fmaxf(largest, score[i][e]);
    }
  }
  largest = fmaxf(largest, __shfl_xor_sync(kFullMask, largest, 1));
  const float factor = exp2f(softmax.maximum - largest);
  softmax.maximum = largest;
  softmax.sum *= factor;
#pragma unroll
  for (int i = 0; i < kPackets; ++i) {
    Packet<T, kPacket> packet;
#pragma unroll
    for (int e = 0; e < kPacket; ++e) {
      const float weight = exp2f(score[i][e] - largest);
      softmax.sum += weight;
      Store(&packet.element[e], weight);
    }
    *reinterpret_cast<Packet<T, kPacket>*>(weights + i * 2 * kPacket) = packet;
  }
  return factor;
}

// Sets what is not finite in the block's values to 0, so that weights of 0 do not make NaN of it
// for queries that do not see it, and notes per column how early it is: hidden[column] is the
// largest of kAttentionRows − the value's distance from the block's first query.
template <int kKeys, int kWidth, typename T>
__device__ void HideNonFinite(int64_t distance, T* v, int* hidden) {
  for (int i = threadIdx.x; i < kKeys * kWidth; i += kAttentionThreads) {
    const int row = i / kWidth, column = i % kWidth;
    T* value = v + row * kRowStride<T, kWidth> + column;
    if (fabsf(Load(value)) < INFINITY) continue;
    cuda::Store(value, 0.0f);
    atomicMax(hidden + column, kAttentionRows - static_cast<int>(distance + row));
  }
}

// A warp has kTile queries. Per block of queries: reads q, all keys and values before it, and
// writes y, each once; N·H fp32 of log_sum. 4·d FLOPs per pair of query and key in products, on
// tensor cores for bf16, and one exponential. Registers only: no spills.
template <typename T, int kWidth>
__global__ void AttentionForwardKernel(AttentionShape shape, const T* qkv, const float* history,
                                       T* y, float* log_sum) {
  using Room = ForwardRoom<T, kWidth>;
  constexpr int kKeys = Room::kKeys, kStride = Room::kStride, kScoreStride = Room::kScoreStride;
  static_assert(sizeof(Room) <= 99 << 10, "what a block may have from compute capability 8.6 on");
  Room* room = SharedMemory<Room>();
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  typename Room::Warp& own = room->warps[warp];
  T* q = room->q + warp * kTile * kStride;

  // The last blocks see most keys: they begin first.
  const int64_t blocks = (shape.tokens + kAttentionRows - 1) / kAttentionRows;
  const int64_t index = blockIdx.x / blocks;
  const int64_t first = (blocks - 1 - blockIdx.x % blocks) * kAttentionRows;
  const int64_t width = shape.width(), row = first + warp * kTile;  // of the warp's row 0
  LoadRows<kAttentionRows, kWidth>(qkv + shape.Offset(index, 3) + first * 3 * width, 3 * width,
                                   shape.tokens - first, shape.head_width, room->q);

  for (int i = threadIdx.x; i < kWidth; i += kAttentionThreads) room->hidden[i] = 0;

  const TilePlaces<T> places(own.scores);
  RunningSoftmax softmax;
  WarpTile<T, kWidth> out;
  out.Fill(0.0f);
  const int64_t end = shape.position + Smaller(first + kAttentionRows, shape.tokens);
  for (int64_t start = 0; start < end; start += kKeys) {
    const bool masked = start + kKeys > shape.position + first + 1;
    __syncthreads();
    LoadKeys<kKeys, kWidth>(shape, index, 1, start, qkv, history, room->k);
    LoadKeys<kKeys, kWidth>(shape, index, 2, start, qkv, history, room->v);
    __syncthreads();
    if (masked) {
      HideNonFinite<kKeys, kWidth>(start - shape.position - first, room->v, room->hidden);
      __syncthreads();
    }

    WarpTile<T, kKeys> scores;
    scores.Fill(0.0f);
    scores.template MultiplyAdd<kWidth, Layout::kColumns>(q, kStride, room->k, kStride);
    scores.Store(own.scores, kScoreStride);
    __syncwarp();
    const float factor =
        SoftmaxRow<kKeys, kScoreStride>(own.scores, shape.position + row + lane / 2 + 1 - start,
                                        shape.scale * kLog2E, softmax, own.weights);
    if (lane % 2 == 0) own.factors[lane / 2] = factor;
    __syncwarp();
    if (__ballot_sync(kFullMask, factor != 1.0f) != 0) {
      out.ForEach(places, [&](int r, int, float& sum) { sum *= own.factors[r]; });
    }
    out.template MultiplyAdd<kKeys, Layout::kRows>(own.weights, kScoreStride, room->v, kStride);
  }

  const float sum = softmax.sum + __shfl_xor_sync(kFullMask, softmax.sum, 1);
  __syncwarp();
  if (lane % 2 == 0) {
    own.factors[lane / 2] = 1.0f / sum;
    if (row + lane / 2 < shape.tokens) {
      log_sum[(shape.Row(index) + row + lane / 2) * shape.heads + index % shape.heads] =
          softmax.maximum * kLn2 + logf(sum);
    }
  }
  __syncwarp();
  out.ForEach(places, [&](int r, int column, float& element) {
    const bool seen = room->hidden[column] >= kAttentionRows - warp * kTile - r;
    cuda::Store(q + r * kStride + column, seen ? NAN : element * own.factors[r]);
  });
  __syncwarp();
  StoreRows<kWidth>(q, shape.tokens - row, shape.head_width,
                    y + shape.Offset(index, 1) + row * width, width);
}

// Writes the piece's keys and values to the history: reads 2·N·D elements, writes as many fp32.
template <typename T>
__global__ void AppendHistoryKernel(AttentionShape shape, int64_t rows, const T* qkv,
                                    float* history) {
  const int64_t pair = 2 * shape.width();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows * pair) return;
  const int64_t row = i / pair, column = i % pair;
  const int64_t token = shape.position + row % shape.tokens;
  history[(row / shape.tokens * shape.capacity + token) * pair + column] =
      Load(qkv + row * 3 * shape.width() + shape.width() + column);
}

}  // namespace
}  // namespace cuda

void CudaBackend::AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                   Tensor history, Tensor y, Tensor log_sum) {
  const auto size = contract::AttentionForward(batch, heads, position, qkv, history, y, log_sum);
  if (size.tokens == 0) return;
  const cuda::AttentionShape shape(size, position);
  cuda::DispatchActivation(qkv.dtype, [&]<typename T>(T) {
    const T* inputs = cuda::Data<T>(qkv);
    float* past = history.empty() ? nullptr : history.f32();
    if (past != nullptr) {
      constexpr int kThreads = 256;
      const int64_t rows = batch * size.tokens;
      cuda::Launch(
          {"AppendHistoryKernel", cuda::Blocks(rows * 2 * shape.width(), kThreads), kThreads},
          stream_, cuda::AppendHistoryKernel<T>, shape, rows, inputs, past);
    }
    if (past != nullptr && size.tokens == 1) {
      const ArenaScope scope(workspace_);
      const Tensor partials = workspace_.Allocate({cuda::DecodeFloats(batch, shape)});
      cuda::DecodeToken(batch, shape, inputs, past, partials.f32(), cuda::Data<T>(y), log_sum.f32(),
                        stream_);
      return;
    }
    cuda::DispatchHeadWidth(shape.head_width, [&](auto padded) {
      constexpr int kWidth = padded;
      constexpr size_t kShared = sizeof(cuda::ForwardRoom<T, kWidth>);
      static_assert(kShared <= cuda::kEverySharedBytes);
      cuda::Launch(
          {"AttentionForwardKernel",
           cuda::Blocks(size.tokens, cuda::kAttentionRows) * static_cast<unsigned>(batch * heads),
           cuda::kAttentionThreads, kShared},
          stream_, cuda::AttentionForwardKernel<T, kWidth>, shape, inputs, past, cuda::Data<T>(y),
          log_sum.f32());
    });
  });
}

}  // namespace wavefield
