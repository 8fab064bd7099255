#include "core/backend/cuda/errors.h"

#include <atomic>
#include <string>

#include "core/base/check.h"

namespace wavefield::cuda {
namespace {

std::atomic<int64_t> current_step{-1};

[[noreturn]] void Fail(const char* call, const std::string& error, const char* file, int line) {
  int device = -1;
  cudaGetDevice(&device);
  const int64_t step = current_step.load();
  CheckFailed(call, file, line,
              error + " (device " + std::to_string(device) +
                  (step < 0 ? ", before the first step)" : ", step " + std::to_string(step) + ")"));
}

// How much memory the device has and what to do when it is too little.
std::string OutOfMemory() {
  constexpr size_t kMiB = size_t{1} << 20;
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) free = total = 0;
  return "; the device has " + std::to_string(free / kMiB) + " of " + std::to_string(total / kMiB) +
         " MiB free: end what else uses it (nvidia-smi lists that), or make "
         "training.micro_batch_size or training.sequence_chunk smaller, or set training.recompute";
}

// What to add to CUDA's own words.
std::string Reason(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return OutOfMemory();
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
    case cudaErrorAssert:
      return "; a kernel has stopped itself: one cause is a token id or a target that is not below "
             "the model's vocab_size";
    default:
      return "";
  }
}

const char* NameOf(cufftResult result) {
  switch (result) {
    case CUFFT_INVALID_PLAN:
      return "CUFFT_INVALID_PLAN";
    case CUFFT_ALLOC_FAILED:
      return "CUFFT_ALLOC_FAILED";
    case CUFFT_INVALID_TYPE:
      return "CUFFT_INVALID_TYPE";
    case CUFFT_INVALID_VALUE:
      return "CUFFT_INVALID_VALUE";
    case CUFFT_INTERNAL_ERROR:
      return "CUFFT_INTERNAL_ERROR";
    case CUFFT_EXEC_FAILED:
      return "CUFFT_EXEC_FAILED";
    case CUFFT_SETUP_FAILED:
      return "CUFFT_SETUP_FAILED";
    case CUFFT_INVALID_SIZE:
      return "CUFFT_INVALID_SIZE";
    default:
      return "an error of cuFFT";
  }
}

}  // namespace

void Check(cudaError_t result, const char* call, const char* file, int line) {
  if (result == cudaSuccess) return;
  Fail(call,
       std::string(cudaGetErrorName(result)) + ": " + cudaGetErrorString(result) + Reason(result),
       file, line);
}

void Check(cublasStatus_t result, const char* call, const char* file, int line) {
  if (result == CUBLAS_STATUS_SUCCESS) return;
  Fail(call, cublasLtGetStatusName(result), file, line);
}

void Check(cufftResult result, const char* call, const char* file, int line) {
  if (result == CUFFT_SUCCESS) return;
  Fail(call,
       std::string(NameOf(result)) + " (" + std::to_string(result) + ")" +
           (result == CUFFT_ALLOC_FAILED ? OutOfMemory() : ""),
       file, line);
}

void SetStep(int64_t step) { current_step.store(step); }

}  // namespace wavefield::cuda
