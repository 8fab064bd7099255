#include "cli/terminal.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace wavefield {
namespace {

char g_notice[402];
std::atomic<size_t> g_notice_length{0};

// Async-signal-safe calls only.
void EndOnSignal(int signal) {
  if (isatty(STDERR_FILENO)) (void)!write(STDERR_FILENO, "\n", 1);
  (void)!write(STDERR_FILENO, g_notice, g_notice_length.load());
  _exit(128 + signal);
}

}  // namespace

bool IsTerminal(std::FILE* stream) { return isatty(fileno(stream)) == 1; }

int TerminalWidth(std::FILE* stream) {
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void EndCleanlyOnInterrupt() {
  struct sigaction action {};
  action.sa_handler = EndOnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void SetInterruptNotice(const std::string& notice) {
  const size_t length = std::min(notice.size(), sizeof(g_notice) - 2);
  g_notice_length = 0;
  std::memcpy(g_notice, notice.data(), length);
  g_notice[length] = '\n';
  g_notice_length = length + 1;
}

}  // namespace wavefield
