#include "core/backend/cpu/attention_decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/backend/cpu/attention_blocks.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/attention_decode.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/attention_rows-inl.h"
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// Over `rows` rows [k | v] of the history: per head the maximum of the scores, Σ exp(score −
// maximum), and out = Σ exp(score − maximum) v. Row by row, keys and values at once: memory is read
// in order. weights: room for [heads].
void DecodeStretch(int64_t heads, int64_t head_width, float scale, const float* q, const float* kv,
                   int64_t rows, float* weights, float* maximum, float* sum, float* out) {
  const int64_t width = heads * head_width;
  std::fill_n(maximum, heads, -std::numeric_limits<float>::infinity());
  std::fill_n(sum, heads, 0.0f);
  std::fill_n(out, width, 0.0f);
  for (int64_t row = 0; row < rows; ++row, kv += 2 * width) {
    for (int64_t h = 0; h < heads; ++h) {
      const float *a = q + h * head_width, *b = kv + h * head_width;
      weights[h] = scale * SumOver(head_width, [&](auto d, int64_t i) HWY_ATTR {
                     return hn::Mul(hn::LoadU(d, a + i), hn::LoadU(d, b + i));
                   });
      if (weights[h] <= maximum[h]) continue;
      const float correction = std::exp(maximum[h] - weights[h]);
      maximum[h] = weights[h];
      sum[h] *= correction;
      ForEachVector(head_width, [&](auto d, int64_t i) HWY_ATTR {
        float* at = out + h * head_width + i;
        hn::StoreU(hn::Mul(hn::LoadU(d, at), hn::Set(d, correction)), d, at);
      });
    }
    ForEachVector(heads, [&](auto d, int64_t h) HWY_ATTR {
      const auto score = hn::LoadU(d, weights + h);
      const auto weight = ExpOfScore(d, hn::Sub(score, hn::LoadU(d, maximum + h)));
      hn::StoreU(weight, d, weights + h);
      hn::StoreU(hn::Add(hn::LoadU(d, sum + h), weight), d, sum + h);
    });
    for (int64_t h = 0; h < heads; ++h) {
      const float* v = kv + width + h * head_width;
      const float weight = weights[h];
      ForEachVector(head_width, [&](auto d, int64_t i) HWY_ATTR {
        float* at = out + h * head_width + i;
        hn::StoreU(hn::MulAdd(hn::Set(d, weight), hn::LoadU(d, v + i), hn::LoadU(d, at)), d, at);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(DecodeStretch);

namespace {

// Rows that are one piece of work.
constexpr int64_t kDecodeStretch = 512;

int64_t Stretches(int64_t rows) { return (rows + kDecodeStretch - 1) / kDecodeStretch; }

// [maximum | sum | out] of one stretch: H, H and D floats.
int64_t PartialFloats(const contract::AttentionSizes& size) {
  return WholeVectors(2 * size.heads + size.width());
}

// Joins the stretches' partial results in their order.
void JoinStretches(const contract::AttentionSizes& size, const float* partials, int64_t stretches,
                   float* y, float* log_sum) {
  const int64_t heads = size.heads, d = size.head_width, step = PartialFloats(size);
  for (int64_t h = 0; h < heads; ++h) {
    float largest = partials[h];
    for (int64_t i = 1; i < stretches; ++i) largest = std::max(largest, partials[i * step + h]);
    std::fill_n(y + h * d, d, 0.0f);
    double sum = 0.0;
    for (int64_t i = 0; i < stretches; ++i) {
      const float* partial = partials + i * step;
      const float weight = std::exp(partial[h] - largest);
      sum += static_cast<double>(weight) * partial[heads + h];
      const float* out = partial + 2 * heads + h * d;
      for (int64_t c = 0; c < d; ++c) y[h * d + c] += weight * out[c];
    }
    for (int64_t c = 0; c < d; ++c) y[h * d + c] /= static_cast<float>(sum);
    log_sum[h] = static_cast<float>(largest + std::log(sum));
  }
}

}  // namespace

int64_t DecodeFloats(int threads, const contract::AttentionSizes& size, int64_t position) {
  return size.batch * Stretches(position + 1) * PartialFloats(size) +
         threads * WholeVectors(size.heads);
}

void DecodeToken(int threads, const contract::AttentionSizes& size, int64_t position,
                 const Tensor& qkv, const Tensor& history, float* scratch, const Tensor& y,
                 const Tensor& log_sum) {
  const int64_t rows = position + 1, stretches = Stretches(rows), width = size.width();
  const int64_t step = PartialFloats(size);
  const float scale = AttentionHead{.head_width = size.head_width}.scale();
  float* rooms = scratch + size.batch * stretches * step;
  ParallelRanges(threads, size.batch * stretches, 1, [&](int thread, int64_t begin, int64_t end) {
    float* weights = rooms + thread * WholeVectors(size.heads);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / stretches, first = item % stretches * kDecodeStretch;
      float* partial = scratch + item * step;
      HWY_DYNAMIC_DISPATCH(DecodeStretch)
      (size.heads, size.head_width, scale, qkv.f32() + b * 3 * width,
       history.f32() + (b * size.capacity + first) * 2 * width,
       std::min(kDecodeStretch, rows - first), weights, partial, partial + size.heads,
       partial + 2 * size.heads);
    }
  });
  for (int64_t b = 0; b < size.batch; ++b) {
    JoinStretches(size, scratch + b * stretches * step, stretches, y.f32() + b * width,
                  log_sum.f32() + b * size.heads);
  }
}

}  // namespace wavefield
#endif
