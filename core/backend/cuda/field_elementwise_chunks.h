#pragma once

// The recurrence z_t = e^(−λ_t + iω) z_{t−1} + k_t ⊙ v_t, field_t = Re(e^{iφ} z_t), in chunks of
// tokens: every chunk runs from an empty field (Feed…), what it leaves goes from chunk to chunk
// (CarryKernel), and every chunk runs again from what came before it. The gradient with respect to
// z goes the same way from the end: ζ_t = conj(step_{t+1}) ζ_{t+1} + e^{−iφ} dfield_t. A thread has
// one channel; no factor exceeds 1. A chunk's factor is computed in double, so an error of e^{iω}
// does not grow with the length.
//
// Per token and channel, in elements: forward 5 (2 of them the second reading of k and v; 3 when
// there is one chunk), backward 10 (3 of them second readings); and 1, 2 bytes for states between
// chunks. 16 and 50 FLOPs.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "core/backend/contract.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/workspace.h"
#include "core/tensor/arena.h"
#include "core/tensor/tensor.h"

namespace wavefield::cuda::elementwise {

constexpr int kThreads = 128;
static_assert(kElementwiseChunk == kWarp);

struct Complex {
  float re, im;
};

struct Layout {
  int64_t batch, tokens, heads, head_width, chunks, damping_stride;

  __device__ int64_t width() const { return heads * head_width; }
  // Of the real part of a state of [B, H, 2, d]; the imaginary part is d further.
  __device__ int64_t StateOffset(int64_t sequence, int64_t channel) const {
    const int64_t head = channel / head_width;
    return (sequence * heads + head) * 2 * head_width + channel % head_width;
  }
};

// A chunk of one channel.
struct Place {
  __device__ Place(const Layout& layout, int64_t sequence, int64_t chunk, int64_t channel)
      : sequence(sequence),
        chunk(chunk),
        channel(channel),
        head(channel / layout.head_width),
        row(sequence * layout.tokens + chunk * kElementwiseChunk) {
    const int64_t left = layout.tokens - chunk * kElementwiseChunk;
    count = static_cast<int>(left < kElementwiseChunk ? left : kElementwiseChunk);
  }

  // Offset of k of the chunk's token t in qkv; v is a width further.
  __device__ int64_t Deposit(const Layout& layout, int t) const {
    return ((row + t) * 3 + 1) * layout.width() + channel;
  }
  __device__ int64_t Field(const Layout& layout, int t) const {
    return (row + t) * layout.width() + channel;
  }
  // Offset of the real part in states between chunks [B, chunks, 2, D].
  __device__ int64_t State(const Layout& layout) const {
    return (sequence * layout.chunks + chunk) * 2 * layout.width() + channel;
  }

  int64_t sequence, chunk, channel, head, row;
  int count;  // tokens
};

// Blocks of kThreads channels; the chunks of a sequence [first, first + chunks) side by side.
__device__ inline bool FindPlace(const Layout& layout, int64_t first, int64_t chunks,
                                 int64_t* sequence, int64_t* chunk, int64_t* channel) {
  const int64_t parts = (layout.width() + kThreads - 1) / kThreads;
  const int64_t block = blockIdx.x;
  *channel = block % parts * kThreads + threadIdx.x;
  *chunk = first + block / parts % chunks;
  *sequence = block / parts / chunks;
  return *channel < layout.width();
}

__device__ inline Complex Times(Complex a, Complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
__device__ inline Complex Conjugate(Complex a) { return {a.re, -a.im}; }

// Of one head.
struct Wave {
  __device__ Wave(const Layout& layout, const float* damping, const float* frequency,
                  const float* phase, const Place& place)
      : damping(damping + place.row * layout.damping_stride + place.head),
        stride(layout.damping_stride),
        turn{cosf(frequency[place.head]), sinf(frequency[place.head])},
        read{cosf(phase[place.head]), sinf(phase[place.head])} {}

  // e^(−λ + iω) of the chunk's token t.
  __device__ Complex Step(int t) const {
    const float decay = expf(-damping[t * stride]);
    return {decay * turn.re, decay * turn.im};
  }

  const float* damping;
  int64_t stride;
  Complex turn, read;
};

template <typename T>
__device__ Complex Advance(const Layout& layout, const Place& place, const Wave& wave, int t,
                           const T* qkv, Complex z) {
  const T* k = qkv + place.Deposit(layout, t);
  const Complex moved = Times(wave.Step(t), z);
  return {moved.re + Load(k) * Load(k + layout.width()), moved.im};
}

// The gradient with respect to the state after the chunk's token t, given what later tokens say.
template <typename T>
__device__ Complex AddFieldGradient(const Layout& layout, const Place& place, const Wave& wave,
                                    int t, const T* dfield, Complex later) {
  const float g = Load(dfield + place.Field(layout, t));
  return {later.re + wave.read.re * g, later.im - wave.read.im * g};
}

inline Layout LayoutOf(const contract::FieldSizes& size) {
  const int64_t chunks = (size.tokens + kElementwiseChunk - 1) / kElementwiseChunk;
  return {size.batch, size.tokens, size.heads, size.head_width, chunks, size.damping_stride()};
}

// For FindPlace: `chunks` chunks of every sequence.
inline unsigned ChunkBlocks(const Layout& layout, int64_t chunks) {
  return static_cast<unsigned>(layout.batch * chunks *
                               Blocks(layout.heads * layout.head_width, kThreads));
}

// The chain of states, or of their gradients, between the chunks of one call.
class Chain {
 public:
  // Memory for all that it returns comes out of `workspace`.
  Chain(const contract::FieldSizes& size, Tensor damping, Tensor frequency, Tensor phase,
        Arena& workspace, cudaStream_t stream);

  // The state before every chunk; last takes that after all of them. Either may be null.
  float* States(Tensor qkv, const float* first, float* last) const;
  // The gradient with respect to the state after every chunk. dstate may be null; it is replaced by
  // that with respect to the state before the first one.
  float* Gradients(Tensor dfield, float* dstate) const;

 private:
  void Carry(bool reverse, const float* first, float* states, float* last) const;

  const Layout layout_;
  const ElementwiseScratch scratch_;
  const float *damping_, *frequency_, *phase_;
  Arena& workspace_;
  const cudaStream_t stream_;
  Complex* const passages_;
};

}  // namespace wavefield::cuda::elementwise
