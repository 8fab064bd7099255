#pragma once

// What the tests of the emulated CUDA runtime share.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "core/backend/cuda/device.h"
#include "tests/cuda/emulation/runtime.h"

namespace wavefield::cuda {

template <typename... Parameters>
cudaError_t TryLaunch(const char* name, dim3 grid, dim3 block, size_t shared_bytes,
                      cudaStream_t stream, void (*kernel)(Parameters...),
                      std::type_identity_t<Parameters>... arguments) {
  return LaunchOnHost(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
                      stream, [=] { kernel(arguments...); });
}

// Launches on the default stream and waits.
template <typename... Parameters>
void RunKernel(dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(Parameters...),
               std::type_identity_t<Parameters>... arguments) {
  ASSERT_EQ(TryLaunch("TestKernel", grid, block, shared_bytes, nullptr, kernel, arguments...),
            cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) {
    EXPECT_EQ(cudaMalloc(&data_, size * sizeof(T)), cudaSuccess);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    EXPECT_EQ(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return static_cast<T*>(data_); }
  std::vector<T> Values() const {
    std::vector<T> values(size_);
    EXPECT_EQ(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }

 private:
  size_t size_;
  void* data_ = nullptr;
};

struct TestStream {
  TestStream() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), 0); }
  ~TestStream() { EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess); }
  cudaStream_t stream = nullptr;
};

class CudaEmulationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    seed_ = std::random_device{}();
    RecordProperty("seed", std::to_string(seed_));
    SCOPED_TRACE(seed_);
    emulation::SetOrder(emulation::Order::kSeeded);
    emulation::SetSeed(seed_);
  }
  void TearDown() override {
    if (HasFailure()) fprintf(stderr, "seed %u\n", seed_);
    cudaSetDevice(0);
    cudaGetLastError();
  }

  // Whether `run` gives true for each of a few hundred seeds, for some of them or for none.
  enum class Found { kAlways, kSometimes, kNever };
  template <typename Body>
  Found ForSeeds(Body run) {
    constexpr int kSeeds = 200;
    int found = 0;
    for (int i = 0; i < kSeeds; ++i) {
      emulation::SetSeed(seed_ + i);
      found += run() ? 1 : 0;
    }
    return found == kSeeds ? Found::kAlways : found > 0 ? Found::kSometimes : Found::kNever;
  }

  unsigned seed_ = 0;
};
using CudaEmulationDeathTest = CudaEmulationTest;

}  // namespace wavefield::cuda
