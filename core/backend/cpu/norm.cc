#include <algorithm>
#include <cmath>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/norm.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

constexpr float kNormEpsilon = 1e-6f;

void RmsNormRows(const float* x, const float* weight, int64_t rows, int64_t width, float* y,
                 float* inverse_rms) {
  for (int64_t n = 0; n < rows; ++n, x += width, y += width) {
    const float squares = SumOver(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto value = hn::LoadU(d, x + i);
      return hn::Mul(value, value);
    });
    const float r = 1.0f / std::sqrt(squares / static_cast<float>(width) + kNormEpsilon);
    inverse_rms[n] = r;
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, r));
      hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, y + i);
    });
  }
}

// residual may be null. weight_sum [width] +=.
void RmsNormBackwardRows(const float* x, const float* weight, const float* inverse_rms,
                         const float* dy, const float* residual, int64_t rows, int64_t width,
                         float* dx, float* weight_sum) {
  for (int64_t n = 0; n < rows; ++n, x += width, dy += width, dx += width) {
    const float r = inverse_rms[n];
    const float dot = SumOver(width, [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, weight + i)), hn::LoadU(d, x + i));
    });
    const float pull = r * r * r * dot / static_cast<float>(width);
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto value = hn::LoadU(d, x + i);
      const auto scaled = hn::Mul(hn::LoadU(d, dy + i), hn::Set(d, r));
      auto gradient =
          hn::MulSub(scaled, hn::LoadU(d, weight + i), hn::Mul(hn::Set(d, pull), value));
      if (residual != nullptr) gradient = hn::Add(gradient, hn::LoadU(d, residual + i));
      hn::StoreU(gradient, d, dx + i);
      hn::StoreU(hn::MulAdd(scaled, value, hn::LoadU(d, weight_sum + i)), d, weight_sum + i);
    });
    if (residual != nullptr) residual += width;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(RmsNormRows);
HWY_EXPORT(RmsNormBackwardRows);

void CpuBackend::RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) {
  const auto size = contract::RmsNormForward(x, weight, y, inverse_rms);
  ParallelRanges(threads_, size.rows, 32, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RmsNormRows)
    (x.f32() + begin * size.width, weight.f32(), end - begin, size.width,
     y.f32() + begin * size.width, inverse_rms.f32() + begin);
  });
}

void CpuBackend::RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy,
                                 Tensor residual, Tensor dx, Tensor dweight) {
  const auto size = contract::RmsNormBackward(x, weight, inverse_rms, dy, residual, dx, dweight);
  const int64_t blocks = RowBlocks(size.rows), width = size.width;
  float* sums = Scratch(blocks * width);
  ParallelRanges(threads_, blocks, 1, [&](int, int64_t first, int64_t last) {
    std::fill(sums + first * width, sums + last * width, 0.0f);
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kRowBlock, end = std::min(begin + kRowBlock, size.rows);
      const int64_t at = begin * width;
      HWY_DYNAMIC_DISPATCH(RmsNormBackwardRows)
      (x.f32() + at, weight.f32(), inverse_rms.f32() + begin, dy.f32() + at,
       residual.empty() ? nullptr : residual.f32() + at, end - begin, width, dx.f32() + at,
       sums + block * width);
    }
  });
  AddBlockSums(sums, blocks, width, dweight.f32());
}

}  // namespace wavefield
#endif
