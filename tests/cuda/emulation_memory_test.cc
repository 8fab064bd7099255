// Memory of the emulated device: right use works, and each kind of wrong use is found.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "core/backend/cuda/device.h"
#include "tests/cuda/emulation/runtime.h"
#include "tests/cuda/emulation_test.h"

namespace wavefield::cuda {
namespace {

__global__ void ReadKernel(const float* x, int64_t i, float* y) { *y = x[i]; }
__global__ void WriteKernel(float* x, int64_t i) {
  if (threadIdx.x == 3) x[i] = 1;
}
__global__ void ScaleKernel(float factor, int64_t n, float* x) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factor;
}

TEST_F(CudaEmulationTest, AKernelChangesDeviceMemory) {
  const int64_t n = 1000;
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(i);
  const DeviceArray<float> x(values);
  RunKernel(8, 128, 0, ScaleKernel, 2.0f, n, x.data());
  for (int64_t i = 0; i < n; ++i) values[i] *= 2;
  EXPECT_EQ(x.Values(), values);
}

TEST_F(CudaEmulationTest, FreshMemoryIsNotANumber) {
  const DeviceArray<float> x(100);
  for (const float value : x.Values()) EXPECT_TRUE(std::isnan(value));
}

TEST_F(CudaEmulationTest, MemoryIsAlignedTo256Bytes) {
  for (const size_t bytes : {1, 255, 256, 257, 4096, 5000}) {
    const DeviceArray<char> x(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x.data()) % 256, 0u);
  }
}

TEST_F(CudaEmulationDeathTest, ReadingPastTheEndIsFoundWithItsPlace) {
  const DeviceArray<float> x(64), y(1);
  EXPECT_DEATH(RunKernel(1, 1, 0, ReadKernel, x.data(), 64, y.data()),
               "out of bounds: offset 256 of allocation [0-9]+ of 256 bytes on device 0 "
               "\\(in TestKernel, block \\(0, 0, 0\\), thread \\(0, 0, 0\\)\\)");
}

TEST_F(CudaEmulationDeathTest, WritingPastTheEndIsFoundWithItsPlace) {
  const DeviceArray<float> x(64);
  EXPECT_DEATH(RunKernel(2, 32, 0, WriteKernel, x.data(), 64),
               "out of bounds.*thread \\(3, 0, 0\\)");
  EXPECT_DEATH(RunKernel(2, 32, 0, WriteKernel, x.data(), 4000), "out of bounds");
}

TEST_F(CudaEmulationDeathTest, WritingBetweenTheEndAndTheNextPageIsFoundAtTheNextWait) {
  const DeviceArray<float> x(3);
  EXPECT_DEATH(RunKernel(1, 32, 0, WriteKernel, x.data(), 3),
               "out of bounds: memory after allocation [0-9]+ of 12 bytes");
}

TEST_F(CudaEmulationDeathTest, WritingBeforeTheStartIsFound) {
  const DeviceArray<float> x(3);
  EXPECT_DEATH(RunKernel(1, 32, 0, WriteKernel, x.data(), -1), "out of bounds: memory before");
  EXPECT_DEATH(RunKernel(1, 32, 0, WriteKernel, x.data(), -5000), "out of bounds");
}

TEST_F(CudaEmulationDeathTest, UseAfterFreeIsFound) {
  void* x = nullptr;
  ASSERT_EQ(cudaMalloc(&x, 1000), cudaSuccess);
  ASSERT_EQ(cudaFree(x), cudaSuccess);
  EXPECT_DEATH(RunKernel(1, 32, 0, WriteKernel, static_cast<float*>(x), 0),
               "use after free: offset 0 of allocation");
  EXPECT_EQ(cudaFree(x), cudaErrorInvalidValue);
}

TEST_F(CudaEmulationDeathTest, HostAccessToDeviceMemoryIsFound) {
  const DeviceArray<float> x(std::vector<float>(10, 1.0f));
  EXPECT_DEATH(printf("%f\n", x.data()[3]), "host access to device memory: offset 12");
  EXPECT_DEATH(x.data()[0] = 1, "host access to device memory: offset 0");
}

TEST_F(CudaEmulationDeathTest, AccessToTheMemoryOfAnotherDeviceIsFound) {
  const DeviceArray<float> x(10);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_DEATH(RunKernel(1, 32, 0, WriteKernel, x.data(), 0), "another device.*on device 0");
}

__global__ void PacketKernel(const float* x, float* y) {
  const Packet<float, 4> packet = *reinterpret_cast<const Packet<float, 4>*>(x);
  *y = packet.element[0] + packet.element[3];
}

TEST_F(CudaEmulationDeathTest, AMisalignedVectorLoadIsFound) {
  const DeviceArray<float> x({1, 2, 3, 4, 5, 6, 7, 8}), y(1);
  RunKernel(1, 1, 0, PacketKernel, x.data() + 4, y.data());
  EXPECT_EQ(y.Values()[0], 13);
  EXPECT_DEATH(RunKernel(1, 1, 0, PacketKernel, x.data() + 2, y.data()), "misaligned address");
}

TEST_F(CudaEmulationTest, MemoryIsLimitedAndCounted) {
  size_t free_before = 0, free_after = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_before, &total), cudaSuccess);
  void* x = nullptr;
  EXPECT_EQ(cudaMalloc(&x, free_before + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  {
    const DeviceArray<char> y(1000);
    ASSERT_EQ(cudaMemGetInfo(&free_after, &total), cudaSuccess);
    EXPECT_EQ(free_after, free_before - 1000);
  }
  ASSERT_EQ(cudaMemGetInfo(&free_after, &total), cudaSuccess);
  EXPECT_EQ(free_after, free_before);
}

TEST_F(CudaEmulationTest, CopiesOutsideOfAnAllocationOrInTheWrongDirectionAreRefused) {
  const DeviceArray<float> x(10);
  std::vector<float> host(20);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), 44, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x.data(), 0, 41), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 40), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x.data(), 0, 40), cudaSuccess);
  EXPECT_TRUE(emulation::IsDeviceRange(x.data() + 9, 4));
  EXPECT_FALSE(emulation::IsDeviceRange(x.data() + 9, 8));
  EXPECT_FALSE(emulation::IsDeviceRange(host.data(), 4));
}

}  // namespace
}  // namespace wavefield::cuda
