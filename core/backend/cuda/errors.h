#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cufft.h>

#include <cstdint>

namespace wavefield::cuda {

// Unless the result is success: prints the call, its place, the error, the device and the step of
// SetStep(), and aborts. Where memory is short, with how much is free and what to do; where a
// kernel has stopped itself, with the usual reason. Errors of earlier kernels can surface at any
// later call. Thread-safe.
void Check(cudaError_t result, const char* call, const char* file, int line);
void Check(cublasStatus_t result, const char* call, const char* file, int line);
void Check(cufftResult result, const char* call, const char* file, int line);

// The optimizer step that messages name; −1: none.
void SetStep(int64_t step);

}  // namespace wavefield::cuda

#define WF_CUDA(call) ::wavefield::cuda::Check((call), #call, __FILE__, __LINE__)
