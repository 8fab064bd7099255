#include "core/backend/cpu/cpu_backend.h"

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <string>

#include "core/backend/cpu/parallel.h"
#include "core/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/cpu_backend.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

const char* InstructionSet() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(InstructionSet);

std::unique_ptr<Backend> MakeCpuBackend(int threads) {
  return std::make_unique<CpuBackend>(threads);
}

CpuBackend::CpuBackend(int threads) : threads_(threads) {
  WF_CHECK_MSG(threads >= 1, "a CPU backend with " + std::to_string(threads) + " threads");
}

CpuBackend::~CpuBackend() { Free(scratch_); }

std::string CpuBackend::fingerprint() const {
  const dnnl_version_t* version = dnnl_version();
  return std::string("hwy=") + HWY_DYNAMIC_DISPATCH(InstructionSet)() +
         " onednn=" + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

void CpuBackend::Fill(Tensor x, float value) {
  float* data = x.f32();
  ParallelRanges(threads_, x.elements(), 1 << 15, [&](int, int64_t begin, int64_t end) {
    std::fill(data + begin, data + end, value);
  });
}

float* CpuBackend::Scratch(int64_t floats) {
  if (floats > scratch_floats_) {
    Free(scratch_);
    scratch_ = static_cast<float*>(Allocate(static_cast<size_t>(floats) * sizeof(float)));
    scratch_floats_ = floats;
  }
  return scratch_;
}

}  // namespace wavefield
#endif
