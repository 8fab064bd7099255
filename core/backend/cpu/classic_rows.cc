// What the classic form does to each row or element: layer norm, bias, GELU.

#include <algorithm>
#include <cmath>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/classic_rows.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

constexpr float kLayerNormEpsilon = 1e-5f;

void LayerNormRows(const float* x, const float* weight, const float* bias, int64_t rows,
                   int64_t width, float* y, float* mean, float* inverse_deviation) {
  for (int64_t n = 0; n < rows; ++n, x += width, y += width) {
    const float sum =
        SumOver(width, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, x + i); });
    const float center = sum / static_cast<float>(width);
    const float squares = SumOver(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto value = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, center));
      return hn::Mul(value, value);
    });
    const float r = 1.0f / std::sqrt(squares / static_cast<float>(width) + kLayerNormEpsilon);
    mean[n] = center;
    inverse_deviation[n] = r;
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto normed = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, center)), hn::Set(d, r));
      hn::StoreU(hn::MulAdd(normed, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, y + i);
    });
  }
}

// residual may be null. sums [2, width] of the weight and the bias +=.
void LayerNormBackwardRows(const float* x, const float* weight, const float* mean,
                           const float* inverse_deviation, const float* dy, const float* residual,
                           int64_t rows, int64_t width, float* dx, float* sums) {
  float* bias_sum = sums + width;
  for (int64_t n = 0; n < rows; ++n, x += width, dy += width, dx += width) {
    const float center = mean[n], r = inverse_deviation[n];
    const auto normed = [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, center)), hn::Set(d, r));
    };
    const auto dnormed = [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, weight + i));
    };
    const float shift = SumOver(width, dnormed) / static_cast<float>(width);
    const float pull =
        SumOver(width,
                [&](auto d, int64_t i) HWY_ATTR { return hn::Mul(dnormed(d, i), normed(d, i)); }) /
        static_cast<float>(width);
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto value = normed(d, i), dout = hn::LoadU(d, dy + i);
      const auto centered = hn::Sub(dnormed(d, i), hn::Set(d, shift));
      auto gradient = hn::Mul(hn::NegMulAdd(value, hn::Set(d, pull), centered), hn::Set(d, r));
      if (residual != nullptr) gradient = hn::Add(gradient, hn::LoadU(d, residual + i));
      hn::StoreU(gradient, d, dx + i);
      hn::StoreU(hn::MulAdd(dout, value, hn::LoadU(d, sums + i)), d, sums + i);
      hn::StoreU(hn::Add(dout, hn::LoadU(d, bias_sum + i)), d, bias_sum + i);
    });
    if (residual != nullptr) residual += width;
  }
}

void AddBiasRows(const float* bias, int64_t rows, int64_t width, float* y) {
  for (int64_t n = 0; n < rows; ++n, y += width) {
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, bias + i)), d, y + i);
    });
  }
}

// sum [width] += Σ_n dy[n].
void SumRows(const float* dy, int64_t rows, int64_t width, float* sum) {
  for (int64_t n = 0; n < rows; ++n, dy += width) {
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Add(hn::LoadU(d, sum + i), hn::LoadU(d, dy + i)), d, sum + i);
    });
  }
}

// ½ (1 + erf(x/√2)), erf as a rational function, its error below 4e-7.
template <class D, class V>
HWY_INLINE V NormalCdf(D d, V x) {
  constexpr float kOdd[] = {-2.72614225801306e-10f, 2.77068142495902e-08f,  -2.10102402082508e-06f,
                            -5.69250639462346e-05f, -7.34990630326855e-04f, -2.95459980854025e-03f,
                            -1.60960333262415e-02f};
  constexpr float kEven[] = {-1.45660718464996e-05f, -2.13374055278905e-04f, -1.68282697438203e-03f,
                             -7.37332916720468e-03f, -1.42647390514189e-02f};
  const auto one = hn::Set(d, 1.0f), limit = hn::Set(d, 4.0f);
  const auto scaled = hn::Mul(x, hn::Set(d, 0.70710678f));
  const auto z = hn::Min(hn::Max(scaled, hn::Neg(limit)), limit);
  const auto square = hn::Mul(z, z);
  auto odd = hn::Set(d, kOdd[0]), even = hn::Set(d, kEven[0]);
  for (int i = 1; i < 7; ++i) odd = hn::MulAdd(odd, square, hn::Set(d, kOdd[i]));
  for (int i = 1; i < 5; ++i) even = hn::MulAdd(even, square, hn::Set(d, kEven[i]));
  const auto erf = hn::Div(hn::Mul(odd, z), even);
  const auto saturated = hn::Ge(hn::Abs(scaled), limit);
  return hn::Mul(hn::Set(d, 0.5f),
                 hn::Add(one, hn::IfThenElse(saturated, hn::CopySign(one, scaled), erf)));
}

void GeluRange(const float* x, int64_t n, float* y) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto value = hn::LoadU(d, x + i);
    hn::StoreU(hn::Mul(value, NormalCdf(d, value)), d, y + i);
  });
}

// dx may be dy.
void GeluBackwardRange(const float* x, const float* dy, int64_t n, float* dx) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto value = hn::LoadU(d, x + i);
    const auto exponent = hn::Mul(hn::Mul(value, value), hn::Set(d, -0.5f));
    const auto density = hn::Mul(hn::Exp(d, exponent), hn::Set(d, 0.39894228f));
    const auto slope = hn::MulAdd(value, density, NormalCdf(d, value));
    hn::StoreU(hn::Mul(hn::LoadU(d, dy + i), slope), d, dx + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(LayerNormRows);
HWY_EXPORT(LayerNormBackwardRows);
HWY_EXPORT(AddBiasRows);
HWY_EXPORT(SumRows);
HWY_EXPORT(GeluRange);
HWY_EXPORT(GeluBackwardRange);

void CpuBackend::LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                                  Tensor inverse_deviation) {
  const auto size = contract::LayerNormForward(x, weight, bias, y, mean, inverse_deviation);
  ParallelRanges(threads_, size.rows, 32, [&](int, int64_t begin, int64_t end) {
    const int64_t at = begin * size.width;
    HWY_DYNAMIC_DISPATCH(LayerNormRows)
    (x.f32() + at, weight.f32(), bias.f32(), end - begin, size.width, y.f32() + at,
     mean.f32() + begin, inverse_deviation.f32() + begin);
  });
}

void CpuBackend::LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation,
                                   Tensor dy, Tensor residual, Tensor dx, Tensor dweight,
                                   Tensor dbias) {
  const auto size = contract::LayerNormBackward(x, weight, mean, inverse_deviation, dy, residual,
                                                dx, dweight, dbias);
  const int64_t blocks = RowBlocks(size.rows), width = size.width;
  // A total before the blocks: the gradients need not be neighbours.
  float* total = Scratch((1 + blocks) * 2 * width);
  float* sums = total + 2 * width;
  std::copy_n(dweight.f32(), width, total);
  std::copy_n(dbias.f32(), width, total + width);
  ParallelRanges(threads_, blocks, 1, [&](int, int64_t first, int64_t last) {
    std::fill(sums + first * 2 * width, sums + last * 2 * width, 0.0f);
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kRowBlock, end = std::min(begin + kRowBlock, size.rows);
      const int64_t at = begin * width;
      HWY_DYNAMIC_DISPATCH(LayerNormBackwardRows)
      (x.f32() + at, weight.f32(), mean.f32() + begin, inverse_deviation.f32() + begin,
       dy.f32() + at, residual.empty() ? nullptr : residual.f32() + at, end - begin, width,
       dx.f32() + at, sums + block * 2 * width);
    }
  });
  AddBlockSums(sums, blocks, 2 * width, total);
  std::copy_n(total, width, dweight.f32());
  std::copy_n(total + width, width, dbias.f32());
}

void CpuBackend::AddBias(Tensor bias, Tensor y) {
  const auto size = contract::AddBias(bias, y);
  ParallelRanges(threads_, size.rows, 32, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddBiasRows)
    (bias.f32(), end - begin, size.width, y.f32() + begin * size.width);
  });
}

void CpuBackend::AddBiasBackward(Tensor dy, Tensor dbias) {
  const auto size = contract::AddBias(dbias, dy);
  const int64_t blocks = RowBlocks(size.rows), width = size.width;
  float* sums = Scratch(blocks * width);
  ParallelRanges(threads_, blocks, 1, [&](int, int64_t first, int64_t last) {
    std::fill(sums + first * width, sums + last * width, 0.0f);
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kRowBlock, end = std::min(begin + kRowBlock, size.rows);
      HWY_DYNAMIC_DISPATCH(SumRows)
      (dy.f32() + begin * width, end - begin, width, sums + block * width);
    }
  });
  AddBlockSums(sums, blocks, width, dbias.f32());
}

void CpuBackend::GeluForward(Tensor x, Tensor y) {
  const int64_t n = contract::Gelu(x, y);
  ParallelRanges(threads_, n, 1 << 12, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(GeluRange)(x.f32() + begin, end - begin, y.f32() + begin);
  });
}

void CpuBackend::GeluBackward(Tensor x, Tensor dy, Tensor dx) {
  const int64_t n = contract::GeluBackward(x, dy, dx);
  ParallelRanges(threads_, n, 1 << 12, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(GeluBackwardRange)
    (x.f32() + begin, dy.f32() + begin, end - begin, dx.f32() + begin);
  });
}

}  // namespace wavefield
#endif
