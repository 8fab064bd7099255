// Threads, barriers and shared memory under the emulated CUDA runtime, in every order.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "core/backend/cuda/device.h"
#include "tests/cuda/emulation/runtime.h"
#include "tests/cuda/emulation_test.h"

namespace wavefield::cuda {
namespace {

using emulation::Order;
using emulation::SetOrder;
using emulation::SetSeed;

__global__ void VisitKernel(int* visits) {
  const int64_t block =
      (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int64_t thread =
      (static_cast<int64_t>(threadIdx.z) * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  ++visits[block * blockDim.x * blockDim.y * blockDim.z + thread];
}

TEST_F(CudaEmulationTest, EveryThreadOfEveryBlockRunsOnceInEveryOrder) {
  const dim3 grid(3, 4, 5), block(7, 3, 2);
  for (const Order order : {Order::kIdentity, Order::kReverse, Order::kSeeded}) {
    SetOrder(order);
    const DeviceArray<int> visits(std::vector<int>(60 * 42, 0));
    RunKernel(grid, block, 0, VisitKernel, visits.data());
    EXPECT_EQ(visits.Values(), std::vector<int>(60 * 42, 1));
  }
}

__global__ void OrderKernel(unsigned* next, unsigned* turn) {
  turn[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(next, 1u);
}

TEST_F(CudaEmulationTest, TheOrderIsTheSeeds) {
  const auto turns = [](Order order, uint64_t seed) {
    SetOrder(order);
    SetSeed(seed);
    const DeviceArray<unsigned> next(std::vector<unsigned>(1, 0)), turn(640);
    RunKernel(5, 128, 0, OrderKernel, next.data(), turn.data());
    return turn.Values();
  };
  std::vector<unsigned> ascending(640);
  for (unsigned i = 0; i < 640; ++i) ascending[i] = i;
  EXPECT_EQ(turns(Order::kIdentity, seed_), ascending);
  std::reverse(ascending.begin(), ascending.end());
  EXPECT_EQ(turns(Order::kReverse, seed_), ascending);
  EXPECT_EQ(turns(Order::kSeeded, seed_), turns(Order::kSeeded, seed_));
  std::set<std::vector<unsigned>> orders;
  for (int i = 0; i < 10; ++i) orders.insert(turns(Order::kSeeded, seed_ + i));
  EXPECT_EQ(orders.size(), 10u);
}

template <bool kBarrier>
__global__ void ReverseKernel(float* x) {
  float* const shared = SharedMemory<float>();
  const int i = threadIdx.x, n = blockDim.x;
  shared[i] = x[i];
  if constexpr (kBarrier) __syncthreads();
  x[i] = shared[n - 1 - i];
}

TEST_F(CudaEmulationTest, ABarrierOrdersTheThreads) {
  for (const Order order : {Order::kIdentity, Order::kReverse, Order::kSeeded}) {
    SetOrder(order);
    for (const int n : {1, 31, 32, 100, 1024}) {
      std::vector<float> values(n);
      for (int i = 0; i < n; ++i) values[i] = static_cast<float>(i);
      const DeviceArray<float> x(values);
      RunKernel(1, n, n * sizeof(float), ReverseKernel<true>, x.data());
      std::reverse(values.begin(), values.end());
      EXPECT_EQ(x.Values(), values);
    }
  }
}

TEST_F(CudaEmulationTest, AMissingBarrierGivesWrongResults) {
  EXPECT_EQ(ForSeeds([] {
              std::vector<float> values(64, 1.0f);
              const DeviceArray<float> x(values);
              RunKernel(1, 64, 256, ReverseKernel<false>, x.data());
              const std::vector<float> result = x.Values();
              return std::any_of(result.begin(), result.end(),
                                 [](float value) { return std::isnan(value); });
            }),
            Found::kAlways);
}

// Whether the last element is written before others read it depends on the order alone.
template <bool kBarrier>
__global__ void ReadLastKernel(float* x) {
  const int i = threadIdx.x, last = blockDim.x - 1;
  if (i == last) x[last] = 5;
  if constexpr (kBarrier) __syncthreads();
  if (i == 0) x[0] = x[last];
}

TEST_F(CudaEmulationTest, ARaceThatOneOrderHidesIsFoundInAnother) {
  const auto differs = [](void (*kernel)(float*)) {
    return [kernel] {
      const DeviceArray<float> x(std::vector<float>(64, 1.0f));
      RunKernel(1, 64, 0, kernel, x.data());
      return x.Values()[0] != 5;
    };
  };
  EXPECT_EQ(ForSeeds(differs(ReadLastKernel<false>)), Found::kSometimes);
  EXPECT_EQ(ForSeeds(differs(ReadLastKernel<true>)), Found::kNever);
}

__global__ void EarlyExitKernel() {
  if (threadIdx.x == 7) return;
  __syncthreads();
}
__global__ void TwoPlacesKernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void BarrierOrShuffleKernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}

TEST_F(CudaEmulationDeathTest, ADivergentBarrierIsFound) {
  EXPECT_DEATH(RunKernel(1, 64, 0, EarlyExitKernel),
               "divergent barrier: of 64 threads 1 have finished, 63 wait at the barrier at "
               ".*emulation_[a-z]+_test.cc:[0-9]+");
  EXPECT_DEATH(RunKernel(1, 64, 0, TwoPlacesKernel),
               "divergent barrier: threads of one block wait at");
  EXPECT_DEATH(RunKernel(1, 32, 0, BarrierOrShuffleKernel),
               "divergent barrier: .*16 wait at the barrier.*16 wait for lanes");
}

__global__ void SharedKernel(int64_t write, float* x) {
  float* const shared = SharedMemory<float>();
  if (threadIdx.x == 0) {
    x[blockIdx.x] = shared[5];
    shared[write] = 1;
  }
}

TEST_F(CudaEmulationTest, SharedMemoryIsNotANumberAtTheStartOfEveryBlock) {
  const DeviceArray<float> x(std::vector<float>(10, 0.0f));
  RunKernel(10, 32, 40, SharedKernel, 5, x.data());
  for (const float value : x.Values()) EXPECT_TRUE(std::isnan(value));
}

TEST_F(CudaEmulationDeathTest, AccessOutsideOfSharedMemoryIsFound) {
  const DeviceArray<float> x(1);
  EXPECT_DEATH(RunKernel(1, 32, 32, SharedKernel, 8, x.data()),
               "out of bounds of the block's 32 bytes");
  EXPECT_DEATH(RunKernel(1, 32, 36, SharedKernel, 9, x.data()),
               "out of bounds of the block's 36 bytes");
  EXPECT_DEATH(RunKernel(1, 32, 32, SharedKernel, -1025, x.data()), "out of bounds of the block's");
}

__global__ void TrapKernel(int bad) {
  if (static_cast<int>(threadIdx.x) == bad) __trap();
}

TEST_F(CudaEmulationDeathTest, TrapSaysWhere) {
  EXPECT_DEATH(
      RunKernel(1, 32, 0, TrapKernel, 5),
      "__trap\\(\\) at .*emulation_[a-z]+_test.cc:[0-9]+ \\(in TestKernel, block \\(0, 0, 0\\), "
      "thread \\(5, 0, 0\\)\\)");
}

__attribute__((noinline)) int Deep(volatile int* depth) {
  volatile char local[1024];
  local[0] = static_cast<char>(*depth);
  *depth = *depth + 1;
  return *depth > 1'000'000 ? local[0] : Deep(depth) + local[0];
}
__global__ void DeepKernel(int* depth) { *depth = Deep(depth); }

TEST_F(CudaEmulationDeathTest, TooManyLocalVariablesAreFound) {
  const DeviceArray<int> depth(std::vector<int>(1, 0));
  EXPECT_DEATH(RunKernel(1, 1, 0, DeepKernel, depth.data()), "overflow its stack");
}

TEST_F(CudaEmulationTest, MoreSharedMemoryNeedsAnOptIn) {
  const DeviceArray<float> x(1);
  const auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  const void* const kernel = reinterpret_cast<const void*>(SharedKernel);
  EXPECT_EQ(cudaFuncSetAttribute(kernel, attribute, (227 << 10) + 1), cudaErrorInvalidValue);
  ASSERT_EQ(cudaFuncSetAttribute(kernel, attribute, 227 << 10), cudaSuccess);
  RunKernel(1, 32, 227 << 10, SharedKernel, (227 << 8) - 1, x.data());
  EXPECT_EQ(TryLaunch("TrapKernel", 1, 32, 64 << 10, nullptr, TrapKernel, -1),
            cudaErrorInvalidConfiguration);
}

}  // namespace
}  // namespace wavefield::cuda
