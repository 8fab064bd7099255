#include "core/data/tokenizer/interrupt_guard.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <utility>

namespace wavefield {
namespace {

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

InterruptGuard::InterruptGuard(std::function<void(int)> cleanup) : cleanup_(std::move(cleanup)) {
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  watcher_ = std::thread([this] { Watch(); });
}

InterruptGuard::~InterruptGuard() {
  stopping_ = true;
  watcher_.join();
}

void InterruptGuard::AwaitEndIfInterrupted() const {
  while (interrupted_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

void InterruptGuard::Watch() {
  const sigset_t signals = HandledSignals();
  while (!stopping_) {
    const timespec timeout = {.tv_sec = 0, .tv_nsec = 20'000'000};
    const int signal = sigtimedwait(&signals, nullptr, &timeout);
    if (signal < 0) continue;
    interrupted_ = true;
    cleanup_(signal);
    ::_exit(128 + signal);
  }
}

}  // namespace wavefield
