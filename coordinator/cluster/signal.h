#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/time/time.h"

namespace wavefield::coordinator {

// "Something may have changed": look, then wait for what came after the look. Thread-safe.
class Signal {
 public:
  uint64_t version() const {
    std::lock_guard lock(mutex_);
    return version_;
  }
  void Notify() {
    {
      std::lock_guard lock(mutex_);
      ++version_;
    }
    changed_.notify_all();
  }
  // Returns when the version is another than `seen`, or after `timeout`.
  void WaitPast(uint64_t seen, absl::Duration timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, absl::ToChronoMilliseconds(timeout), [&] { return version_ != seen; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t version_ = 0;
};

// Signals by name ("jobs/a", "workers/b"); one exists as long as somebody holds it. Thread-safe.
class SignalTable {
 public:
  std::shared_ptr<Signal> Get(const std::string& name) {
    std::lock_guard lock(mutex_);
    std::weak_ptr<Signal>& entry = signals_[name];
    std::shared_ptr<Signal> signal = entry.lock();
    if (signal == nullptr) {
      std::erase_if(signals_, [](const auto& other) { return other.second.expired(); });
      signal = std::make_shared<Signal>();
      signals_[name] = signal;
    }
    return signal;
  }
  void Notify(const std::string& name) {
    std::shared_ptr<Signal> signal;
    {
      std::lock_guard lock(mutex_);
      const auto entry = signals_.find(name);
      if (entry != signals_.end()) signal = entry->second.lock();
    }
    if (signal != nullptr) signal->Notify();
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Signal>> signals_;
};

}  // namespace wavefield::coordinator
