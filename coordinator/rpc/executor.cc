#include "coordinator/rpc/executor.h"

namespace wavefield::coordinator {

bool Executor::TryRun(std::function<void()> work) {
  std::lock_guard lock(mutex_);
  if (draining_) return false;
  const bool idle_thread = queue_.size() < idle_;
  if (!idle_thread && threads_.size() >= max_threads_ && queue_.size() >= max_queued_ + idle_) {
    return false;
  }
  queue_.push_back(std::move(work));
  if (!idle_thread && threads_.size() < max_threads_) {
    threads_.emplace_back([this] { Loop(); });
  } else {
    work_.notify_one();
  }
  return true;
}

void Executor::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (queue_.empty()) {
      if (draining_) return;
      ++idle_;
      work_.wait(lock, [&] { return draining_ || !queue_.empty(); });
      --idle_;
      continue;
    }
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

void Executor::Drain() {
  std::vector<std::thread> threads;
  {
    std::lock_guard lock(mutex_);
    draining_ = true;
    threads.swap(threads_);
  }
  work_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace wavefield::coordinator
