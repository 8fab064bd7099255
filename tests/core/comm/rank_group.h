#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/comm/communicator.h"

namespace wavefield {

using RankGroup = std::vector<std::unique_ptr<Communicator>>;

// Rendezvous of threads.
class MemoryRendezvousStore final : public RendezvousStore {
 public:
  absl::Status Set(const std::string& key, const std::string& value) override {
    const std::lock_guard lock(mutex_);
    values_[key] = value;
    changed_.notify_all();
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Duration timeout) override {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, absl::ToChronoMilliseconds(timeout),
                           [&] { return values_.contains(key); })) {
      return absl::DeadlineExceededError("key '" + key + "' did not appear");
    }
    return values_[key];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
};

// Calls `work(rank)` on one thread for each rank.
inline void OnEveryRank(int world_size, const std::function<void(int rank)>& work) {
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < world_size; ++rank) threads.emplace_back(work, rank);
}

inline RankGroup MakeGlooGroup(int world_size,
                               absl::Duration operation_timeout = absl::Minutes(5)) {
  RankGroup group(static_cast<size_t>(world_size));
  MemoryRendezvousStore store;
  OnEveryRank(world_size, [&](int rank) {
    auto made = MakeGlooCommunicator({.rank = rank,
                                      .world_size = world_size,
                                      .connect_timeout = absl::Seconds(20),
                                      .operation_timeout = operation_timeout,
                                      .cancel = {}},
                                     store);
    ASSERT_TRUE(made.ok()) << made.status();
    group[static_cast<size_t>(rank)] = *std::move(made);
  });
  return group;
}

// Thread-safe.
class Stopwatch {
 public:
  Stopwatch() { Restart(); }
  void Restart() { start_ = Now(); }
  absl::Duration Elapsed() const { return absl::Nanoseconds(Now() - start_); }

 private:
  static int64_t Now() { return absl::ToInt64Nanoseconds(Clock::Real().Monotonic()); }
  std::atomic<int64_t> start_;
};

// An abort takes about a millisecond, on a machine that is busy elsewhere longer; the timeouts that
// it must not wait out are minutes.
inline constexpr absl::Duration kWakeLimit = absl::Seconds(5);

}  // namespace wavefield
