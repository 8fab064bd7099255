#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/swiglu.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

void SwiGluRows(const float* gate_up, int64_t rows, int64_t width, float* y) {
  for (int64_t n = 0; n < rows; ++n, gate_up += 2 * width, y += width) {
    const float* up = gate_up + width;
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto gate = hn::LoadU(d, gate_up + i);
      const auto silu = hn::Mul(gate, Sigmoid(d, gate));
      hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, y + i);
    });
  }
}

// dgate_up may be gate_up.
void SwiGluBackwardRows(const float* gate_up, const float* dy, int64_t rows, int64_t width,
                        float* dgate_up) {
  for (int64_t n = 0; n < rows; ++n, gate_up += 2 * width, dy += width, dgate_up += 2 * width) {
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto gate = hn::LoadU(d, gate_up + i);
      const auto up = hn::LoadU(d, gate_up + width + i);
      const auto gradient = hn::LoadU(d, dy + i);
      const auto sigmoid = Sigmoid(d, gate);
      hn::StoreU(hn::Mul(hn::Mul(gradient, up), SiluDerivative(d, gate, sigmoid)), d, dgate_up + i);
      hn::StoreU(hn::Mul(gradient, hn::Mul(gate, sigmoid)), d, dgate_up + width + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(SwiGluRows);
HWY_EXPORT(SwiGluBackwardRows);

void CpuBackend::SwiGluForward(Tensor gate_up, Tensor y) {
  const auto size = contract::SwiGlu(gate_up, y);
  ParallelRanges(threads_, size.rows, 16, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(SwiGluRows)
    (gate_up.f32() + begin * 2 * size.width, end - begin, size.width, y.f32() + begin * size.width);
  });
}

void CpuBackend::SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) {
  const auto size = contract::SwiGluBackward(gate_up, dy, dgate_up);
  ParallelRanges(threads_, size.rows, 16, [&](int, int64_t begin, int64_t end) {
    const int64_t at = begin * 2 * size.width;
    HWY_DYNAMIC_DISPATCH(SwiGluBackwardRows)
    (gate_up.f32() + at, dy.f32() + begin * size.width, end - begin, size.width,
     dgate_up.f32() + at);
  });
}

}  // namespace wavefield
#endif
