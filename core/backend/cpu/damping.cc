// Two transcendental functions per token and head: too few to vectorise.

#include <algorithm>
#include <cmath>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

namespace wavefield {

void CpuBackend::DampingForward(Tensor pre, Tensor bias, Tensor damping) {
  const auto size = contract::Damping(pre, damping, bias);
  const int64_t heads = size.width;
  ParallelRanges(threads_, size.rows, 64, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t h = 0; h < heads; ++h) {
        const float x = (pre.empty() ? 0.0f : pre.f32()[n * heads + h]) + bias.f32()[h];
        const float tail = std::log1p(std::exp(-std::fabs(x)));
        damping.f32()[n * heads + h] = x > 0.0f ? x + tail : tail;
      }
    }
  });
}

void CpuBackend::DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) {
  const auto size = contract::Damping(damping, ddamping, dbias);
  contract::Damping(dpre, ddamping, dbias);
  const int64_t heads = size.width, blocks = RowBlocks(size.rows);
  float* sums = Scratch(blocks * heads);
  ParallelRanges(threads_, blocks, 1, [&](int, int64_t first, int64_t last) {
    std::fill(sums + first * heads, sums + last * heads, 0.0f);
    for (int64_t n = first * kRowBlock; n < std::min(last * kRowBlock, size.rows); ++n) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = n * heads + h;
        // The derivative of softplus is the sigmoid, which is 1 − e^(−softplus).
        const float gradient = ddamping.f32()[at] * -std::expm1(-damping.f32()[at]);
        if (!dpre.empty()) dpre.f32()[at] = gradient;
        sums[n / kRowBlock * heads + h] += gradient;
      }
    }
  });
  AddBlockSums(sums, blocks, heads, dbias.f32());
}

}  // namespace wavefield
