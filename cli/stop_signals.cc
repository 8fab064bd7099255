#include "cli/stop_signals.h"

#include <signal.h>

namespace wavefield {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

bool StopSignals::Wait(absl::Duration timeout) {
  const sigset_t signals = Signals();
  const timespec limit = absl::ToTimespec(timeout);
  return sigtimedwait(&signals, nullptr, &limit) > 0;
}

}  // namespace wavefield
