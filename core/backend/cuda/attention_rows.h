#pragma once

// What the kernels of attention share: how their operands lie in memory, and the way of rows
// between global and shared memory.

#include <cstdint>
#include <string>
#include <type_traits>

#include "core/backend/contract.h"
#include "core/backend/cuda/limits.h"
#include "core/backend/cuda/tile.h"
#include "core/base/check.h"

namespace wavefield::cuda {

// A block of threads works on kAttentionRows queries (or keys), kTile per warp.
constexpr int kAttentionWarps = 4;
constexpr int kAttentionThreads = kAttentionWarps * kWarp;
constexpr int kAttentionRows = kAttentionWarps * kTile;

__host__ __device__ inline int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }
__host__ __device__ inline int64_t Larger(int64_t a, int64_t b) { return a < b ? b : a; }

constexpr float kLog2E = 1.44269504088896340736f, kLn2 = 0.693147180559945309417f;

// Sizes of one call, and where head `index` % H of sequence `index` / H stands. Queries are counted
// from the piece's start, keys from the sequence's.
struct AttentionShape {
  int64_t tokens, heads, position, capacity;
  int head_width;
  float scale;  // 1 / √d

  AttentionShape(const contract::AttentionSizes& size, int64_t position)
      : tokens(size.tokens),
        heads(size.heads),
        position(position),
        capacity(size.capacity),
        head_width(static_cast<int>(size.head_width)),
        scale(1.0f / sqrtf(static_cast<float>(size.head_width))) {
    WF_CHECK_MSG(size.head_width <= kLargestHeadWidth,
                 "Attention: heads are " + std::to_string(size.head_width) +
                     " wide, the CUDA backend has kernels up to " +
                     std::to_string(kLargestHeadWidth) + "; use more heads");
  }
  __host__ __device__ int64_t width() const { return heads * head_width; }
  __host__ __device__ int64_t end() const { return position + tokens; }
  // The piece's first token in [N, …].
  __device__ int64_t Row(int64_t index) const { return index / heads * tokens; }
  // The head's columns of that token in [N, parts · D].
  __device__ int64_t Offset(int64_t index, int parts) const {
    return Row(index) * parts * width() + index % heads * head_width;
  }
  // The head's k of token 0 in [B, capacity, 2D].
  __device__ int64_t PastOffset(int64_t index) const {
    return index / heads * capacity * 2 * width() + index % heads * head_width;
  }
};

// A matrix of rows in shared memory has kWidth columns, of which the first head_width are used, and
// this stride.
template <typename T, int kWidth>
constexpr int kRowStride = kWidth + kStridePad<T>;

// The block of threads writes kRows rows of zero-padded columns to shared memory: `there` of them
// (perhaps none, or more) from `from`, `stride` apart, zeros instead of the others. 16 bytes at
// once if the columns are whole packets: then rows are aligned to that.
template <int kRows, int kWidth, typename S, typename T>
__device__ void LoadRows(const S* from, int64_t stride, int64_t there, int head_width, T* to) {
  constexpr int kPacket = 16 / sizeof(S), kPerRow = kWidth / kPacket;
  if (head_width % kPacket == 0) {
#pragma unroll 4
    for (int i = threadIdx.x; i < kRows * kPerRow; i += kAttentionThreads) {
      const int row = i / kPerRow, column = i % kPerRow * kPacket;
      Packet<S, kPacket> source;
      const bool here = row < there && column < head_width;
      if (here) {
        source = *reinterpret_cast<const Packet<S, kPacket>*>(from + row * stride + column);
      }
      Packet<T, kPacket> packet;
      for (int e = 0; e < kPacket; ++e) {
        Store(&packet.element[e], here ? Load(&source.element[e]) : 0.0f);
      }
      *reinterpret_cast<Packet<T, kPacket>*>(to + row * kRowStride<T, kWidth> + column) = packet;
    }
  } else {
    for (int i = threadIdx.x; i < kRows * kWidth; i += kAttentionThreads) {
      const int row = i / kWidth, column = i % kWidth;
      const bool here = row < there && column < head_width;
      Store(to + row * kRowStride<T, kWidth> + column,
            here ? Load(from + row * stride + column) : 0.0f);
    }
  }
}

// The keys (part 1) or values (part 2) of tokens [start, start + kRows), zeros from the end on.
template <int kRows, int kWidth, typename T>
__device__ void LoadKeys(const AttentionShape& shape, int64_t index, int part, int64_t start,
                         const T* qkv, const float* history, T* to) {
  const int64_t width = shape.width(), there = shape.end() - start;
  if (history != nullptr) {
    LoadRows<kRows, kWidth>(
        history + shape.PastOffset(index) + (part - 1) * width + start * 2 * width, 2 * width,
        there, shape.head_width, to);
  } else {
    LoadRows<kRows, kWidth>(qkv + shape.Offset(index, 3) + part * width + start * 3 * width,
                            3 * width, there, shape.head_width, to);
  }
}

// A warp writes its first `there` (perhaps none, or more) of kTile rows from shared to global
// memory, `stride` apart.
template <int kWidth, typename T>
__device__ void StoreRows(const T* from, int64_t there, int head_width, T* to, int64_t stride) {
  constexpr int kPacket = 16 / sizeof(T), kPerRow = kWidth / kPacket;
  const int lane = threadIdx.x % kWarp;
  if (head_width % kPacket == 0) {
    for (int i = lane; i < kTile * kPerRow; i += kWarp) {
      const int row = i / kPerRow, column = i % kPerRow * kPacket;
      if (row >= there || column >= head_width) continue;
      *reinterpret_cast<Packet<T, kPacket>*>(to + row * stride + column) =
          *reinterpret_cast<const Packet<T, kPacket>*>(from + row * kRowStride<T, kWidth> + column);
    }
  } else {
    for (int i = lane; i < kTile * kWidth; i += kWarp) {
      const int row = i / kWidth, column = i % kWidth;
      if (row >= there || column >= head_width) continue;
      to[row * stride + column] = from[row * kRowStride<T, kWidth> + column];
    }
  }
}

// Calls body(std::integral_constant<int, kWidth>) with the width that heads are padded to.
template <typename Body>
void DispatchHeadWidth(int head_width, Body body) {
  if (head_width <= 32) {
    body(std::integral_constant<int, 32>{});
  } else if (head_width <= 64) {
    body(std::integral_constant<int, 64>{});
  } else {
    body(std::integral_constant<int, kLargestHeadWidth>{});
  }
}

}  // namespace wavefield::cuda
