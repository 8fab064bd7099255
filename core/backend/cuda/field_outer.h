#pragma once

// The outer field on a GPU (docs/model.md, "How propagation is computed"): what both directions
// share.
//
// A group of items (heads of sequences, number b · H + h) is worked on at once, in chunks of C
// tokens. Chunk `c` of an item is matrix (item − first) · chunks + c of every batch of matrices.
// With Λ_j = λ_0 + … + λ_j from the chunk's start, S [2d, d] the field before the chunk, n the
// number of its tokens:
//   y = (Q·Kᵀ ⊙ M) · V + A · S        M_ji = e^(Λ_i−Λ_j) cos(ω(j−i)+φ) for i ≤ j, else 0
//   S after it = e^(−Λ_{n−1}+iωn) S + Fᵀ · V
//   read rows A_j = q_j e^(−Λ_j) [cos(ω(j+1)+φ), −sin(ω(j+1)+φ)]
//   feed rows F_i = k_i e^(Λ_i−Λ_{n−1}) [cos ω(n−1−i), sin ω(n−1−i)]
// All exponents are ≤ 0. Rows past the end of the sequence are zero. Matrix products take operands
// of the activations' type and accumulate in fp32; Λ and the carried fields are fp32.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "core/backend/contract.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/gemm.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/cuda/workspace.h"
#include "core/base/check.h"
#include "core/tensor/arena.h"

namespace wavefield::cuda {

struct OuterGroup {
  int64_t tokens, heads, head_width;
  int64_t damping_stride;  // between tokens
  int64_t chunk, chunks;
  int64_t first, items;

  int64_t matrices() const { return items * chunks; }
};

// Equal matrices at equal distances.
template <typename T>
struct Tiles {
  T* data;
  int64_t leading, stride;

  __device__ T* Row(int64_t matrix, int64_t row) const {
    return data + matrix * stride + row * leading;
  }
  // The same matrices without their first rows or columns.
  Tiles Below(int64_t rows) const { return {data + rows * leading, leading, stride}; }
  Tiles RightOf(int64_t columns) const { return {data + columns, leading, stride}; }

  Matrix AsMatrix(bool transposed = false) const {
    constexpr DType kType = std::is_same_v<T, float> ? DType::kFloat32 : DType::kBFloat16;
    return {data, kType, leading, stride, transposed};
  }
};

// Hands out the parts of one piece of memory.
class Room {
 public:
  Room(void* data, size_t bytes) : at_(static_cast<char*>(data)), end_(at_ + bytes) {}

  template <typename T>
  T* Take(int64_t n) {
    constexpr size_t kAlignment = OuterScratch::kAlignment;
    void* const part = at_;
    at_ += (static_cast<size_t>(n) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    WF_CHECK(at_ <= end_);
    return static_cast<T*>(part);
  }
  template <typename T>
  Tiles<T> TakeTiles(int64_t matrices, int64_t rows, int64_t columns) {
    return {Take<T>(matrices * rows * columns), columns, rows * columns};
  }

 private:
  char* at_;
  char* end_;
};

inline Room TakeRoom(Arena& workspace, size_t bytes) {
  const auto floats = static_cast<int64_t>((bytes + sizeof(float) - 1) / sizeof(float));
  return {workspace.Allocate({floats}).data, bytes};
}

// Λ to twice fp32's precision, so that differences keep fp32's.
struct DampingSum {
  float high, low;
};
// e^(Λ_from − Λ_to).
__device__ inline float Decay(DampingSum from, DampingSum to) {
  return expf((from.high - to.high) + (from.low - to.low));
}

struct Wave {
  float cosine, sine;
};
__device__ inline Wave Scaled(float scale, Wave wave) {
  return {scale * wave.cosine, scale * wave.sine};
}

// Of ωn and of ωn + φ for n ≤ C; data [H, 2, C + 1].
struct WaveTable {
  Wave* data;
  int64_t chunk;

  __device__ Wave Turned(int64_t head, int64_t n) const { return data[2 * head * (chunk + 1) + n]; }
  __device__ Wave Heard(int64_t head, int64_t n) const {
    return data[(2 * head + 1) * (chunk + 1) + n];
  }
};

struct ChunkPlace {
  int64_t head;
  int64_t row;  // of its first token in tensors [N, …]
  int count;    // tokens

  __device__ ChunkPlace(const OuterGroup& group, int64_t matrix) {
    const int64_t item = group.first + matrix / group.chunks;
    const int64_t start = matrix % group.chunks * group.chunk;
    const int64_t left = group.tokens - start;
    head = item % group.heads;
    row = item / group.heads * group.tokens + start;
    count = static_cast<int>(left < group.chunk ? left : group.chunk);
  }
};

// The factors of read and feed rows and of the passage through the chunk; sums: the chunk's Λ,
// whole: the last of them.
__device__ inline Wave ReadFactor(const ChunkPlace& place, const DampingSum* sums,
                                  const WaveTable& table, int j) {
  const Wave wave = table.Heard(place.head, j + 1);
  return Scaled(Decay({0, 0}, sums[j]), {wave.cosine, -wave.sine});
}
__device__ inline Wave FeedFactor(const ChunkPlace& place, const DampingSum* sums,
                                  const WaveTable& table, int i) {
  const int last = place.count - 1;
  return Scaled(Decay(sums[i], sums[last]), table.Turned(place.head, last - i));
}
__device__ inline Wave PassageFactor(const ChunkPlace& place, DampingSum whole,
                                     const WaveTable& table) {
  return Scaled(Decay({0, 0}, whole), table.Turned(place.head, place.count));
}

// Calls body(Count<N>{}) with N how many neighbouring elements of a head's rows a thread may move
// at once, in tiles and in a tensor [N, …] at `rows`.
template <typename T, typename Body>
void WithPackets(const OuterGroup& group, const void* rows, Body body) {
  if (group.head_width % kPacket<T> == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0) {
    body(Count<kPacket<T>>{});
  } else {
    body(Count<1>{});
  }
}

// Tokens of a chunk for this way; kDirect is one chunk.
int64_t OuterChunk(Propagation way, int64_t tokens);

// Fills the table, computed in double.
void FillWaveTable(const Tensor& frequency, const Tensor& phase, WaveTable table,
                   cudaStream_t stream);

// sums [matrices, C]; passages [matrices]: the factor of each chunk's passage.
void SumDampings(const OuterGroup& group, const Tensor& damping, WaveTable table, DampingSum* sums,
                 Wave* passages, cudaStream_t stream);

// What one direction reads of qkv, as matrices: q, k, v [C, d], read and feed rows [C, 2d].
template <typename T>
struct OuterInputs {
  Tiles<T> q, k, v, read, feed;
};
template <typename T>
void PackInputs(const OuterGroup& group, const Tensor& qkv, const DampingSum* sums, WaveTable table,
                const OuterInputs<T>& inputs, cudaStream_t stream);

// fields [2d, d]: before each chunk, from changes [2d, d] = Fᵀ·V. state: as in backend.h, or null
// for 0; state_after, which may be state: where the last one goes, or null.
template <typename T>
void ScanFields(const OuterGroup& group, const Wave* passages, Tiles<float> changes,
                const float* state, float* state_after, Tiles<T> fields, cudaStream_t stream);

// dfields [2d, d]: the gradients of the fields after each chunk, from changes [2d, d] = Aᵀ·dy.
// dstate: as in backend.h, or null for 0; changed.
template <typename T>
void ScanFieldGradients(const OuterGroup& group, const Wave* passages, Tiles<float> changes,
                        float* dstate, Tiles<T> dfields, cudaStream_t stream);

}  // namespace wavefield::cuda
