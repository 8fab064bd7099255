#include <cmath>
#include <limits>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/cross_entropy.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// The largest of row[0 … width); −∞ when there is none. A NaN may be overlooked.
float Largest(const float* row, int64_t width) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Set(d, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes) largest = hn::Max(largest, hn::LoadU(d, row + i));
  float result = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < width; ++i) result = row[i] > result ? row[i] : result;
  return result;
}

// Loss and hit of one row; its logits become scale · gradient when `backward`.
void CrossEntropyRow(bool backward, const LossOptions& options, float scale, int32_t target,
                     int64_t width, float* row, float* loss, int32_t* correct) {
  *loss = 0.0f;
  *correct = 0;
  if (target < 0) {
    if (backward) {
      ForEachVector(width,
                    [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::Zero(d), d, row + i); });
    }
    return;
  }
  const float largest = Largest(row, width), target_logit = row[target];
  *correct = target_logit == largest && Largest(row, target) < largest ? 1 : 0;
  const float sum = SumOver(width, [&](auto d, int64_t i) HWY_ATTR {
    const auto shifted = hn::Sub(hn::LoadU(d, row + i), hn::Set(d, largest));
    // Highway's Exp forgets a NaN; the loss must not.
    const auto value = hn::IfThenElse(hn::IsNaN(shifted), shifted, hn::Exp(d, shifted));
    if (backward) hn::StoreU(value, d, row + i);
    return value;
  });
  const double log_shifted = std::log(static_cast<double>(sum));
  *loss = static_cast<float>(log_shifted + (static_cast<double>(largest) - target_logit));
  if (!backward) return;
  // probability · (1 + 2 · z_loss · log Σ exp) − smoothed target.
  const auto pull = static_cast<float>(1.0 + 2.0 * options.z_loss * (log_shifted + largest));
  const float factor = scale * pull / sum;
  const float floor = scale * options.label_smoothing / static_cast<float>(width);
  ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
    const auto gradient = hn::MulSub(hn::LoadU(d, row + i), hn::Set(d, factor), hn::Set(d, floor));
    hn::StoreU(gradient, d, row + i);
  });
  row[target] -= scale * (1.0f - options.label_smoothing);
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(CrossEntropyRow);

void CpuBackend::CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                                     Tensor row_correct) {
  CrossEntropy(false, {}, 0.0f, logits, targets, row_loss, row_correct);
}

void CpuBackend::CrossEntropyForwardBackward(const LossOptions& options, float scale, Tensor logits,
                                             Tensor targets, Tensor row_loss, Tensor row_correct) {
  CrossEntropy(true, options, scale, logits, targets, row_loss, row_correct);
}

void CpuBackend::CrossEntropy(bool backward, const LossOptions& options, float scale, Tensor logits,
                              Tensor targets, Tensor row_loss, Tensor row_correct) {
  const auto size = contract::CrossEntropy(logits, targets, row_loss, row_correct);
  contract::RequireTargets(targets, size.width);
  ParallelRanges(threads_, size.rows, 4, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      HWY_DYNAMIC_DISPATCH(CrossEntropyRow)
      (backward, options, scale, targets.i32()[n], size.width, logits.f32() + n * size.width,
       row_loss.f32() + n, row_correct.i32() + n);
    }
  });
}

}  // namespace wavefield
#endif
