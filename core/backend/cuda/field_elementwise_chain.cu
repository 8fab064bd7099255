#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/field_elementwise.h"
#include "core/backend/cuda/field_elementwise_chunks.h"

namespace wavefield::cuda::elementwise {
namespace {

// passages [B, chunks, H]: Π of a chunk's steps, in double. Reads a row of damping, writes 1/16.
__global__ void PassageKernel(Layout layout, const float* damping, const float* frequency,
                              Complex* passages) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= layout.batch * layout.chunks * layout.heads) return;
  const int64_t head = index % layout.heads;
  const Place place(layout, index / layout.heads / layout.chunks,
                    index / layout.heads % layout.chunks, head * layout.head_width);
  double exponent = 0.0;
  for (int t = 0; t < place.count; ++t) {
    exponent -= damping[(place.row + t) * layout.damping_stride + head];
  }
  const double decay = exp(exponent), angle = static_cast<double>(frequency[head]) * place.count;
  passages[index] = {static_cast<float>(decay * cos(angle)),
                     static_cast<float>(decay * sin(angle))};
}

// states: what chunks [0, fed) leave by themselves. Reads k and v.
template <typename T>
__global__ void FeedStateKernel(Layout layout, int64_t fed, const T* qkv, const float* damping,
                                const float* frequency, const float* phase, float* states) {
  int64_t sequence, chunk, channel;
  if (!FindPlace(layout, 0, fed, &sequence, &chunk, &channel)) return;
  const Place place(layout, sequence, chunk, channel);
  const Wave wave(layout, damping, frequency, phase, place);
  Complex z{0, 0};
#pragma unroll 4
  for (int t = 0; t < place.count; ++t) z = Advance(layout, place, wave, t, qkv, z);
  const int64_t offset = place.State(layout);
  states[offset] = z.re;
  states[offset + layout.width()] = z.im;
}

// gradients: what the last `fed` chunks by themselves say of the state before them. Reads dfield.
template <typename T>
__global__ void FeedGradientKernel(Layout layout, int64_t fed, const T* dfield,
                                   const float* damping, const float* frequency, const float* phase,
                                   float* gradients) {
  int64_t sequence, chunk, channel;
  if (!FindPlace(layout, layout.chunks - fed, fed, &sequence, &chunk, &channel)) return;
  const Place place(layout, sequence, chunk, channel);
  const Wave wave(layout, damping, frequency, phase, place);
  Complex zeta{0, 0};
#pragma unroll 4
  for (int t = place.count - 1; t >= 0; --t) {
    zeta = Times(Conjugate(wave.Step(t)), AddFieldGradient(layout, place, wave, t, dfield, zeta));
  }
  const int64_t offset = place.State(layout);
  gradients[offset] = zeta.re;
  gradients[offset + layout.width()] = zeta.im;
}

// Replaces each chunk's own part by what comes to it: the state before the chunk or, in reverse,
// the gradient with respect to the state after it. `first` [B, H, 2, d], or null for 0, comes to
// the first chunk that is passed; `last`, unless null, takes what leaves the last one. Reads and
// writes the states.
__global__ void CarryKernel(Layout layout, bool reverse, const Complex* passages,
                            const float* first, float* states, float* last) {
  constexpr int kAhead = 4;  // chunks read before they are needed
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= layout.batch * layout.width()) return;
  const int64_t sequence = index / layout.width(), channel = index % layout.width();
  const int64_t end = layout.StateOffset(sequence, channel);
  const int64_t fed = last == nullptr ? layout.chunks - 1 : layout.chunks;
  const int64_t start = sequence * layout.chunks + (reverse ? layout.chunks - 1 : 0);
  const int64_t hop = (reverse ? -2 : 2) * layout.width();
  const int64_t passage_hop = reverse ? -layout.heads : layout.heads;
  float* state = states + start * 2 * layout.width() + channel;
  const Complex* passage = passages + start * layout.heads + channel / layout.head_width;
  Complex carry{0, 0};
  if (first != nullptr) carry = {first[end], first[end + layout.head_width]};
  for (int64_t i = 0; i < layout.chunks; i += kAhead) {
    Complex own[kAhead], factor[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (i + j >= fed) continue;
      own[j] = {state[j * hop], state[j * hop + layout.width()]};
      factor[j] = passage[j * passage_hop];
      if (reverse) factor[j] = Conjugate(factor[j]);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (i + j >= layout.chunks) continue;
      state[j * hop] = carry.re;
      state[j * hop + layout.width()] = carry.im;
      if (i + j >= fed) continue;
      const Complex moved = Times(factor[j], carry);
      carry = {moved.re + own[j].re, moved.im + own[j].im};
    }
    state += kAhead * hop;
    passage += kAhead * passage_hop;
  }
  if (last == nullptr) return;
  last[end] = carry.re;
  last[end + layout.head_width] = carry.im;
}

}  // namespace

Chain::Chain(const contract::FieldSizes& size, Tensor damping, Tensor frequency, Tensor phase,
             Arena& workspace, cudaStream_t stream)
    : layout_(LayoutOf(size)),
      scratch_(size.batch, size.tokens, size.heads, size.head_width),
      damping_(damping.f32()),
      frequency_(frequency.f32()),
      phase_(phase.f32()),
      workspace_(workspace),
      stream_(stream),
      passages_(Scratch<Complex>(workspace, scratch_.passages)) {
  Launch({"PassageKernel", Blocks(scratch_.passages, kThreads), kThreads}, stream, PassageKernel,
         layout_, damping_, frequency_, passages_);
}

float* Chain::States(Tensor qkv, const float* first, float* last) const {
  const int64_t fed = last == nullptr ? layout_.chunks - 1 : layout_.chunks;
  float* states = Scratch<float>(workspace_, scratch_.states);
  DispatchActivation(qkv.dtype, [&]<typename T>(T) {
    Launch({"FeedStateKernel", ChunkBlocks(layout_, fed), kThreads}, stream_, FeedStateKernel<T>,
           layout_, fed, Data<T>(qkv), damping_, frequency_, phase_, states);
  });
  Carry(false, first, states, last);
  return states;
}

float* Chain::Gradients(Tensor dfield, float* dstate) const {
  const int64_t fed = dstate == nullptr ? layout_.chunks - 1 : layout_.chunks;
  float* gradients = Scratch<float>(workspace_, scratch_.states);
  DispatchActivation(dfield.dtype, [&]<typename T>(T) {
    Launch({"FeedGradientKernel", ChunkBlocks(layout_, fed), kThreads}, stream_,
           FeedGradientKernel<T>, layout_, fed, Data<T>(dfield), damping_, frequency_, phase_,
           gradients);
  });
  Carry(true, dstate, gradients, dstate);
  return gradients;
}

void Chain::Carry(bool reverse, const float* first, float* states, float* last) const {
  const int64_t channels = layout_.batch * layout_.heads * layout_.head_width;
  Launch({"CarryKernel", Blocks(channels, kThreads), kThreads}, stream_, CarryKernel, layout_,
         reverse, passages_, first, states, last);
}

}  // namespace wavefield::cuda::elementwise
