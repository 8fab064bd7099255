#include "core/backend/cuda/fft_plans.h"

#include <string>

#include "core/backend/cuda/errors.h"

namespace wavefield::cuda {
namespace {

constexpr size_t kKeptPlans = 32;

}  // namespace

FftPlan::FftPlan(FftDirection direction, int64_t length, int64_t batch) : direction_(direction) {
  WF_CUDA(cufftCreate(&handle_));
  WF_CUDA(cufftSetAutoAllocation(handle_, 0));
  const bool to_spectrum = direction == FftDirection::kToSpectrum;
  long long n = length, bins = length / 2 + 1, floats = 2 * bins;
  const cufftResult made = cufftMakePlanMany64(
      handle_, 1, &n, to_spectrum ? &floats : &bins, 1, to_spectrum ? floats : bins,
      to_spectrum ? &bins : &floats, 1, to_spectrum ? bins : floats,
      to_spectrum ? CUFFT_R2C : CUFFT_C2R, batch, &work_bytes_);
  Check(made,
        ("cufftMakePlanMany64 of " + std::to_string(batch) + " transforms of length " +
         std::to_string(length))
            .c_str(),
        __FILE__, __LINE__);
}

FftPlan::~FftPlan() { WF_CUDA(cufftDestroy(handle_)); }

void FftPlan::Run(float* rows, void* work, cudaStream_t stream) const {
  WF_CUDA(cufftSetStream(handle_, stream));
  if (work_bytes_ > 0) WF_CUDA(cufftSetWorkArea(handle_, work));
  auto* spectra = reinterpret_cast<cufftComplex*>(rows);
  if (direction_ == FftDirection::kToSpectrum) {
    WF_CUDA(cufftExecR2C(handle_, rows, spectra));
  } else {
    WF_CUDA(cufftExecC2R(handle_, spectra, rows));
  }
}

std::shared_ptr<const FftPlan> FftPlans::Get(FftDirection direction, int64_t length,
                                             int64_t batch) {
  const Key key{direction, length, batch};
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  if (plans_.size() >= kKeptPlans) plans_.clear();
  return plans_[key] = std::make_shared<const FftPlan>(direction, length, batch);
}

}  // namespace wavefield::cuda
