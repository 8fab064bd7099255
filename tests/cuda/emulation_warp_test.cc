// Shuffles, votes and atomics under the emulated CUDA runtime.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "core/backend/cuda/device.h"
#include "tests/cuda/emulation/runtime.h"
#include "tests/cuda/emulation_test.h"

namespace wavefield::cuda {
namespace {

using emulation::Order;
using emulation::SetOrder;
using emulation::SetSeed;

template <typename T>
__global__ void ShuffleKernel(int width, int argument, const T* x, T* y) {
  const int i = threadIdx.x, n = blockDim.x;
  y[i] = __shfl_sync(kFullMask, x[i], argument, width);
  y[n + i] = __shfl_xor_sync(kFullMask, x[i], argument, width);
  y[2 * n + i] = __shfl_up_sync(kFullMask, x[i], argument, width);
  y[3 * n + i] = __shfl_down_sync(kFullMask, x[i], argument, width);
}

template <typename T>
void CheckShuffles() {
  constexpr int kThreads = 96;
  std::vector<T> values(kThreads);
  for (int i = 0; i < kThreads; ++i) values[i] = static_cast<T>(i * 1000003ll);
  const DeviceArray<T> x(values), y(4 * kThreads);
  for (const int width : {1, 4, 8, 16, 32}) {
    for (int argument = 0; argument < 32; ++argument) {
      RunKernel(1, kThreads, 0, ShuffleKernel<T>, width, argument, x.data(), y.data());
      const std::vector<T> result = y.Values();
      for (int i = 0; i < kThreads; ++i) {
        const int first = i / width * width, in_group = i - first;
        // A source in an earlier group may be read by xor; one in a later group may not.
        const int exchanged = (i % 32) ^ argument;
        const int sources[] = {first + argument % width,
                               exchanged < i % 32 - in_group + width ? i / 32 * 32 + exchanged : i,
                               in_group >= argument ? i - argument : i,
                               in_group + argument < width ? i + argument : i};
        for (int kind = 0; kind < 4; ++kind) {
          ASSERT_EQ(result[kind * kThreads + i], values[sources[kind]])
              << "kind " << kind << ", width " << width << ", argument " << argument << ", thread "
              << i;
        }
      }
    }
  }
}

TEST_F(CudaEmulationTest, ShufflesReadTheLanesThatTheyName) {
  CheckShuffles<float>();
  CheckShuffles<int>();
  CheckShuffles<unsigned>();
  CheckShuffles<double>();
  CheckShuffles<int64_t>();
}

__global__ void VoteKernel(unsigned bits, unsigned* y) {
  const int i = threadIdx.x, bit = bits >> i & 1;
  y[i] = __ballot_sync(kFullMask, bit);
  y[32 + i] = __any_sync(kFullMask, bit);
  y[64 + i] = __all_sync(kFullMask, bit);
}

TEST_F(CudaEmulationTest, VotesCountEveryLane) {
  for (const unsigned bits : {0u, 1u, 0x80000001u, ~0u, 0x12345678u}) {
    const DeviceArray<unsigned> y(96);
    RunKernel(1, 32, 0, VoteKernel, bits, y.data());
    const std::vector<unsigned> result = y.Values();
    for (int i = 0; i < 32; ++i) {
      EXPECT_EQ(result[i], bits);
      EXPECT_EQ(result[32 + i], bits != 0);
      EXPECT_EQ(result[64 + i], bits == ~0u);
    }
  }
}

__global__ void HalfWarpKernel(int* y) {
  const int i = threadIdx.x;
  if (i < 16) {
    y[i] = __shfl_sync(0xffffu, i, 3);
  } else {
    y[i] = __shfl_sync(0xffff0000u, i, 20);
    y[i] += __shfl_xor_sync(0xffff0000u, 1000 * i, 1);
  }
}

TEST_F(CudaEmulationTest, PartsOfAWarpExchangeByThemselves) {
  const DeviceArray<int> y(32);
  RunKernel(1, 32, 0, HalfWarpKernel, y.data());
  const std::vector<int> result = y.Values();
  for (int i = 0; i < 32; ++i) EXPECT_EQ(result[i], i < 16 ? 3 : 20 + 1000 * (i ^ 1));
}

__global__ void SumKernel(const float* x, float* y) {
  const float sum = BlockSum(x[blockIdx.x * blockDim.x + threadIdx.x], SharedMemory<float>());
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

TEST_F(CudaEmulationTest, SumsOverBlocksAreRightInEveryOrder) {
  std::vector<float> values(10 * 256);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17);
  std::vector<float> sums(10, 0.0f);
  for (size_t i = 0; i < values.size(); ++i) sums[i / 256] += values[i];
  const DeviceArray<float> x(values), y(10);
  for (const Order order : {Order::kIdentity, Order::kReverse, Order::kSeeded}) {
    SetOrder(order);
    RunKernel(10, 256, 8 * sizeof(float), SumKernel, x.data(), y.data());
    EXPECT_EQ(y.Values(), sums);
  }
}

__global__ void AbsentLaneKernel() {
  if (threadIdx.x != 9) __syncwarp();
}
__global__ void ForeignMaskKernel() { __ballot_sync(1u << (threadIdx.x ^ 1), 1); }
__global__ void ForeignSourceKernel(int* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}
__global__ void TwoShufflesKernel(int* y) {
  if (threadIdx.x % 2 == 0) {
    y[threadIdx.x] = __shfl_xor_sync(kFullMask, 1, 1);
  } else {
    y[threadIdx.x] = __shfl_xor_sync(kFullMask, 1, 1);
  }
}

TEST_F(CudaEmulationDeathTest, WrongMasksAndDivergentWarpsAreFound) {
  const DeviceArray<int> y(32);
  EXPECT_DEATH(RunKernel(1, 32, 0, AbsentLaneKernel),
               "divergent warp: of 32 threads 1 have finished, 31 wait for lanes of their mask");
  EXPECT_DEATH(RunKernel(1, 32, 0, ForeignMaskKernel), "a lane is not in its own mask");
  EXPECT_DEATH(RunKernel(1, 32, 0, ForeignSourceKernel, y.data()),
               "reads lane 20, which is not in the");
  EXPECT_DEATH(RunKernel(1, 32, 0, TwoShufflesKernel, y.data()),
               "lanes of one warp wait at different");
  const DeviceArray<float> x(48), sum(1);
  EXPECT_DEATH(RunKernel(1, 48, 8, SumKernel, x.data(), sum.data()),
               "32 wait at the barrier.*16 wait for lanes of their mask");
}

__global__ void AtomicKernel(unsigned long long* sum, int* largest) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(sum, static_cast<unsigned long long>(i));
  atomicMax(largest, i);
}

TEST_F(CudaEmulationTest, AtomicsCountEveryThread) {
  const DeviceArray<unsigned long long> sum(std::vector<unsigned long long>(1, 0));
  const DeviceArray<int> largest(std::vector<int>(1, -5));
  RunKernel(10, 100, 0, AtomicKernel, sum.data(), largest.data());
  EXPECT_EQ(sum.Values()[0], 999u * 1000u / 2);
  EXPECT_EQ(largest.Values()[0], 999);
}

TEST_F(CudaEmulationTest, KernelsOfTwoHostThreadsRunSideBySide) {
  const auto work = [](int device) {
    EXPECT_EQ(cudaSetDevice(device), cudaSuccess);
    const DeviceArray<float> x(std::vector<float>(2560, 1.0f)), y(10);
    const TestStream stream;
    for (int i = 0; i < 20; ++i) {
      TryLaunch("SumKernel", 10, 256, 32, stream.stream, SumKernel, x.data(), y.data());
      EXPECT_EQ(cudaStreamSynchronize(stream.stream), cudaSuccess);
      EXPECT_EQ(y.Values(), std::vector<float>(10, 256.0f));
    }
  };
  std::thread a(work, 0), b(work, 0), c(work, 1);
  a.join();
  b.join();
  c.join();
}

}  // namespace
}  // namespace wavefield::cuda
