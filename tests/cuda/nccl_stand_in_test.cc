// The tests' stand-in for NCCL, with ranks as threads and as processes.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/backend/cuda/stream.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/cuda/device_vector.h"

namespace wavefield {
namespace {

using testing::DeviceVector;
using testing::FreshSeed;

constexpr int kDevices = 3;
const int devices_are_set =
    setenv("WAVEFIELD_EMULATED_DEVICES", std::to_string(kDevices).c_str(), 1);

ncclUniqueId NewId() {
  ncclUniqueId id;
  EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  return id;
}

// One rank, on the device of its number; aborted at the end unless it was closed.
class Rank {
 public:
  Rank(const ncclUniqueId& id, int size, int rank) {
    WF_CUDA(cudaSetDevice(rank % kDevices));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    EXPECT_EQ(ncclCommInitRankConfig(&handle_, size, id, rank, &config), ncclInProgress);
  }
  ~Rank() { Abort(); }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  ncclComm_t get() const { return handle_; }
  ncclResult_t State() const {
    ncclResult_t state = ncclInternalError;
    EXPECT_EQ(ncclCommGetAsyncError(handle_, &state), ncclSuccess);
    return state;
  }
  // Until it is ready or has failed.
  ncclResult_t Await() const {
    ncclResult_t state = State();
    while (state == ncclInProgress) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      state = State();
    }
    return state;
  }
  template <typename T>
  ncclResult_t AllReduce(const DeviceVector<T>& in, const DeviceVector<T>& out, size_t count,
                         cudaStream_t stream) const {
    const ncclResult_t result = ncclAllReduce(
        in.data(), out.data(), count, sizeof(T) == sizeof(double) ? ncclFloat64 : ncclFloat32,
        ncclSum, handle_, stream);
    return result == ncclInProgress ? Await() : result;
  }
  ncclResult_t Broadcast(const DeviceVector<float>& data, size_t count, int root,
                         cudaStream_t stream) const {
    const ncclResult_t result =
        ncclBroadcast(data.data(), data.data(), count, ncclFloat32, root, handle_, stream);
    return result == ncclInProgress ? Await() : result;
  }
  void Abort() {
    if (handle_ == nullptr) return;
    EXPECT_EQ(ncclCommAbort(std::exchange(handle_, nullptr)), ncclSuccess);
  }
  // With the others.
  void CloseInOrder() {
    EXPECT_EQ(ncclCommFinalize(handle_), ncclInProgress);
    EXPECT_EQ(Await(), ncclSuccess);
    EXPECT_EQ(ncclCommDestroy(handle_), ncclSuccess);
    handle_ = nullptr;
  }

 private:
  ncclComm_t handle_ = nullptr;
};

void RunAsThreads(int size, const std::function<void(int rank)>& body) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(body, rank);
  for (std::thread& thread : threads) thread.join();
}

template <typename T>
std::vector<T> Uniform(uint64_t seed, int rank, size_t n) {
  std::mt19937_64 random(seed + static_cast<uint64_t>(rank));
  std::uniform_real_distribution<T> uniform(-1, 1);
  std::vector<T> values(n);
  for (T& value : values) value = uniform(random);
  return values;
}

// In the order of ranks.
template <typename T>
std::vector<T> Sum(uint64_t seed, int size, size_t n) {
  std::vector<T> sum = Uniform<T>(seed, 0, n);
  for (int rank = 1; rank < size; ++rank) {
    const std::vector<T> more = Uniform<T>(seed, rank, n);
    for (size_t i = 0; i < n; ++i) sum[i] += more[i];
  }
  return sum;
}

// Everything that ranks do in a good life.
void ExpectCollectives(const ncclUniqueId& id, int size, int rank, uint64_t seed) {
  Rank self(id, size, rank);
  ASSERT_EQ(self.Await(), ncclSuccess);
  cuda::Stream stream;
  for (const size_t n : {size_t{1}, size_t{1000 + seed % 100}, size_t{300'000}}) {
    const DeviceVector<float> in(Uniform<float>(seed, rank, n));
    const DeviceVector<float> out(std::vector<float>(n + 1, 7));
    ASSERT_EQ(self.AllReduce(in, out, n, stream), ncclSuccess);
    ASSERT_EQ(self.AllReduce(in, in, n, stream), ncclSuccess);
    std::vector<float> expected = Sum<float>(seed, size, n);
    EXPECT_EQ(in.Values(), expected);
    expected.push_back(7);
    EXPECT_EQ(out.Values(), expected);
  }
  const DeviceVector<double> doubles(Uniform<double>(seed, rank, 100));
  ASSERT_EQ(self.AllReduce(doubles, doubles, 100, stream), ncclSuccess);
  EXPECT_EQ(doubles.Values(), Sum<double>(seed, size, 100));
  for (int root = 0; root < size; ++root) {
    const DeviceVector<float> data(Uniform<float>(seed, rank, 500));
    ASSERT_EQ(self.Broadcast(data, 500, root, stream), ncclSuccess);
    EXPECT_EQ(data.Values(), Uniform<float>(seed, root, 500));
  }
  int count = 0, number = -1;
  EXPECT_EQ(ncclCommCount(self.get(), &count), ncclSuccess);
  EXPECT_EQ(ncclCommUserRank(self.get(), &number), ncclSuccess);
  EXPECT_EQ(count, size);
  EXPECT_EQ(number, rank);
  self.CloseInOrder();
}

TEST(NcclStandIn, RanksAsThreadsAgree) {
  const uint64_t seed = FreshSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (const int size : {1, 2, 3}) {
    const ncclUniqueId id = NewId();
    RunAsThreads(size, [&](int rank) { ExpectCollectives(id, size, rank, seed); });
  }
}

// Runs `body` in a process of its own, which succeeds unless an expectation fails there.
pid_t Fork(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  return child;
}

TEST(NcclStandIn, RanksAsProcessesAgree) {
  const uint64_t seed = FreshSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (const int size : {2, 3}) {
    const ncclUniqueId id = NewId();
    std::vector<pid_t> children;
    for (int rank = 1; rank < size; ++rank) {
      children.push_back(Fork([&] { ExpectCollectives(id, size, rank, seed); }));
    }
    ExpectCollectives(id, size, 0, seed);
    for (const pid_t child : children) {
      int status = -1;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0);
    }
  }
}

TEST(NcclStandIn, AbortByAnotherThreadEndsACollective) {
  const ncclUniqueId id = NewId();
  RunAsThreads(2, [&](int rank) {
    Rank self(id, 2, rank);
    ASSERT_EQ(self.Await(), ncclSuccess);
    if (rank == 1) {  // never comes to the collective
      while (self.State() == ncclSuccess) std::this_thread::yield();
      EXPECT_EQ(self.State(), ncclRemoteError);
      return;
    }
    cuda::Stream stream;
    const DeviceVector<float> data(std::vector<float>(1000, 1));
    ASSERT_EQ(self.AllReduce(data, data, 1000, stream), ncclSuccess);
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      ncclResult_t state = ncclInternalError;
      EXPECT_EQ(ncclCommGetAsyncError(self.get(), &state), ncclSuccess);
      EXPECT_EQ(state, ncclSuccess) << "a collective that waits is no failure";
      EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
      self.Abort();
    });
    stream.Synchronize();
    other.join();
    EXPECT_EQ(data.Values(), std::vector<float>(1000, 1));
  });
}

TEST(NcclStandIn, ADeadPeerIsARemoteErrorAndOnlyAnAbortEndsTheCollective) {
  const ncclUniqueId id = NewId();
  int joined[2];
  ASSERT_EQ(pipe(joined), 0);
  const pid_t child = Fork([&] {
    const Rank self(id, 2, 1);
    if (self.Await() != ncclSuccess || write(joined[1], "j", 1) != 1) _exit(1);
    for (;;) pause();
  });
  Rank self(id, 2, 0);
  ASSERT_EQ(self.Await(), ncclSuccess);
  cuda::Stream stream;
  const DeviceVector<float> data(std::vector<float>(1000, 1));
  ASSERT_EQ(self.AllReduce(data, data, 1000, stream), ncclSuccess);
  char byte;
  ASSERT_EQ(read(joined[0], &byte, 1), 1);
  EXPECT_EQ(self.State(), ncclSuccess);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  while (self.State() == ncclSuccess) std::this_thread::yield();
  EXPECT_EQ(self.State(), ncclRemoteError);
  EXPECT_STREQ(ncclGetLastError(self.get()), "rank 1 is gone");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
  EXPECT_EQ(self.AllReduce(data, data, 1000, stream), ncclRemoteError);
  self.Abort();
  stream.Synchronize();
  close(joined[0]);
  close(joined[1]);
}

TEST(NcclStandIn, ADeathReachesEveryRank) {
  const ncclUniqueId id = NewId();
  RunAsThreads(3, [&](int rank) {
    Rank self(id, 3, rank);
    ASSERT_EQ(self.Await(), ncclSuccess);
    if (rank == 2) return;
    while (self.State() == ncclSuccess) std::this_thread::yield();
    EXPECT_EQ(self.State(), ncclRemoteError);
  });
}

TEST(NcclStandIn, RanksThatCallDifferentThingsAreToldSo) {
  const ncclUniqueId id = NewId();
  RunAsThreads(2, [&](int rank) {
    Rank self(id, 2, rank);
    ASSERT_EQ(self.Await(), ncclSuccess);
    cuda::Stream stream;
    const DeviceVector<float> data(std::vector<float>(10, 1));
    ASSERT_EQ(self.AllReduce(data, data, rank == 0 ? 10 : 9, stream), ncclSuccess);
    while (self.State() == ncclSuccess) EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
    EXPECT_EQ(self.State(), rank == 0 ? ncclInvalidUsage : ncclRemoteError);
    self.Abort();
  });
}

TEST(NcclStandIn, TwoRanksOfAProcessNeedTwoDevices) {
  const ncclUniqueId id = NewId();
  RunAsThreads(2, [&](int rank) {
    WF_CUDA(cudaSetDevice(0));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclComm_t handle = nullptr;
    EXPECT_EQ(ncclCommInitRankConfig(&handle, 2, id, rank, &config),
              rank == 0 ? ncclInvalidUsage : ncclRemoteError);
    EXPECT_EQ(ncclCommAbort(handle), ncclSuccess);
  });
}

TEST(NcclStandIn, RefusesWhatIsWrong) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  ncclComm_t handle = nullptr;
  const ncclUniqueId id = NewId();
  WF_CUDA(cudaSetDevice(0));
  EXPECT_EQ(ncclCommInitRankConfig(&handle, 0, id, 0, &config), ncclInvalidArgument);
  EXPECT_EQ(ncclCommInitRankConfig(&handle, 2, id, 2, &config), ncclInvalidArgument);
  EXPECT_EQ(ncclCommInitRankConfig(&handle, 1, ncclUniqueId{}, 0, &config), ncclInvalidArgument);
  ncclConfig_t bare{};
  EXPECT_EQ(ncclCommInitRankConfig(&handle, 1, id, 0, &bare), ncclInvalidArgument);
  EXPECT_EQ(ncclCommAbort(handle), ncclInvalidArgument);

  Rank self(id, 1, 0);
  EXPECT_EQ(ncclCommInitRankConfig(&handle, 1, id, 0, &config), ncclInvalidUsage) << "used twice";
  cuda::Stream stream;
  const DeviceVector<float> data(std::vector<float>(10, 1));
  const auto reduce = [&](const void* in, void* out, size_t count, ncclDataType_t type,
                          ncclRedOp_t reduction, cudaStream_t on) {
    return ncclAllReduce(in, out, count, type, reduction, self.get(), on);
  };
  float* const x = data.data();
  EXPECT_EQ(reduce(x, x, 10, ncclFloat32, ncclSum, stream), ncclInvalidArgument)
      << "not yet joined";
  ASSERT_EQ(self.Await(), ncclSuccess);
  EXPECT_EQ(reduce(x, x, 11, ncclFloat32, ncclSum, stream), ncclInvalidArgument) << "too long";
  EXPECT_EQ(reduce(x, x + 1, 5, ncclFloat32, ncclSum, stream), ncclInvalidArgument) << "overlap";
  EXPECT_EQ(reduce(x, x, 5, ncclFloat32, ncclMax, stream), ncclInvalidArgument);
  EXPECT_EQ(reduce(x, x, 5, ncclInt32, ncclSum, stream), ncclInvalidArgument);
  EXPECT_EQ(reduce(x + 1, x + 1, 2, ncclFloat64, ncclSum, stream), ncclInvalidArgument)
      << "misaligned";
  std::vector<float> host(10);
  EXPECT_EQ(reduce(host.data(), host.data(), 10, ncclFloat32, ncclSum, stream),
            ncclInvalidArgument);
  EXPECT_EQ(ncclBroadcast(x, x, 10, ncclFloat32, 1, self.get(), stream), ncclInvalidArgument);
  WF_CUDA(cudaSetDevice(1));
  {
    cuda::Stream other;
    EXPECT_EQ(reduce(x, x, 10, ncclFloat32, ncclSum, other), ncclInvalidArgument);
  }
  WF_CUDA(cudaSetDevice(0));
  EXPECT_EQ(reduce(x, x, 10, ncclFloat32, ncclSum, stream), ncclInProgress);
  EXPECT_EQ(reduce(x, x, 10, ncclFloat32, ncclSum, stream), ncclInvalidArgument) << "not yet taken";
  EXPECT_EQ(self.Await(), ncclSuccess);
  stream.Synchronize();
}

}  // namespace
}  // namespace wavefield
