#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/field_elementwise.h"
#include "core/backend/cuda/launch.h"

// The elementwise field as its sum over pairs of tokens, in double: what the fast ways are compared
// with. Every kernel reads O(T) rows for each row it writes.

namespace wavefield::cuda {
namespace {

constexpr int kThreads = 128;

struct Complex {
  double re, im;
};

__device__ Complex Times(Complex a, Complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
__device__ Complex Conjugate(Complex a) { return {a.re, -a.im}; }
__device__ Complex Polar(double length, double angle) {
  return {length * cos(angle), length * sin(angle)};
}

// A head of one sequence.
template <typename T>
struct Head {
  int64_t tokens, heads, head_width, damping_stride;
  const T* qkv;
  const float *damping, *frequency, *phase;
  const float* state;  // before the first token; may be null
  int64_t sequence, head;

  __device__ Head At(int64_t sequence_index, int64_t head_index) const {
    Head at = *this;
    at.sequence = sequence_index;
    at.head = head_index;
    return at;
  }
  __device__ int64_t width() const { return heads * head_width; }
  __device__ double Damping(int64_t t) const {
    return damping[(sequence * tokens + t) * damping_stride + head];
  }
  __device__ Complex Step(int64_t t) const { return Polar(exp(-Damping(t)), frequency[head]); }
  __device__ Complex Read() const { return Polar(1.0, phase[head]); }
  // Offset of k of a channel in qkv; v is a width further.
  __device__ int64_t Deposit(int64_t t, int64_t channel) const {
    return ((sequence * tokens + t) * 3 + 1) * width() + head * head_width + channel;
  }
  __device__ int64_t Field(int64_t t, int64_t channel) const {
    return (sequence * tokens + t) * width() + head * head_width + channel;
  }
  __device__ int64_t State(int64_t channel) const {
    return (sequence * heads + head) * 2 * head_width + channel;
  }
  __device__ Complex Load2(const float* states, int64_t channel) const {
    if (states == nullptr) return {0, 0};
    return {states[State(channel)], states[State(channel) + head_width]};
  }

  // z as of token t ≥ −1.
  __device__ Complex FieldAt(int64_t t, int64_t channel) const {
    Complex z{0, 0};
    double damped = 0.0;
    for (int64_t s = t; s >= 0; --s) {
      const T* k = qkv + Deposit(s, channel);
      const double deposit = static_cast<double>(Load(k)) * Load(k + width());
      const Complex passage = Polar(exp(-damped), frequency[head] * static_cast<double>(t - s));
      z.re += passage.re * deposit;
      z.im += passage.im * deposit;
      damped += Damping(s);
    }
    const Complex passage = Polar(exp(-damped), frequency[head] * static_cast<double>(t + 1));
    const Complex before = Times(passage, Load2(state, channel));
    return {z.re + before.re, z.im + before.im};
  }
  // The gradient with respect to z as of token t.
  __device__ Complex GradientAt(const T* dfield, const float* dstate, int64_t t,
                                int64_t channel) const {
    Complex zeta{0, 0};
    double damped = 0.0;
    const Complex read = Read();
    for (int64_t later = t; later < tokens; ++later) {
      if (later > t) damped += Damping(later);
      const double angle = frequency[head] * static_cast<double>(later - t);
      const Complex pull = Times(Polar(exp(-damped), -angle), Conjugate(read));
      const double g = Load(dfield + Field(later, channel));
      zeta.re += pull.re * g;
      zeta.im += pull.im * g;
    }
    const Complex passage =
        Polar(exp(-damped), -(frequency[head] * static_cast<double>(tokens - 1 - t)));
    const Complex after = Times(passage, Load2(dstate, channel));
    return {zeta.re + after.re, zeta.im + after.im};
  }
};

// A thread has a token of one channel: n = N · D.
template <typename T>
__global__ void DirectFieldKernel(Head<T> any, int64_t n, T* field) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= n) return;
  const int64_t row = index / any.width(), channel = index % any.width();
  const Head<T> head = any.At(row / any.tokens, channel / any.head_width);
  const Complex z = head.FieldAt(row % any.tokens, channel % any.head_width);
  Store(field + index, static_cast<float>(Times(head.Read(), z).re));
}

// A thread has a channel of a state: n = B · D. state: that of `any`.
template <typename T>
__global__ void DirectStateKernel(Head<T> any, int64_t n, float* state) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= n) return;
  const int64_t channel = index % any.width(), inside = channel % any.head_width;
  const Head<T> head = any.At(index / any.width(), channel / any.head_width);
  const Complex z = head.FieldAt(any.tokens - 1, inside);
  state[head.State(inside)] = static_cast<float>(z.re);
  state[head.State(inside) + any.head_width] = static_cast<float>(z.im);
}

template <typename T>
__global__ void DirectStateGradientKernel(Head<T> any, int64_t n, const T* dfield, float* dstate) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= n) return;
  const int64_t channel = index % any.width(), inside = channel % any.head_width;
  const Head<T> head = any.At(index / any.width(), channel / any.head_width);
  const Complex before = Times(Conjugate(head.Step(0)), head.GradientAt(dfield, dstate, 0, inside));
  dstate[head.State(inside)] = static_cast<float>(before.re);
  dstate[head.State(inside) + any.head_width] = static_cast<float>(before.im);
}

// A thread has a token of one head: n = N · H. sums [N, H]; ddamping [N, H] or null.
template <typename T>
__global__ void DirectGradientKernel(Head<T> any, int64_t n, const T* dfield, const float* dstate,
                                     T* dqkv, float* ddamping, WaveSums* sums) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= n) return;
  const int64_t row = index / any.heads, t = row % any.tokens;
  const Head<T> head = any.At(row / any.tokens, index % any.heads);
  const Complex step = head.Step(t), read = head.Read();
  WaveSums sum;
  for (int64_t channel = 0; channel < any.head_width; ++channel) {
    const int64_t k_at = head.Deposit(t, channel), v_at = k_at + any.width();
    const double k = Load(any.qkv + k_at), v = Load(any.qkv + v_at);
    const Complex zeta = head.GradientAt(dfield, dstate, t, channel);
    const Complex before = head.FieldAt(t - 1, channel);
    Store(dqkv + k_at, static_cast<float>(zeta.re * v));
    Store(dqkv + v_at, static_cast<float>(zeta.re * k));
    const Complex pull = Times(Times(step, Conjugate(zeta)), before);
    sum.omega -= pull.im;
    sum.damping -= pull.re;
    const Complex moved = Times(step, before);
    sum.phi -= Times(read, {moved.re + k * v, moved.im}).im * Load(dfield + head.Field(t, channel));
  }
  if (ddamping != nullptr) ddamping[index] = static_cast<float>(sum.damping);
  sums[index] = sum;
}

template <typename T, typename Call>
Head<T> AnyHead(const Call& call) {
  return {call.size.tokens,
          call.size.heads,
          call.size.head_width,
          call.size.damping_stride(),
          Data<T>(call.qkv),
          call.damping.f32(),
          call.frequency.f32(),
          call.phase.f32(),
          Data<float>(call.state),
          0,
          0};
}

}  // namespace

void FieldDirectForward(const ElementwiseForward& call, cudaStream_t stream) {
  const int64_t n = call.field.elements(), channels = call.size.batch * call.size.width();
  DispatchActivation(call.qkv.dtype, [&]<typename T>(T) {
    const auto any = AnyHead<T>(call);
    Launch({"DirectFieldKernel", Blocks(n, kThreads), kThreads}, stream, DirectFieldKernel<T>, any,
           n, Data<T>(call.field));
    if (call.state.empty()) return;
    Launch({"DirectStateKernel", Blocks(channels, kThreads), kThreads}, stream,
           DirectStateKernel<T>, any, channels, call.state.f32());
  });
}

void FieldDirectBackward(const ElementwiseBackward& call, Arena& workspace, cudaStream_t stream) {
  const int64_t rows = call.size.batch * call.size.tokens, n = rows * call.size.heads;
  const int64_t channels = call.size.batch * call.size.width();
  auto* sums = Scratch<WaveSums>(workspace, n);
  DispatchActivation(call.qkv.dtype, [&]<typename T>(T) {
    const auto any = AnyHead<T>(call);
    const T* dfield = Data<T>(call.dfield);
    float* dstate = Data<float>(call.dstate);
    Launch({"DirectGradientKernel", Blocks(n, kThreads), kThreads}, stream, DirectGradientKernel<T>,
           any, n, dfield, dstate, Data<T>(call.dqkv),
           call.size.static_damping ? nullptr : call.ddamping.f32(), sums);
    if (call.dstate.empty()) return;
    Launch({"DirectStateGradientKernel", Blocks(channels, kThreads), kThreads}, stream,
           DirectStateGradientKernel<T>, any, channels, dfield, dstate);
  });
  AddWaveSums(call, rows, 1, sums, stream);
}

}  // namespace wavefield::cuda
