#pragma once

#include <cuda_runtime_api.h>

#include "core/backend/cuda/errors.h"

namespace wavefield::cuda {

// A stream of the current device; waits for its work at the end. Does not wait for the default
// stream.
class Stream {
 public:
  // CUDA takes the nearest priority that the device has.
  static constexpr int kHighestPriority = -100;

  explicit Stream(int priority = 0) {
    WF_CUDA(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, priority));
  }
  ~Stream() {
    Synchronize();
    WF_CUDA(cudaStreamDestroy(stream_));
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void Synchronize() { WF_CUDA(cudaStreamSynchronize(stream_)); }
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace wavefield::cuda
