// Streams, events, launches and devices of the emulated CUDA runtime.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/backend/cuda/device.h"
#include "tests/cuda/emulation/runtime.h"
#include "tests/cuda/emulation_test.h"

namespace wavefield::cuda {
namespace {

__global__ void NothingKernel() {}
__global__ void ScaleKernel(float factor, float* x) { *x *= factor; }
__global__ void SetKernel(float value, float* x) { *x = value; }
__global__ void CopyKernel(const float* x, float* y) { *y = *x; }

// One stream writes, another reads; whether the reader saw it.
bool OtherStreamSees(bool with_event) {
  const DeviceArray<float> x(std::vector<float>(1, 0.0f)), y(std::vector<float>(1, 0.0f));
  const TestStream a, b;
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(TryLaunch("SetKernel", 1, 1, 0, a.stream, SetKernel, 7.0f, x.data()), cudaSuccess);
  if (with_event) {
    EXPECT_EQ(cudaEventRecord(event, a.stream), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(b.stream, event, 0), cudaSuccess);
  }
  EXPECT_EQ(TryLaunch("CopyKernel", 1, 1, 0, b.stream, CopyKernel, x.data(), y.data()),
            cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(b.stream), cudaSuccess);
  return y.Values()[0] == 7;
}

TEST_F(CudaEmulationTest, AMissingEventBetweenStreamsIsFound) {
  EXPECT_EQ(ForSeeds([] { return OtherStreamSees(true); }), Found::kAlways);
  EXPECT_EQ(ForSeeds([] { return OtherStreamSees(false); }), Found::kSometimes);
}

TEST_F(CudaEmulationTest, TheDefaultStreamWaitsForOrdinaryStreamsAndTheyForIt) {
  const auto sees = [](unsigned flags) {
    return [flags] {
      const DeviceArray<float> x(std::vector<float>(1, 0.0f)), y(std::vector<float>(1, 0.0f));
      cudaStream_t a = nullptr, b = nullptr;
      EXPECT_EQ(cudaStreamCreateWithFlags(&a, flags), cudaSuccess);
      EXPECT_EQ(cudaStreamCreateWithFlags(&b, flags), cudaSuccess);
      TryLaunch("SetKernel", 1, 1, 0, a, SetKernel, 7.0f, x.data());
      TryLaunch("ScaleKernel", 1, 1, 0, nullptr, ScaleKernel, 2.0f, x.data());
      TryLaunch("CopyKernel", 1, 1, 0, b, CopyKernel, x.data(), y.data());
      EXPECT_EQ(cudaStreamSynchronize(b), cudaSuccess);
      const bool right = y.Values()[0] == 14;
      EXPECT_EQ(cudaStreamDestroy(a), cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(b), cudaSuccess);
      return right;
    };
  };
  EXPECT_EQ(ForSeeds(sees(cudaStreamDefault)), Found::kAlways);
  EXPECT_EQ(ForSeeds(sees(cudaStreamNonBlocking)), Found::kSometimes);
}

TEST_F(CudaEmulationTest, NothingRunsUntilTheHostWaits) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, sizeof(float)), cudaSuccess);
  float* const host = static_cast<float*>(pinned);
  const DeviceArray<float> x(std::vector<float>(1, 3.0f));
  const TestStream a;
  *host = 1;
  ASSERT_EQ(cudaMemcpyAsync(host, x.data(), sizeof(float), cudaMemcpyDeviceToHost, a.stream), 0);
  EXPECT_EQ(*host, 1);
  ASSERT_EQ(cudaStreamSynchronize(a.stream), cudaSuccess);
  EXPECT_EQ(*host, 3);
  // Pinned memory is read when the copy runs, other memory when it is enqueued.
  ASSERT_EQ(cudaMemcpyAsync(x.data(), host, sizeof(float), cudaMemcpyHostToDevice, a.stream), 0);
  *host = 4;
  ASSERT_EQ(cudaStreamSynchronize(a.stream), cudaSuccess);
  EXPECT_EQ(x.Values()[0], 4);
  float pageable = 5;
  ASSERT_EQ(cudaMemcpyAsync(x.data(), &pageable, sizeof(float), cudaMemcpyHostToDevice, a.stream),
            0);
  pageable = 6;
  ASSERT_EQ(cudaStreamSynchronize(a.stream), cudaSuccess);
  EXPECT_EQ(x.Values()[0], 5);
  ASSERT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(CudaEmulationTest, EventsBecomeReadyWhileTheyArePolled) {
  const DeviceArray<float> x(std::vector<float>(1, 1.0f));
  const TestStream a;
  cudaEvent_t start = nullptr, end = nullptr;
  ASSERT_EQ(cudaEventCreate(&start), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&end), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(end), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(start, a.stream), cudaSuccess);
  for (int i = 0; i < 20; ++i) {
    TryLaunch("ScaleKernel", 1, 1, 0, a.stream, ScaleKernel, 2.0f, x.data());
  }
  ASSERT_EQ(cudaEventRecord(end, a.stream), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(end), cudaErrorNotReady);
  int polls = 0;
  while (cudaEventQuery(end) == cudaErrorNotReady) ASSERT_LT(++polls, 10000);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaSuccess);
  EXPECT_GE(milliseconds, 0);
  EXPECT_EQ(cudaStreamQuery(a.stream), cudaSuccess);
  EXPECT_EQ(x.Values()[0], 1 << 20);
  EXPECT_EQ(cudaEventDestroy(start), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(end), cudaSuccess);
}

TEST_F(CudaEmulationTest, AnOperationMayWaitForAnotherThreadsDevice) {
  std::atomic<int> arrived = 0;
  const auto rank = [&](int device) {
    EXPECT_EQ(cudaSetDevice(device), cudaSuccess);
    const TestStream stream;
    bool counted = false;
    EXPECT_EQ(emulation::EnqueueAttempts(stream.stream, "meet",
                                         [&arrived, counted]() mutable {
                                           if (!counted) ++arrived;
                                           counted = true;
                                           return arrived == 2;
                                         }),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream.stream), cudaSuccess);
    EXPECT_EQ(arrived, 2);
  };
  std::thread other(rank, 1);
  rank(0);
  other.join();
}

TEST_F(CudaEmulationTest, StreamsOfAnotherDeviceAndDeadOnesAreRefused) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  EXPECT_EQ(emulation::DeviceOf(stream), 0);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(TryLaunch("NothingKernel", 1, 32, 0, stream, NothingKernel),
            cudaErrorInvalidResourceHandle);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(emulation::DeviceOf(stream), -1);
}

TEST_F(CudaEmulationDeathTest, AnOperationMustNotCallCuda) {
  EXPECT_DEATH(
      {
        emulation::Enqueue(nullptr, "callback", [] { cudaDeviceSynchronize(); });
        cudaDeviceSynchronize();
      },
      "cudaDeviceSynchronize is called by an operation \\(in callback\\)");
}

TEST_F(CudaEmulationTest, LaunchesBeyondTheLimitsAreRefused) {
  const auto launch = [](dim3 grid, dim3 block, size_t shared_bytes) {
    return TryLaunch("NothingKernel", grid, block, shared_bytes, nullptr, NothingKernel);
  };
  EXPECT_EQ(launch(1, 1024, 0), cudaSuccess);
  EXPECT_EQ(launch(1, 1025, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, dim3(64, 32, 1), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, dim3(1, 1, 64), 0), cudaSuccess);
  EXPECT_EQ(launch(1, dim3(1, 1, 65), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 0, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(0, 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(dim3(1, 65535, 1), 1, 0), cudaSuccess);
  EXPECT_EQ(launch(dim3(1, 65536, 1), 1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(dim3(1, 1, 65536), 1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(dim3(0x80000000u, 1, 1), 1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 32, 48 << 10), cudaSuccess);
  EXPECT_EQ(launch(1, 32, (48 << 10) + 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(CudaEmulationTest, LaunchesAndThreadsAreCounted) {
  emulation::ResetLaunches();
  for (int i = 0; i < 3; ++i) TryLaunch("NothingKernel", 5, 32, 0, nullptr, NothingKernel);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const auto launches = emulation::Launches();
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(launches.at("NothingKernel").launches, 3);
  EXPECT_EQ(launches.at("NothingKernel").threads, 3 * 5 * 32);
}

TEST_F(CudaEmulationDeathTest, LaunchesAreListedInAFileAtExit) {
  const std::string path = ::testing::TempDir() + "launches_" + std::to_string(seed_);
  emulation::ResetLaunches();
  EXPECT_EXIT(
      {
        setenv("WAVEFIELD_EMULATION_LAUNCHES", path.c_str(), 1);
        for (int i = 0; i < 2; ++i) TryLaunch("NothingKernel", 1, 32, 0, nullptr, NothingKernel);
        cudaDeviceSynchronize();
        exit(0);
      },
      ::testing::ExitedWithCode(0), "");
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), "NothingKernel 2\n");
  std::remove(path.c_str());
}

TEST_F(CudaEmulationTest, TheDeviceSaysWhatItIs) {
  int count = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 2);
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 1), cudaSuccess);
  EXPECT_STREQ(properties.name, "Emulated");
  EXPECT_EQ(properties.major, 9);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 2), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation");
}

}  // namespace
}  // namespace wavefield::cuda
