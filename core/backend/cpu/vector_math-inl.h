// Loops and functions shared by the vector code. Compiled once per instruction set: the guard is
// Highway's toggle, not an include guard.
#if defined(WAVEFIELD_CORE_BACKEND_CPU_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAVEFIELD_CORE_BACKEND_CPU_VECTOR_MATH_INL_H_
#undef WAVEFIELD_CORE_BACKEND_CPU_VECTOR_MATH_INL_H_
#else
#define WAVEFIELD_CORE_BACKEND_CPU_VECTOR_MATH_INL_H_
#endif

#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using SingleTag = hn::CappedTag<float, 1>;

// body(tag, i) for whole vectors of [0, n), then for the single elements that are left.
template <class Body>
HWY_INLINE void ForEachVector(int64_t n, const Body& body) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(d, i);
  for (; i < n; ++i) body(SingleTag(), i);
}

// Σ term(tag, i) over [0, n), in an order that depends on n alone.
template <class Term>
HWY_INLINE float SumOver(int64_t n, const Term& term) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = hn::Add(sum0, term(d, i));
    sum1 = hn::Add(sum1, term(d, i + lanes));
    sum2 = hn::Add(sum2, term(d, i + 2 * lanes));
    sum3 = hn::Add(sum3, term(d, i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) sum0 = hn::Add(sum0, term(d, i));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
  for (; i < n; ++i) sum += hn::GetLane(term(SingleTag(), i));
  return sum;
}

// 1 / (1 + e^−x); a NaN is lost, so multiply by x or by a gradient that carries it.
template <class D, class V>
HWY_INLINE V Sigmoid(D d, V x) {
  const V bounded = hn::Max(x, hn::Set(d, -80.0f));  // e^80 is still finite
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(bounded))));
}

// The derivative of x σ(x), given σ(x).
template <class D, class V>
HWY_INLINE V SiluDerivative(D d, V x, V sigmoid) {
  return hn::Mul(sigmoid, hn::MulAdd(x, hn::Sub(hn::Set(d, 1.0f), sigmoid), hn::Set(d, 1.0f)));
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#endif
