#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/field_elementwise.h"
#include "core/backend/cuda/field_elementwise_chunks.h"

namespace wavefield::cuda {
namespace elementwise {
namespace {

constexpr int kWarps = kThreads / kWarp;

// Reads k and v, writes the field. states: before every chunk; null for a single chunk, which
// starts from `state`, empty or [B, H, 2, d], and advances it.
template <typename T>
__global__ void ReadFieldKernel(Layout layout, const T* __restrict__ qkv, const float* damping,
                                const float* frequency, const float* phase, const float* states,
                                float* state, T* __restrict__ field) {
  int64_t sequence, chunk, channel;
  if (!FindPlace(layout, 0, layout.chunks, &sequence, &chunk, &channel)) return;
  const Place place(layout, sequence, chunk, channel);
  const Wave wave(layout, damping, frequency, phase, place);
  const int64_t end = layout.StateOffset(sequence, channel);
  Complex z{0, 0};
  if (states != nullptr) {
    const float* before = states + place.State(layout);
    z = {before[0], before[layout.width()]};
  } else if (state != nullptr) {
    z = {state[end], state[end + layout.head_width]};
  }
#pragma unroll 4
  for (int t = 0; t < place.count; ++t) {
    z = Advance(layout, place, wave, t, qkv, z);
    Store(field + place.Field(layout, t), wave.read.re * z.re - wave.read.im * z.im);
  }
  if (states != nullptr || state == nullptr) return;
  state[end] = z.re;
  state[end + layout.head_width] = z.im;
}

// What a warp of GradientKernel keeps between its two walks: [token][lane].
struct Trace {
  float re[kElementwiseChunk][kWarp], im[kElementwiseChunk][kWarp];
};

// The sum of row `lane`, taken from a column of its own on so that no two lanes meet in a bank.
__device__ float RowSum(const float (*values)[kWarp], int lane) {
  float sum = 0;
  for (int i = 0; i < kWarp; ++i) sum += values[lane][(i + lane) % kWarp];
  return sum;
}

// A warp has a chunk of 32 channels of one head. Reads k, v twice, dfield and the states that come
// to the chunk from both sides; writes dk, dv, its part of every token's slope of λ [N, H, parts]
// (unless slopes is null) and of the sums [B, chunks, H, parts].
template <typename T>
__global__ void GradientKernel(Layout layout, int64_t parts, const T* __restrict__ qkv,
                               const float* damping, const float* frequency, const float* phase,
                               const float* states, const float* gradients,
                               const T* __restrict__ dfield, T* __restrict__ dqkv, float* slopes,
                               WaveSums* sums) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  const int64_t slots = layout.heads * parts, slot = index % slots, head = slot / parts;
  if (index >= layout.batch * layout.chunks * slots) return;
  const int64_t inside = slot % parts * kWarp + lane;
  const bool active = inside < layout.head_width;
  const Place place(layout, index / slots / layout.chunks, index / slots % layout.chunks,
                    head * layout.head_width + (active ? inside : 0));
  const Wave wave(layout, damping, frequency, phase, place);
  Trace& trace = SharedMemory<Trace>()[warp];
  float phi = 0;
  if (active) {
    const int64_t offset = place.State(layout);
    Complex z{states[offset], states[offset + layout.width()]};
    Complex zeta{gradients[offset], gradients[offset + layout.width()]};
#pragma unroll 4
    for (int t = 0; t < place.count; ++t) {
      trace.re[t][lane] = z.re;
      trace.im[t][lane] = z.im;
      z = Advance(layout, place, wave, t, qkv, z);
    }
    for (int t = place.count - 1; t >= 0; --t) {
      const float g = Load(dfield + place.Field(layout, t));
      phi -= g * (wave.read.im * z.re + wave.read.re * z.im);
      zeta = AddFieldGradient(layout, place, wave, t, dfield, zeta);
      const int64_t k = place.Deposit(layout, t), v = k + layout.width();
      Store(dqkv + k, zeta.re * Load(qkv + v));
      Store(dqkv + v, zeta.re * Load(qkv + k));
      zeta = Times(Conjugate(wave.Step(t)), zeta);
      z = {trace.re[t][lane], trace.im[t][lane]};
      // What the step multiplies, seen by the loss.
      const Complex pull = Times(Conjugate(zeta), z);
      trace.re[t][lane] = pull.re;
      trace.im[t][lane] = pull.im;
    }
  } else {
    for (int t = 0; t < place.count; ++t) trace.re[t][lane] = trace.im[t][lane] = 0;
  }
  __syncwarp();
  const float slope = lane < place.count ? -RowSum(trace.re, lane) : 0;
  const float omega = lane < place.count ? -RowSum(trace.im, lane) : 0;
  if (slopes != nullptr && lane < place.count) slopes[(place.row + lane) * slots + slot] = slope;
  const WaveSums sum{WarpSum(omega), WarpSum(phi), WarpSum(slope)};
  if (lane == 0) sums[index] = sum;
}

// ddamping [rows of N·H] = the sum of its parts. Reads them, writes one.
__global__ void SlopeKernel(int64_t n, int64_t parts, const float* slopes, float* ddamping) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= n) return;
  float sum = 0;
  for (int64_t part = 0; part < parts; ++part) sum += slopes[index * parts + part];
  ddamping[index] = sum;
}

}  // namespace
}  // namespace elementwise

using namespace elementwise;

void FieldRecurrenceForward(const ElementwiseForward& call, Arena& workspace, cudaStream_t stream) {
  const Layout layout = LayoutOf(call.size);
  float* state = Data<float>(call.state);
  const float* states = nullptr;
  if (layout.chunks > 1) {
    states = Chain(call.size, call.damping, call.frequency, call.phase, workspace, stream)
                 .States(call.qkv, state, state);
  }
  DispatchActivation(call.qkv.dtype, [&]<typename T>(T) {
    Launch({"ReadFieldKernel", ChunkBlocks(layout, layout.chunks), kThreads}, stream,
           ReadFieldKernel<T>, layout, Data<T>(call.qkv), call.damping.f32(), call.frequency.f32(),
           call.phase.f32(), states, state, Data<T>(call.field));
  });
}

void FieldRecurrenceBackward(const ElementwiseBackward& call, Arena& workspace,
                             cudaStream_t stream) {
  const Layout layout = LayoutOf(call.size);
  const ElementwiseScratch scratch(call.size.batch, call.size.tokens, call.size.heads,
                                   call.size.head_width);
  const Chain chain(call.size, call.damping, call.frequency, call.phase, workspace, stream);
  const float* states = chain.States(call.qkv, Data<float>(call.state), nullptr);
  const float* gradients = chain.Gradients(call.dfield, Data<float>(call.dstate));
  const bool selective = !call.size.static_damping;
  auto* sums = Scratch<WaveSums>(workspace, scratch.sums);
  float* slopes = selective ? Scratch<float>(workspace, scratch.slopes) : nullptr;
  DispatchActivation(call.qkv.dtype, [&]<typename T>(T) {
    Launch({"GradientKernel", Blocks(scratch.sums, kWarps), kThreads, kWarps * sizeof(Trace)},
           stream, GradientKernel<T>, layout, scratch.warps_per_head, Data<T>(call.qkv),
           call.damping.f32(), call.frequency.f32(), call.phase.f32(), states, gradients,
           Data<T>(call.dfield), Data<T>(call.dqkv), slopes, sums);
  });
  if (selective) {
    const int64_t n = call.ddamping.elements();
    Launch({"SlopeKernel", Blocks(n, kThreads), kThreads}, stream, SlopeKernel, n,
           scratch.warps_per_head, slopes, call.ddamping.f32());
  }
  AddWaveSums(call, call.size.batch * layout.chunks, scratch.warps_per_head, sums, stream);
}

}  // namespace wavefield::cuda
