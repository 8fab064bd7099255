#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace wavefield {

// While it lives, SIGINT, SIGTERM and SIGHUP end the program after `cleanup` has run, on a thread
// of the guard's own; a closed pipe on stdout does not. Make it before other threads are started.
// One at a time.
class InterruptGuard {
 public:
  explicit InterruptGuard(std::function<void(int signal)> cleanup);
  ~InterruptGuard();

  // Where a failure may come from the clean-up that is under way: does not return then.
  void AwaitEndIfInterrupted() const;

 private:
  void Watch();

  const std::function<void(int)> cleanup_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> interrupted_{false};
  std::thread watcher_;
};

}  // namespace wavefield
