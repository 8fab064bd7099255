#include <algorithm>
#include <numeric>
#include <vector>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/optimizer.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

double SumOfSquaresOf(const float* x, int64_t n) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  auto sum0 = hn::Zero(wide), sum1 = hn::Zero(wide);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = hn::PromoteTo(wide, hn::LoadU(narrow, x + i));
    const auto b = hn::PromoteTo(wide, hn::LoadU(narrow, x + i + lanes));
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(sum0, sum1)));
  for (; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

void AdamWRange(const AdamWParameters& parameters, const float* gradient, int64_t n,
                float* parameter, float* m, float* v) {
  const float step = parameters.learning_rate / parameters.bias_correction1;
  const float keep = 1.0f - parameters.learning_rate * parameters.weight_decay;
  const float unbias2 = 1.0f / parameters.bias_correction2;
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::Mul(hn::LoadU(d, gradient + i), hn::Set(d, parameters.gradient_scale));
    const auto first = hn::MulAdd(hn::Set(d, parameters.beta1), hn::LoadU(d, m + i),
                                  hn::Mul(hn::Set(d, 1.0f - parameters.beta1), g));
    const auto second = hn::MulAdd(hn::Set(d, parameters.beta2), hn::LoadU(d, v + i),
                                   hn::Mul(hn::Mul(hn::Set(d, 1.0f - parameters.beta2), g), g));
    const auto scale =
        hn::Add(hn::Sqrt(hn::Mul(second, hn::Set(d, unbias2))), hn::Set(d, parameters.epsilon));
    const auto move = hn::Div(hn::Mul(hn::Set(d, step), first), scale);
    hn::StoreU(first, d, m + i);
    hn::StoreU(second, d, v + i);
    hn::StoreU(hn::MulSub(hn::LoadU(d, parameter + i), hn::Set(d, keep), move), d, parameter + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(SumOfSquaresOf);
HWY_EXPORT(AdamWRange);

double CpuBackend::SumOfSquares(Tensor x) {
  constexpr int64_t kBlock = 1 << 14;
  const int64_t n = contract::SumOfSquares(x), blocks = (n + kBlock - 1) / kBlock;
  auto* sums = reinterpret_cast<double*>(Scratch(2 * blocks));
  ParallelRanges(threads_, blocks, 1, [&](int, int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kBlock;
      sums[block] =
          HWY_DYNAMIC_DISPATCH(SumOfSquaresOf)(x.f32() + begin, std::min(kBlock, n - begin));
    }
  });
  return std::accumulate(sums, sums + blocks, 0.0);
}

void CpuBackend::AdamW(const AdamWParameters& parameters, Tensor gradient, Tensor parameter,
                       Tensor m, Tensor v) {
  const int64_t n = contract::AdamW(gradient, parameter, m, v);
  // Whole vectors per thread: an element is computed the same way for any number of threads.
  constexpr int64_t kBlock = 1 << 12;
  ParallelRanges(threads_, (n + kBlock - 1) / kBlock, 1, [&](int, int64_t first, int64_t last) {
    const int64_t begin = first * kBlock, end = std::min(last * kBlock, n);
    HWY_DYNAMIC_DISPATCH(AdamWRange)
    (parameters, gradient.f32() + begin, end - begin, parameter.f32() + begin, m.f32() + begin,
     v.f32() + begin);
  });
}

}  // namespace wavefield
#endif
