#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace wavefield::coordinator {

// Runs work that may block, away from gRPC's threads: at most `max_threads` at a time (made when
// needed), at most `max_queued` waiting. Thread-safe.
class Executor {
 public:
  Executor(size_t max_threads, size_t max_queued)
      : max_threads_(max_threads), max_queued_(max_queued) {}
  // Waits for what runs; what is queued still runs.
  ~Executor() { Drain(); }

  // False, without taking the work, when too much is waiting.
  bool TryRun(std::function<void()> work);
  // Takes nothing any more, and waits until all is done.
  void Drain();

  size_t max_threads() const { return max_threads_; }

 private:
  void Loop();

  const size_t max_threads_;
  const size_t max_queued_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool draining_ = false;
};

}  // namespace wavefield::coordinator
