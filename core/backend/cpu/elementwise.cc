#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/elementwise.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// y += x.
void AddTo(const float* x, float* y, int64_t n) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
  });
}

// y = a · x + b · y.
void CombineTo(float a, const float* x, float b, float* y, int64_t n) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto kept = hn::Mul(hn::Set(d, b), hn::LoadU(d, y + i));
    hn::StoreU(hn::MulAdd(hn::Set(d, a), hn::LoadU(d, x + i), kept), d, y + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(AddTo);
HWY_EXPORT(CombineTo);

void CpuBackend::Add(Tensor source, Tensor destination) {
  const int64_t n = contract::Add(source, destination);
  const float* x = source.f32();
  float* y = destination.f32();
  ParallelRanges(threads_, n, 1 << 14, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddTo)(x + begin, y + begin, end - begin);
  });
}

void CpuBackend::Axpby(float a, Tensor x, float b, Tensor y) {
  const int64_t n = contract::Axpby(x, y);
  ParallelRanges(threads_, n, 1 << 14, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(CombineTo)(a, x.f32() + begin, b, y.f32() + begin, end - begin);
  });
}

void CpuBackend::AddBlockSums(const float* sums, int64_t blocks, int64_t width,
                              float* destination) {
  ParallelRanges(threads_, width, 1 << 9, [&](int, int64_t begin, int64_t end) {
    for (int64_t block = 0; block < blocks; ++block) {
      HWY_DYNAMIC_DISPATCH(AddTo)(sums + block * width + begin, destination + begin, end - begin);
    }
  });
}

}  // namespace wavefield
#endif
