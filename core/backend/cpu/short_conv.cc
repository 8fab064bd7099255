#include "core/backend/cpu/short_conv.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/short_conv.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

template <class D>
HWY_INLINE auto Convolve(D d, const ConvWeights& conv, const ConvWindow& window, int64_t channel) {
  auto sum = hn::LoadU(d, conv.bias + channel);
  for (int64_t i = 0; i < conv.taps; ++i) {
    sum = hn::MulAdd(hn::LoadU(d, conv.weight + i * conv.channels + channel),
                     hn::LoadU(d, window[i] + channel), sum);
  }
  return sum;
}

// Tokens [begin, end) of a sequence; y is the row of token `begin`.
void ShortConvRows(const ConvWeights& conv, const ConvSequence& sequence, int64_t begin,
                   int64_t end, float* y) {
  for (int64_t t = begin; t < end; ++t, y += conv.channels) {
    const ConvWindow window = sequence.Window(t, conv);
    ForEachVector(conv.channels, [&](auto d, int64_t i) HWY_ATTR {
      const auto c = Convolve(d, conv, window, i);
      hn::StoreU(hn::Mul(c, Sigmoid(d, c)), d, y + i);
    });
  }
}

// Tokens [begin, end) of a sequence of `tokens`, channels [first, first + count). dy, dx: row of
// token 0, dx with the stride of x. dbefore: gradient of sequence.before, written where begin = 0,
// or null. recent [taps, count]: room for the gradients of c of the last `taps` tokens. sums
// [taps + 1, channels] +=: gradient of the weights per tap, then of the bias.
void ShortConvBackwardTile(const ConvWeights& conv, const ConvSequence& sequence, int64_t tokens,
                           int64_t begin, int64_t end, int64_t first, int64_t count,
                           const float* dy, float* dx, float* dbefore, float* recent, float* sums) {
  const int64_t taps = conv.taps, channels = conv.channels;
  const int64_t lowest = begin == 0 && dbefore != nullptr ? 1 - taps : begin;
  for (int64_t t = begin; t < end + taps - 1; ++t) {
    float* dc = recent + t % taps * count;
    if (t < tokens) {
      const ConvWindow window = sequence.Window(t, conv);
      const float* gradient = dy + t * channels;
      ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
        const int64_t channel = first + i;
        const auto c = Convolve(d, conv, window, channel);
        const auto slope = SiluDerivative(d, c, Sigmoid(d, c));
        const auto value = hn::Mul(hn::LoadU(d, gradient + channel), slope);
        hn::StoreU(value, d, dc + i);
        if (t < end) {
          for (int64_t tap = 0; tap < taps; ++tap) {
            float* sum = sums + tap * channels + channel;
            const auto input = hn::LoadU(d, window[tap] + channel);
            hn::StoreU(hn::MulAdd(value, input, hn::LoadU(d, sum)), d, sum);
          }
          float* sum = sums + taps * channels + channel;
          hn::StoreU(hn::Add(hn::LoadU(d, sum), value), d, sum);
        }
      });
    } else {
      std::memset(dc, 0, count * sizeof(float));
    }
    const int64_t s = t - (taps - 1);
    if (s < lowest) continue;
    const int64_t seen = std::min(taps, t + 1);  // taps that see token s from token 0 on
    ConvWindow gradients;  // that of c for the token at which tap i sees token s
    for (int64_t i = 0; i < seen; ++i) gradients[i] = recent + (t - i) % taps * count;
    float* out = (s >= 0 ? dx + s * sequence.stride : dbefore + (s + taps - 1) * channels) + first;
    ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (int64_t tap = 0; tap < seen; ++tap) {
        sum = hn::MulAdd(hn::LoadU(d, conv.weight + tap * channels + first + i),
                         hn::LoadU(d, gradients[tap] + i), sum);
      }
      hn::StoreU(sum, d, out + i);
    });
  }
}

// All channels, in tiles whose rows stay in the first-level cache. recent [taps, kConvTile].
void ShortConvBackwardRows(const ConvWeights& conv, const ConvSequence& sequence, int64_t tokens,
                           int64_t begin, int64_t end, const float* dy, float* dx, float* dbefore,
                           float* recent, float* sums) {
  for (int64_t first = 0; first < conv.channels; first += kConvTile) {
    ShortConvBackwardTile(conv, sequence, tokens, begin, end, first,
                          std::min(kConvTile, conv.channels - first), dy, dx, dbefore, recent,
                          sums);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(ShortConvRows);
HWY_EXPORT(ShortConvBackwardRows);

namespace {

// Transposes `weight` [channels, taps] into `room`.
ConvWeights Prepare(const contract::ShortConvSizes& size, const Tensor& weight, const Tensor& bias,
                    float* room) {
  WF_CHECK_MSG(size.taps <= kMaxTaps, std::to_string(size.taps) + " taps");
  for (int64_t channel = 0; channel < size.channels; ++channel) {
    for (int64_t i = 0; i < size.taps; ++i) {
      room[i * size.channels + channel] = weight.f32()[channel * size.taps + i];
    }
  }
  return {size.taps, size.channels, room, bias.f32()};
}

// Calls body(sequence, begin, end, block, thread) for blocks of kRowBlock tokens [begin, end).
template <class Body>
void ForEachBlock(int threads, const contract::ShortConvSizes& size, const Body& body) {
  const int64_t per_sequence = RowBlocks(size.tokens);
  ParallelRanges(threads, size.batch * per_sequence, 1,
                 [&](int thread, int64_t first, int64_t last) {
                   for (int64_t block = first; block < last; ++block) {
                     const int64_t begin = block % per_sequence * kRowBlock;
                     body(block / per_sequence, begin, std::min(begin + kRowBlock, size.tokens),
                          block, thread);
                   }
                 });
}

// Adds the gradient of the state after one sequence to its last inputs' [tokens, stride] and to
// `dbefore` [taps − 1, channels], which replaces dstate, of the same shape.
void CarryStateGradient(const contract::ShortConvSizes& size, int64_t stride, const float* dbefore,
                        float* dx, float* dstate) {
  const int64_t before = size.taps - 1, channels = size.channels;
  for (int64_t i = before - 1; i >= 0; --i) {
    const int64_t t = size.tokens - before + i;
    float* gradient = dstate + i * channels;
    if (t >= 0) {
      for (int64_t c = 0; c < channels; ++c) dx[t * stride + c] += gradient[c];
    }
    // What is input i before the piece was, after it, input i − tokens.
    const float* same = i >= size.tokens ? dstate + (i - size.tokens) * channels : nullptr;
    const float* own = dbefore + i * channels;
    for (int64_t c = 0; c < channels; ++c) {
      gradient[c] = own[c] + (same != nullptr ? same[c] : 0.0f);
    }
  }
}

}  // namespace

void CpuBackend::ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                  Tensor state, Tensor qkv) {
  const auto size = contract::ShortConvForward(batch, qkvg, weight, bias, state, qkv);
  const int64_t channels = size.channels, stride = qkvg.shape[1], before = size.taps - 1;
  float* room = Scratch((size.taps + before) * channels);
  const ConvWeights conv = Prepare(size, weight, bias, room);
  float* zeros = room + size.taps * channels;
  std::fill_n(zeros, before * channels, 0.0f);
  ForEachBlock(threads_, size, [&](int64_t b, int64_t begin, int64_t end, int64_t, int) {
    const ConvSequence sequence{qkvg.f32() + b * size.tokens * stride, stride,
                                state.empty() ? zeros : state.f32() + b * before * channels};
    HWY_DYNAMIC_DISPATCH(ShortConvRows)
    (conv, sequence, begin, end, qkv.f32() + (b * size.tokens + begin) * channels);
  });
  if (state.empty()) return;
  for (int64_t b = 0; b < size.batch; ++b) {
    float* rows = state.f32() + b * before * channels;
    for (int64_t i = 0; i < before; ++i) {
      const int64_t t = size.tokens - before + i;
      const float* source =
          t >= 0 ? qkvg.f32() + (b * size.tokens + t) * stride : rows + (t + before) * channels;
      std::memmove(rows + i * channels, source, channels * sizeof(float));
    }
  }
}

void CpuBackend::ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                   Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                   Tensor dweight, Tensor dbias) {
  const auto size = contract::ShortConvBackward(batch, qkvg, weight, bias, state, dqkv, dstate,
                                                dqkvg, dweight, dbias);
  const int64_t channels = size.channels, taps = size.taps, stride = qkvg.shape[1];
  const int64_t blocks = size.batch * RowBlocks(size.tokens), sum_width = (taps + 1) * channels;
  const int64_t state_floats = (taps - 1) * channels;
  float* room = Scratch(taps * channels + (size.batch + 1) * state_floats +
                        threads_ * taps * kConvTile + blocks * sum_width);
  const ConvWeights conv = Prepare(size, weight, bias, room);
  float* zeros = room + taps * channels;
  float* dbefore = zeros + state_floats;
  float* recent = dbefore + size.batch * state_floats;
  float* sums = recent + threads_ * taps * kConvTile;
  std::fill_n(zeros, state_floats, 0.0f);
  ForEachBlock(
      threads_, size, [&](int64_t b, int64_t begin, int64_t end, int64_t block, int thread) {
        const int64_t row = b * size.tokens;
        const ConvSequence sequence{qkvg.f32() + row * stride, stride,
                                    state.empty() ? zeros : state.f32() + b * state_floats};
        std::fill_n(sums + block * sum_width, sum_width, 0.0f);
        HWY_DYNAMIC_DISPATCH(ShortConvBackwardRows)
        (conv, sequence, size.tokens, begin, end, dqkv.f32() + row * channels,
         dqkvg.f32() + row * stride, dstate.empty() ? nullptr : dbefore + b * state_floats,
         recent + thread * taps * kConvTile, sums + block * sum_width);
      });
  if (blocks == 0) return;
  for (int64_t b = 0; b < size.batch && !dstate.empty(); ++b) {
    CarryStateGradient(size, stride, dbefore + b * state_floats,
                       dqkvg.f32() + b * size.tokens * stride, dstate.f32() + b * state_floats);
  }
  AddBlockSums(sums + sum_width, blocks - 1, sum_width, sums);
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t i = 0; i < taps; ++i) {
      dweight.f32()[channel * taps + i] += sums[i * channels + channel];
    }
    dbias.f32()[channel] += sums[taps * channels + channel];
  }
}

}  // namespace wavefield
#endif
