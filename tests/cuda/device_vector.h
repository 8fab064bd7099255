#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <vector>

#include "core/backend/cuda/errors.h"
#include "core/tensor/tensor.h"

namespace wavefield::testing {

// Numbers in memory of the current device, as fp32, bf16 (rounded) or double.
template <typename T>
class DeviceVector {
 public:
  explicit DeviceVector(const std::vector<T>& values) : size_(values.size()) {
    if (size_ == 0) return;
    WF_CUDA(cudaMalloc(&data_, size_ * sizeof(T)));
    WF_CUDA(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceVector() { WF_CUDA(cudaFree(data_)); }
  DeviceVector(const DeviceVector&) = delete;
  DeviceVector& operator=(const DeviceVector&) = delete;

  T* data() const { return static_cast<T*>(data_); }
  // Waits for the device.
  std::vector<T> Values() const {
    std::vector<T> values(size_);
    WF_CUDA(cudaDeviceSynchronize());
    if (size_ > 0) {
      WF_CUDA(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    }
    return values;
  }

 private:
  size_t size_;
  void* data_ = nullptr;
};

}  // namespace wavefield::testing
