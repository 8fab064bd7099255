#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "absl/status/status.h"

namespace wavefield::cuda {

// OK, or INTERNAL with the call and the error: for what is not a programmer's error.
inline absl::Status ToStatus(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(std::string(call) + ": " + cudaGetErrorName(result) + ": " +
                             cudaGetErrorString(result));
}

}  // namespace wavefield::cuda

#define WF_CUDA_STATUS(call) ::wavefield::cuda::ToStatus((call), #call)
