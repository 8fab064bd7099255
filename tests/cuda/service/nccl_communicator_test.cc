// The communicator for memory of devices, with ranks as threads on emulated ones.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "absl/time/clock.h"
#include "core/backend/cuda/stream.h"
#include "core/comm/nccl.h"
#include "tests/core/comm/rank_group.h"
#include "tests/cuda/device_vector.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;
using DeviceFloats = wavefield::testing::DeviceVector<float>;
using DeviceDoubles = wavefield::testing::DeviceVector<double>;

const int devices_are_set = setenv("WAVEFIELD_EMULATED_DEVICES", "3", 1);
// An abort is seen within milliseconds, and the timeouts that it must not wait out are minutes.
constexpr absl::Duration kSoon = absl::Seconds(5);

std::span<float> All(const DeviceFloats& data, size_t size) { return {data.data(), size}; }

std::vector<float> RandomFloats(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

// One rank on the device of its number, and what computes there.
struct Rank {
  Rank(NcclOptions options, RendezvousStore& store) {
    auto made = MakeNcclCommunicator(options, store, static_cast<cudaStream_t>(compute));
    EXPECT_TRUE(made.ok()) << made.status();
    if (made.ok()) communicator = *std::move(made);
  }
  cuda::Stream compute;
  std::unique_ptr<Communicator> communicator;
};

// Runs `body(rank)` for each rank of a group, on threads of their own.
void InGroup(int world_size, const std::function<void(Rank&)>& body,
             absl::Duration operation_timeout = absl::Minutes(5)) {
  MemoryRendezvousStore store;
  OnEveryRank(world_size, [&](int rank) {
    WF_CUDA(cudaSetDevice(rank));
    Rank self({.rank = rank,
               .world_size = world_size,
               .connect_timeout = absl::Minutes(1),
               .operation_timeout = operation_timeout,
               .cancel = {}},
              store);
    if (self.communicator != nullptr) body(self);
  });
}

class NcclCommunicator : public ::testing::TestWithParam<int> {};

TEST_P(NcclCommunicator, SumsAndCopiesDeviceMemory) {
  constexpr size_t kSize = 1003;
  InGroup(GetParam(), [](Rank& self) {
    Communicator& c = *self.communicator;
    const int n = c.world_size();
    std::vector<float> floats(kSize);
    std::vector<double> doubles(kSize);
    for (size_t i = 0; i < kSize; ++i) {
      floats[i] = static_cast<float>((c.rank() + 1) * static_cast<int>(i % 97));
      doubles[i] = 0.5 * floats[i];
    }
    const DeviceFloats sum(floats);
    const DeviceDoubles double_sum(doubles);
    ASSERT_TRUE(c.AllReduceSum(All(sum, kSize)).ok());
    ASSERT_TRUE(c.AllReduceSum(std::span<double>(double_sum.data(), kSize)).ok());
    ASSERT_TRUE(c.Barrier().ok());
    const auto sums = sum.Values();
    const auto double_sums = double_sum.Values();
    for (size_t i = 0; i < kSize; ++i) {
      const int expected = n * (n + 1) / 2 * static_cast<int>(i % 97);
      ASSERT_EQ(sums[i], static_cast<float>(expected)) << i;
      ASSERT_EQ(double_sums[i], 0.5 * expected) << i;
    }
    for (int root = 0; root < n; ++root) {
      const DeviceFloats copy(std::vector<float>(kSize, static_cast<float>(c.rank() + 7)));
      ASSERT_TRUE(c.Broadcast(All(copy, kSize), root).ok());
      EXPECT_EQ(copy.Values(), std::vector<float>(kSize, static_cast<float>(root + 7)));
    }
  });
}

TEST_P(NcclCommunicator, ReducesBucketsThatTheComputeStreamStillWrites) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr size_t kBucket = 4096, kBuckets = 5;
  const int n = GetParam();
  std::vector<std::vector<float>> inputs, results(static_cast<size_t>(n));
  for (int rank = 0; rank < n; ++rank) {
    inputs.push_back(RandomFloats(seed + static_cast<uint64_t>(rank), kBucket * kBuckets));
  }
  InGroup(n, [&](Rank& self) {
    const auto rank = static_cast<size_t>(self.communicator->rank());
    const DeviceFloats data(std::vector<float>(kBucket * kBuckets));
    for (size_t i = 0; i < kBuckets; ++i) {
      float* const bucket = data.data() + i * kBucket;
      WF_CUDA(cudaMemcpyAsync(bucket, inputs[rank].data() + i * kBucket, kBucket * sizeof(float),
                              cudaMemcpyHostToDevice, self.compute));
      ASSERT_TRUE(self.communicator->BeginAllReduceSum({bucket, kBucket}).ok());
    }
    ASSERT_TRUE(self.communicator->Finish().ok());
    self.compute.Synchronize();
    results[rank] = data.Values();
  });
  for (size_t i = 0; i < kBucket * kBuckets; ++i) {
    double sum = 0;
    for (const auto& input : inputs) sum += input[i];
    ASSERT_NEAR(results[0][i], sum, 1e-5) << i;
  }
  for (const auto& result : results) EXPECT_EQ(result, results[0]) << "the same bits";
}

// 1 to 3, and all devices.
std::set<int> WorldSizes() {
  int devices = 0;
  WF_CUDA(cudaGetDeviceCount(&devices));
  std::set<int> sizes = {1, 2, 3, devices};
  std::erase_if(sizes, [&](int size) { return size > devices; });
  return sizes;
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, NcclCommunicator, ::testing::ValuesIn(WorldSizes()),
                         ::testing::PrintToStringParamName());

TEST(NcclCommunicatorFailure, AbortWakesAPendingCollectiveAndTheFirstReasonStays) {
  std::atomic<bool> over = false;
  InGroup(2, [&](Rank& self) {
    if (self.communicator->rank() == 1) {  // never comes
      while (!over) absl::SleepFor(absl::Milliseconds(1));
      self.communicator->Abort("the test is over");
      return;
    }
    const DeviceFloats data(std::vector<float>(1000, 1));
    Stopwatch since_abort;
    std::jthread aborter([&] {
      absl::SleepFor(absl::Milliseconds(50));
      since_abort.Restart();
      self.communicator->Abort("rank 1 was lost");
    });
    for (int i = 0; i < 3; ++i) {
      const absl::Status status = self.communicator->AllReduceSum(All(data, 1000));
      EXPECT_TRUE(absl::IsAborted(status)) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 was lost"));
      self.communicator->Abort("another reason");
    }
    EXPECT_LT(since_abort.Elapsed(), kSoon);
    over = true;
  });
}

TEST(NcclCommunicatorFailure, AnAbortBetweenBeginAndFinishEndsWhatWaitsForThePeer) {
  std::atomic<bool> over = false;
  InGroup(2, [&](Rank& self) {
    if (self.communicator->rank() == 1) {
      while (!over) absl::SleepFor(absl::Milliseconds(1));
      self.communicator->Abort("the test is over");
      return;
    }
    const Stopwatch watch;
    {
      const DeviceFloats data(std::vector<float>(1000, 1));
      ASSERT_TRUE(self.communicator->BeginAllReduceSum(All(data, 1000)).ok());
      self.communicator->Abort("rank 1 was lost");
      EXPECT_TRUE(absl::IsAborted(self.communicator->Finish()));
    }  // giving memory back waits for the whole device
    EXPECT_LT(watch.Elapsed(), kSoon);
    over = true;
  });
}

TEST(NcclCommunicatorFailure, ACollectiveThatAPeerDoesNotJoinEndsAtTheTimeout) {
  std::atomic<bool> over = false;
  InGroup(
      2,
      [&](Rank& self) {
        if (self.communicator->rank() == 1) {
          while (!over) absl::SleepFor(absl::Milliseconds(1));
          self.communicator->Abort("the test is over");
          return;
        }
        const absl::Status status = self.communicator->Barrier();
        EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
        EXPECT_THAT(std::string(status.message()), HasSubstr("operation_timeout"));
        over = true;
      },
      absl::Milliseconds(100));
}

TEST(NcclCommunicatorFailure, ConnectingEndsAtTheTimeoutOrWhenItIsCancelled) {
  WF_CUDA(cudaSetDevice(0));
  cuda::Stream compute;
  NcclOptions options{.rank = 0, .world_size = 2, .connect_timeout = absl::Milliseconds(100)};
  {
    MemoryRendezvousStore store;
    const auto late = MakeNcclCommunicator(options, store, static_cast<cudaStream_t>(compute));
    EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();
    EXPECT_THAT(std::string(late.status().message()), HasSubstr("connect_timeout"));
  }
  std::stop_source cancel;
  options.connect_timeout = absl::Minutes(5);
  options.cancel = cancel.get_token();
  std::jthread canceller([&] {
    absl::SleepFor(absl::Milliseconds(50));
    cancel.request_stop();
  });
  MemoryRendezvousStore store;
  const Stopwatch watch;
  const auto cancelled = MakeNcclCommunicator(options, store, static_cast<cudaStream_t>(compute));
  EXPECT_TRUE(absl::IsAborted(cancelled.status())) << cancelled.status();
  EXPECT_LT(watch.Elapsed(), kSoon);
}

TEST(NcclCommunicatorFailure, AnIdOfAnotherVersionIsRefused) {
  WF_CUDA(cudaSetDevice(0));
  cuda::Stream compute;
  MemoryRendezvousStore store;
  ASSERT_TRUE(store.Set("nccl/id", "short").ok());
  const auto made =
      MakeNcclCommunicator({.rank = 1, .world_size = 2}, store, static_cast<cudaStream_t>(compute));
  EXPECT_TRUE(absl::IsFailedPrecondition(made.status()));
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("an NCCL id of 5 bytes"));
}

}  // namespace
}  // namespace wavefield
