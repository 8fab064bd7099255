#include "core/backend/contract.h"
#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/cuda/sigmoid.h"
#include "core/backend/cuda/workspace.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kForwardTokens = 32;  // of a thread
constexpr int kChannels = 128;      // of a block, one of each thread

struct Convolution {
  int64_t tokens, channels, taps;
  int64_t stride;                      // between rows of qkvg
  const float *weight, *bias, *state;  // state: null for zeros
};

// The inputs of one channel of one sequence; before its start the state, or 0.
template <typename T>
struct ConvInputs {
  const T* x;
  int64_t stride;
  const float* before;  // of the first token, or null
  int64_t channels, taps;

  __device__ ConvInputs(const Convolution& conv, const T* qkvg, int64_t sequence, int64_t channel)
      : x(qkvg + sequence * conv.tokens * conv.stride + channel),
        stride(conv.stride),
        before(conv.state == nullptr
                   ? nullptr
                   : conv.state + (sequence + 1) * (conv.taps - 1) * conv.channels + channel),
        channels(conv.channels),
        taps(conv.taps) {}

  __device__ float operator()(int64_t t) const {
    if (t >= 0) return Load(x + t * stride);
    return before == nullptr ? 0.0f : before[t * channels];
  }
};

// A number for each tap of a thread's channel: in registers where W is known, in shared memory
// where it is not (W = 0). Loops over taps then unroll, or run `taps` times.
template <int W>
class TapRow {
 public:
  __device__ TapRow(int, int) {}
  __device__ float& operator[](int i) { return values_[i]; }

 private:
  float values_[W];
};
template <>
class TapRow<0> {
 public:
  // The block's `number`-th row of W · kChannels floats.
  __device__ TapRow(int taps, int number)
      : column_(SharedMemory<float>() + number * taps * kChannels + threadIdx.x) {}
  __device__ float& operator[](int i) { return column_[i * kChannels]; }

 private:
  float* column_;
};

template <int W>
__device__ int TapsOf(const Convolution& conv) {
  return W > 0 ? W : static_cast<int>(conv.taps);
}

// Shared memory of a block with so many rows.
template <int W>
size_t TapRowBytes(const Convolution& conv, int rows) {
  return W > 0 ? 0 : static_cast<size_t>(rows * conv.taps) * kChannels * sizeof(float);
}

template <int W>
__device__ void LoadWeight(const Convolution& conv, int64_t channel, TapRow<W>& weight) {
  const int taps = TapsOf<W>(conv);
#pragma unroll
  for (int i = 0; i < taps; ++i) weight[i] = conv.weight[channel * taps + i];
}

// Drops the oldest, which is the first.
template <int W>
__device__ void Push(TapRow<W>& row, int taps, float newest) {
#pragma unroll
  for (int i = 0; i + 1 < taps; ++i) row[i] = row[i + 1];
  row[taps - 1] = newest;
}

// The inputs before token t, for the first Push of its own.
template <int W, typename T>
__device__ void LoadWindow(const ConvInputs<T>& inputs, int taps, int64_t t, TapRow<W>& window) {
  window[0] = 0;
#pragma unroll
  for (int i = 1; i < taps; ++i) window[i] = inputs(t - taps + i);
}

template <int W>
__device__ float Convolve(TapRow<W>& weight, TapRow<W>& window, int taps, float bias) {
  float sum = bias;
#pragma unroll
  for (int i = 0; i < taps; ++i) sum += weight[i] * window[i];
  return sum;
}

// A thread has a channel of kForwardTokens tokens. Reads and writes an element per token and
// channel; 2W + 8 FLOPs.
template <typename T, int W>
__global__ void ShortConvForwardKernel(Convolution conv, int64_t tiles, const T* __restrict__ qkvg,
                                       T* __restrict__ qkv) {
  constexpr int kAhead = 8;  // tokens read before they are needed
  const int64_t channel = static_cast<int64_t>(blockIdx.y) * kChannels + threadIdx.x;
  if (channel >= conv.channels) return;
  const int64_t sequence = blockIdx.x / tiles, begin = blockIdx.x % tiles * kForwardTokens;
  const int64_t left = conv.tokens - begin;
  const int count = static_cast<int>(left < kForwardTokens ? left : kForwardTokens);
  const int taps = TapsOf<W>(conv);
  const ConvInputs<T> inputs(conv, qkvg, sequence, channel);
  TapRow<W> weight(taps, 0), window(taps, 1);
  LoadWeight(conv, channel, weight);
  LoadWindow(inputs, taps, begin, window);
  const float bias = conv.bias[channel];
  T* out = qkv + (sequence * conv.tokens + begin) * conv.channels + channel;
  for (int j = 0; j < count; j += kAhead) {
    float next[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) next[i] = j + i < count ? inputs(begin + j + i) : 0.0f;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (j + i >= count) continue;
      Push(window, taps, next[i]);
      const float c = Convolve(weight, window, taps, bias);
      Store(out + (j + i) * conv.channels, c * Sigmoid(c));
    }
  }
}

// The state after the piece. A thread has a channel of a sequence: reads and writes 4(W − 1) bytes.
template <typename T>
__global__ void AdvanceConvStateKernel(Convolution conv, int64_t threads, const T* qkvg,
                                       float* state) {
  const int64_t index = GridIndex();
  if (index >= threads) return;
  const int64_t sequence = index / conv.channels, channel = index % conv.channels;
  const ConvInputs<T> inputs(conv, qkvg, sequence, channel);
  const int64_t before = conv.taps - 1;
  float* after = state + sequence * before * conv.channels + channel;
  for (int64_t i = 0; i < before; ++i) {
    after[i * conv.channels] = inputs(conv.tokens - before + i);
  }
}

// A block has a tile of tokens and kChannels channels, a thread a channel. Reads two elements and
// writes one per token and channel; some 6W + 15 FLOPs.
// dstate: the gradient of the state after the piece, or null; dbefore [B, W − 1, channels]: what
// the piece's tokens give to that before it, written beside a dstate. dweights [blocks, channels,
// W], dbiases [blocks, channels]: sums over the tile.
template <typename T, int W>
__global__ void ShortConvBackwardKernel(Convolution conv, int64_t tiles, int64_t tile,
                                        const T* __restrict__ qkvg, const T* __restrict__ dqkv,
                                        const float* dstate, T* __restrict__ dqkvg, float* dbefore,
                                        float* dweights, float* dbiases) {
  constexpr int kAhead = 4;  // tokens read before they are needed
  const int64_t channel = static_cast<int64_t>(blockIdx.y) * kChannels + threadIdx.x;
  if (channel >= conv.channels) return;
  const int taps = TapsOf<W>(conv), before = taps - 1;
  const int64_t sequence = blockIdx.x / tiles, begin = blockIdx.x % tiles * tile;
  const int64_t end = begin + tile < conv.tokens ? begin + tile : conv.tokens;
  const int64_t first_row = sequence * conv.tokens, state_row = sequence * before;
  const ConvInputs<T> inputs(conv, qkvg, sequence, channel);
  TapRow<W> weight(taps, 0), window(taps, 1), weight_sums(taps, 2);
  TapRow<W> recent(taps, 3);  // gradients of c
  LoadWeight(conv, channel, weight);
  LoadWindow(inputs, taps, begin, window);
  const float bias = conv.bias[channel];
  float bias_sum = 0;
#pragma unroll
  for (int i = 0; i < taps; ++i) weight_sums[i] = recent[i] = 0;
  for (int64_t start = begin; start < end + before; start += kAhead) {
    float next[kAhead], above[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int64_t t = start + j;
      if (t >= end + before || t >= conv.tokens) continue;
      next[j] = inputs(t);
      above[j] = Load(dqkv + (first_row + t) * conv.channels + channel);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int64_t t = start + j, s = t - before;
      if (t >= end + before) continue;
      float dc = 0;
      if (t < conv.tokens) {
        Push(window, taps, next[j]);
        const float c = Convolve(weight, window, taps, bias), sigmoid = Sigmoid(c);
        dc = above[j] * sigmoid * (1.0f + c * (1.0f - sigmoid));
      }
      Push(recent, taps, dc);
      if (t < end) {
        bias_sum += dc;
#pragma unroll
        for (int i = 0; i < taps; ++i) weight_sums[i] += dc * window[i];
      }
      if (s < begin && (begin > 0 || dstate == nullptr)) continue;
      float dx = 0;
#pragma unroll
      for (int i = 0; i < taps; ++i) dx += weight[i] * recent[before - i];
      if (s < 0) {
        dbefore[(state_row + before + s) * conv.channels + channel] = dx;
        continue;
      }
      const int64_t kept = s - (conv.tokens - before);  // its place in the state after the piece
      if (dstate != nullptr && kept >= 0) {
        dx += dstate[(state_row + kept) * conv.channels + channel];
      }
      Store(dqkvg + (first_row + s) * conv.stride + channel, dx);
    }
  }
#pragma unroll
  for (int i = 0; i < taps; ++i) {
    dweights[(blockIdx.x * conv.channels + channel) * taps + i] = weight_sums[i];
  }
  dbiases[blockIdx.x * conv.channels + channel] = bias_sum;
}

// dstate: from the gradient of the state after the piece to that before it. A thread has a channel
// of a sequence: reads 8(W − 1) bytes and writes half of that.
__global__ void CarryConvGradientKernel(Convolution conv, int64_t threads, const float* dbefore,
                                        float* dstate) {
  const int64_t index = GridIndex();
  if (index >= threads) return;
  const int64_t before = conv.taps - 1;
  const int64_t first = index / conv.channels * before * conv.channels + index % conv.channels;
  for (int64_t i = before - 1; i >= 0; --i) {
    // What is input i before the piece is, after it, input i − tokens.
    const int64_t at = first + i * conv.channels;
    const float carried = i >= conv.tokens ? dstate[at - conv.tokens * conv.channels] : 0.0f;
    dstate[at] = dbefore[at] + carried;
  }
}

Convolution ConvolutionOf(const contract::ShortConvSizes& size, const Tensor& qkvg,
                          const Tensor& weight, const Tensor& bias, const Tensor& state) {
  return {size.tokens,  size.channels, size.taps,         qkvg.shape[1],
          weight.f32(), bias.f32(),    Data<float>(state)};
}

// Calls body(Count<W>{}), W being 0 where no kernel is made for so many taps.
template <typename Body>
void DispatchTaps(int64_t taps, Body body) {
  switch (taps) {
    case 1:
      return body(Count<1>{});
    case 2:
      return body(Count<2>{});
    case 3:
      return body(Count<3>{});
    case 4:
      return body(Count<4>{});
    default:
      return body(Count<0>{});
  }
}

}  // namespace
}  // namespace cuda

void CudaBackend::ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                   Tensor state, Tensor qkv) {
  const auto size = contract::ShortConvForward(batch, qkvg, weight, bias, state, qkv);
  const cuda::Convolution conv = cuda::ConvolutionOf(size, qkvg, weight, bias, state);
  cuda::DispatchActivation(qkvg.dtype, [&]<typename T>(T) {
    const int64_t tiles = cuda::Blocks(size.tokens, cuda::kForwardTokens);
    const dim3 grid(static_cast<unsigned>(batch * tiles),
                    cuda::Blocks(size.channels, cuda::kChannels));
    cuda::DispatchTaps(size.taps, [&]<int W>(cuda::Count<W>) {
      cuda::Launch({"ShortConvForwardKernel", grid, cuda::kChannels, cuda::TapRowBytes<W>(conv, 2)},
                   stream_, cuda::ShortConvForwardKernel<T, W>, conv, tiles, cuda::Data<T>(qkvg),
                   cuda::Data<T>(qkv));
    });
    if (state.empty()) return;
    const int64_t threads = batch * size.channels;
    cuda::Launch({"AdvanceConvStateKernel", cuda::Blocks(threads, cuda::kThreads), cuda::kThreads},
                 stream_, cuda::AdvanceConvStateKernel<T>, conv, threads, cuda::Data<T>(qkvg),
                 state.f32());
  });
}

void CudaBackend::ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                    Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                    Tensor dweight, Tensor dbias) {
  const auto size = contract::ShortConvBackward(batch, qkvg, weight, bias, state, dqkv, dstate,
                                                dqkvg, dweight, dbias);
  if (size.rows() == 0) return;
  const cuda::Convolution conv = cuda::ConvolutionOf(size, qkvg, weight, bias, state);
  const cuda::ConvTiles split(batch, size.tokens);
  const int64_t channels = size.channels, blocks = split.blocks;
  const ArenaScope scope(workspace_);
  const Tensor dweights = workspace_.Allocate({blocks, channels, size.taps});
  const Tensor dbiases = workspace_.Allocate({blocks, channels});
  const Tensor dbefore = workspace_.Allocate({batch, size.taps - 1, channels});
  cuda::DispatchActivation(qkvg.dtype, [&]<typename T>(T) {
    const dim3 grid(static_cast<unsigned>(blocks), cuda::Blocks(channels, cuda::kChannels));
    cuda::DispatchTaps(size.taps, [&]<int W>(cuda::Count<W>) {
      cuda::Launch(
          {"ShortConvBackwardKernel", grid, cuda::kChannels, cuda::TapRowBytes<W>(conv, 4)},
          stream_, cuda::ShortConvBackwardKernel<T, W>, conv, split.tiles, split.tokens,
          cuda::Data<T>(qkvg), cuda::Data<T>(dqkv), cuda::Data<float>(dstate), cuda::Data<T>(dqkvg),
          dbefore.f32(), dweights.f32(), dbiases.f32());
    });
  });
  cuda::AddPartialSums(dweights.f32(), blocks, channels * size.taps, dweight.f32(), stream_);
  cuda::AddPartialSums(dbiases.f32(), blocks, channels, dbias.f32(), stream_);
  if (dstate.empty()) return;
  const int64_t threads = batch * channels;
  cuda::Launch({"CarryConvGradientKernel", cuda::Blocks(threads, cuda::kThreads), cuda::kThreads},
               stream_, cuda::CarryConvGradientKernel, conv, threads, dbefore.f32(), dstate.f32());
}

}  // namespace wavefield
