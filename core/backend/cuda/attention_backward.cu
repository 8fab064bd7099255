// The gradients of causal softmax attention. The weights are computed again from log_sum, once for
// dk and dv, whose blocks of keys meet blocks of queries, and once for dq, whose blocks of queries
// meet blocks of keys: 7 products instead of 5, but every sum has one owner and a fixed order.

#include "core/backend/contract.h"
#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/attention_rows.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"

namespace wavefield {
namespace cuda {
namespace {

// Shared memory of a block. It owns rows of keys and values and meets queries and their gradients,
// or the other way round: the first matrix of each make the scores, the second the gradients of
// weights.
template <typename T, int kWidth>
struct BackwardRoom {
  static constexpr int kOthers = sizeof(T) == 4 && kWidth > 64 ? 16 : 32;
  static constexpr int kStride = kRowStride<T, kWidth>;
  static constexpr int kSumStride = kWidth + kStridePad<BFloat16>;
  static constexpr int kWeightStride = kRowStride<T, kOthers>;

  union Warp {
    alignas(kTileAlignment) T weights[kTile * kWeightStride];
    float places[kTile * kTile];
  };
  union {
    alignas(kTileAlignment) T own[2][kAttentionRows * kStride];
    float sums[kAttentionWarps][kTile * kSumStride];  // at the end
  };
  alignas(kTileAlignment) T others[2][kOthers * kStride];
  Warp warps[kAttentionWarps];
  float log_sum[kAttentionRows];  // of the queries, in powers of two; +∞ for those not there
  float pull[kAttentionRows];     // of the queries: dy · y
};

// Queries [first, first + kCount) of a head.
template <int kCount, int kWidth, typename T, typename Room>
__device__ void LoadQueries(const AttentionShape& shape, int64_t index, int64_t first, const T* qkv,
                            const T* dy, const float* log_sum, const float* pull, T* to_q, T* to_dy,
                            Room* room) {
  const int64_t width = shape.width(), there = shape.tokens - first;
  LoadRows<kCount, kWidth>(qkv + shape.Offset(index, 3) + first * 3 * width, 3 * width, there,
                           shape.head_width, to_q);
  LoadRows<kCount, kWidth>(dy + shape.Offset(index, 1) + first * width, width, there,
                           shape.head_width, to_dy);
  for (int i = threadIdx.x; i < kCount; i += kAttentionThreads) {
    const int64_t at = (shape.Row(index) + first + i) * shape.heads + index % shape.heads;
    room->log_sum[i] = i < there ? log_sum[at] * kLog2E : INFINITY;
    room->pull[i] = i < there ? pull[at] : 0.0f;
  }
}

// pull[n, h] = dy · y over head h of row n: one per warp. Reads 2·N·D elements, writes N·H; 2·N·D
// FLOPs.
template <typename T>
__global__ void PullKernel(int64_t pulls, int head_width, const T* y, const T* dy, float* pull) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (at >= pulls) return;
  float sum = 0;
  for (int64_t c = threadIdx.x % kWarp; c < head_width; c += kWarp) {
    sum += Load(y + at * head_width + c) * Load(dy + at * head_width + c);
  }
  sum = WarpSum(sum);
  if (threadIdx.x % kWarp == 0) pull[at] = sum;
}

// dq of one block of queries. Reads its q and dy and all keys and values before it, writes dq; 6·d
// FLOPs per pair of query and key in products and one exponential. No spills.
template <typename T, int kWidth>
__global__ void AttentionQueryGradientKernel(AttentionShape shape, const T* qkv,
                                             const float* history, const T* dy,
                                             const float* log_sum, const float* pull, T* dqkv) {
  using Room = BackwardRoom<T, kWidth>;
  constexpr int kKeys = Room::kOthers, kStride = Room::kStride;
  constexpr int kWeightStride = Room::kWeightStride;
  static_assert(sizeof(Room) <= 99 << 10, "what a block may have from compute capability 8.6 on");
  Room* room = SharedMemory<Room>();
  const int warp = threadIdx.x / kWarp;
  T* weights = room->warps[warp].weights;
  T* q = room->own[0] + warp * kTile * kStride;
  const T* own_dy = room->own[1] + warp * kTile * kStride;
  const float* own_log_sum = room->log_sum + warp * kTile;
  const float* own_pull = room->pull + warp * kTile;

  // The last blocks see most keys: they begin first.
  const int64_t blocks = (shape.tokens + kAttentionRows - 1) / kAttentionRows;
  const int64_t index = blockIdx.x / blocks;
  const int64_t first = (blocks - 1 - blockIdx.x % blocks) * kAttentionRows;
  const int64_t width = shape.width(), row = first + warp * kTile;  // of the warp's row 0
  LoadQueries<kAttentionRows, kWidth>(shape, index, first, qkv, dy, log_sum, pull, room->own[0],
                                      room->own[1], room);

  const TilePlaces<T> places(room->warps[warp].places);
  WarpTile<T, kWidth> dq;
  dq.Fill(0.0f);
  const int64_t end = shape.position + Smaller(first + kAttentionRows, shape.tokens);
  for (int64_t start = 0; start < end; start += kKeys) {
    __syncthreads();
    LoadKeys<kKeys, kWidth>(shape, index, 1, start, qkv, history, room->others[0]);
    LoadKeys<kKeys, kWidth>(shape, index, 2, start, qkv, history, room->others[1]);
    __syncthreads();
    WarpTile<T, kKeys> scores, dweights;
    scores.Fill(0.0f);
    dweights.Fill(0.0f);
    scores.template MultiplyAdd<kWidth, Layout::kColumns>(q, kStride, room->others[0], kStride);
    dweights.template MultiplyAdd<kWidth, Layout::kColumns>(own_dy, kStride, room->others[1],
                                                            kStride);
    // The last key that row 0 sees.
    const auto diagonal = static_cast<int>(Smaller(shape.position + row - start, kKeys));
    scores.ForEach(places, dweights, [&](int r, int column, float& score, float& dweight) {
      const float weight = exp2f(score * (shape.scale * kLog2E) - own_log_sum[r]);
      cuda::Store(weights + r * kWeightStride + column,
                  column <= diagonal + r ? weight * (dweight - own_pull[r]) : 0.0f);
    });
    __syncwarp();
    dq.template MultiplyAdd<kKeys, Layout::kRows>(weights, kWeightStride, room->others[0], kStride);
  }

  dq.ForEach(places, [&](int r, int column, float& element) {
    cuda::Store(q + r * kStride + column, element * shape.scale);
  });
  __syncwarp();
  StoreRows<kWidth>(q, shape.tokens - row, shape.head_width,
                    dqkv + shape.Offset(index, 3) + row * 3 * width, 3 * width);
}

// dk or dv of a warp's kTile keys from token `first` on, of which `sums` [kTile, kWidth] in shared
// memory are `factor` times less: adds what later pieces gave; what is before the piece goes back
// to dhistory, the piece's own to dqkv.
template <int kWidth, typename T>
__device__ void StoreKeyGradients(const AttentionShape& shape, int64_t index, int part,
                                  int64_t first, float factor, const float* sums, int stride,
                                  float* dhistory, T* dqkv) {
  const int64_t width = shape.width();
  for (int i = threadIdx.x % kWarp; i < kTile * kWidth; i += kWarp) {
    const int row = i / kWidth, column = i % kWidth;
    const int64_t token = first + row;
    if (token >= shape.end() || column >= shape.head_width) continue;
    float value = sums[row * stride + column] * factor;
    if (dhistory != nullptr) {
      float* past = dhistory + shape.PastOffset(index) + (token * 2 + part - 1) * width + column;
      value += *past;
      if (token < shape.position) *past = value;
    }
    if (token >= shape.position) {
      Store(dqkv + shape.Offset(index, 3) + ((token - shape.position) * 3 + part) * width + column,
            value);
    }
  }
}

// dk and dv of one block of keys, the first_block-th and later ones of a head. Reads its keys and
// values and q and dy of all queries from there on, writes dk and dv; 8·d FLOPs per pair of query
// and key in products and one exponential. No spills.
template <typename T, int kWidth>
__global__ void AttentionKeyGradientKernel(AttentionShape shape, int64_t first_block,
                                           int64_t blocks, const T* qkv, const float* history,
                                           const T* dy, const float* log_sum, const float* pull,
                                           float* dhistory, T* dqkv) {
  using Room = BackwardRoom<T, kWidth>;
  constexpr int kQueries = Room::kOthers, kStride = Room::kStride;
  constexpr int kWeightStride = Room::kWeightStride;
  static_assert(sizeof(Room) <= 99 << 10, "what a block may have from compute capability 8.6 on");
  Room* room = SharedMemory<Room>();
  const int warp = threadIdx.x / kWarp;
  T* weights = room->warps[warp].weights;
  const T* k = room->own[0] + warp * kTile * kStride;
  const T* v = room->own[1] + warp * kTile * kStride;

  const int64_t index = blockIdx.x / blocks;
  const int64_t start = (first_block + blockIdx.x % blocks) * kAttentionRows;
  const int64_t key = start + warp * kTile;  // token of the warp's row 0
  LoadKeys<kAttentionRows, kWidth>(shape, index, 1, start, qkv, history, room->own[0]);
  LoadKeys<kAttentionRows, kWidth>(shape, index, 2, start, qkv, history, room->own[1]);

  const TilePlaces<T> places(room->warps[warp].places);
  WarpTile<T, kWidth> dk, dv;
  dk.Fill(0.0f);
  dv.Fill(0.0f);
  const int64_t seeing = Larger(start - shape.position, 0);  // first query that sees a key
  for (int64_t first = seeing / kQueries * kQueries; first < shape.tokens; first += kQueries) {
    __syncthreads();
    LoadQueries<kQueries, kWidth>(shape, index, first, qkv, dy, log_sum, pull, room->others[0],
                                  room->others[1], room);
    __syncthreads();
    WarpTile<T, kQueries> scores, dweights;
    scores.Fill(0.0f);
    scores.template MultiplyAdd<kWidth, Layout::kColumns>(k, kStride, room->others[0], kStride);
    const int64_t diagonal = key - shape.position - first;  // the first query that sees row 0
    if (diagonal > -kTile) {
      scores.ForEach(places, [&](int r, int column, float& score) {
        if (column < diagonal + r) score = -INFINITY;
      });
    }
    scores.ForEach(places, [&](int r, int column, float& score) {
      score = exp2f(score * (shape.scale * kLog2E) - room->log_sum[column]);
      cuda::Store(weights + r * kWeightStride + column, score);
    });
    __syncwarp();
    dv.template MultiplyAdd<kQueries, Layout::kRows>(weights, kWeightStride, room->others[1],
                                                     kStride);
    dweights.Fill(0.0f);
    dweights.template MultiplyAdd<kWidth, Layout::kColumns>(v, kStride, room->others[1], kStride);
    __syncwarp();
    scores.ForEach(places, dweights, [&](int r, int column, float& weight, float& dweight) {
      cuda::Store(weights + r * kWeightStride + column, weight * (dweight - room->pull[column]));
    });
    __syncwarp();
    dk.template MultiplyAdd<kQueries, Layout::kRows>(weights, kWeightStride, room->others[0],
                                                     kStride);
  }
  __syncthreads();  // keys and values are done with
  float* sums = room->sums[warp];
  dk.Store(sums, Room::kSumStride);
  __syncwarp();
  StoreKeyGradients<kWidth>(shape, index, 1, key, shape.scale, sums, Room::kSumStride, dhistory,
                            dqkv);
  __syncwarp();
  dv.Store(sums, Room::kSumStride);
  __syncwarp();
  StoreKeyGradients<kWidth>(shape, index, 2, key, 1.0f, sums, Room::kSumStride, dhistory, dqkv);
}

}  // namespace
}  // namespace cuda

void CudaBackend::AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                    Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                    Tensor dhistory, Tensor dqkv) {
  const auto size = contract::AttentionBackward(batch, heads, position, qkv, history, y, log_sum,
                                                dy, dhistory, dqkv);
  if (size.tokens == 0) return;
  const cuda::AttentionShape shape(size, position);
  const auto sequences = static_cast<unsigned>(batch * heads);
  const int64_t pulls = batch * size.tokens * heads;
  const ArenaScope scope(workspace_);
  float* const pull = workspace_.Allocate({pulls}).f32();
  const float* past = history.empty() ? nullptr : history.f32();
  float* dpast = dhistory.empty() ? nullptr : dhistory.f32();
  // Keys before the piece get gradients only if someone wants them.
  const int64_t first_block = dpast == nullptr ? position / cuda::kAttentionRows : 0;
  const int64_t key_blocks = cuda::Blocks(shape.end(), cuda::kAttentionRows) - first_block;
  cuda::DispatchActivation(qkv.dtype, [&]<typename T>(T) {
    const T* inputs = cuda::Data<T>(qkv);
    const T* outer = cuda::Data<T>(dy);
    T* gradients = cuda::Data<T>(dqkv);
    constexpr int kThreads = 256;
    cuda::Launch({"PullKernel", cuda::Blocks(pulls, kThreads / cuda::kWarp), kThreads}, stream_,
                 cuda::PullKernel<T>, pulls, shape.head_width, cuda::Data<T>(y), outer, pull);
    cuda::DispatchHeadWidth(shape.head_width, [&](auto padded) {
      constexpr int kWidth = padded;
      constexpr size_t kShared = sizeof(cuda::BackwardRoom<T, kWidth>);
      static_assert(kShared <= cuda::kEverySharedBytes);
      cuda::Launch({"AttentionKeyGradientKernel", static_cast<unsigned>(key_blocks) * sequences,
                    cuda::kAttentionThreads, kShared},
                   stream_, cuda::AttentionKeyGradientKernel<T, kWidth>, shape, first_block,
                   key_blocks, inputs, past, outer, log_sum.f32(), pull, dpast, gradients);
      cuda::Launch({"AttentionQueryGradientKernel",
                    cuda::Blocks(size.tokens, cuda::kAttentionRows) * sequences,
                    cuda::kAttentionThreads, kShared},
                   stream_, cuda::AttentionQueryGradientKernel<T, kWidth>, shape, inputs, past,
                   outer, log_sum.f32(), pull, gradients);
    });
  });
}

}  // namespace wavefield
