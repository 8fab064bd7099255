#include "cli/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace wavefield {
namespace {

char g_notice[402];
std::atomic<size_t> g_notice_length{0};
std::atomic<const char*> g_restoration{nullptr};
std::atomic_flag g_writing;

void BeginWriting() {
  while (g_writing.test_and_set(std::memory_order_acquire)) poll(nullptr, 0, 1);
}
void EndWriting() { g_writing.clear(std::memory_order_release); }

sigset_t Interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&signals, signal);
  return signals;
}

// Async-signal-safe calls only.
void EndOnSignal(int signal) {
  BeginWriting();
  if (const char* sequence = g_restoration.load()) {
    (void)!write(STDOUT_FILENO, sequence, std::strlen(sequence));
  }
  if (isatty(STDERR_FILENO)) (void)!write(STDERR_FILENO, "\n", 1);
  (void)!write(STDERR_FILENO, g_notice, g_notice_length.load());
  _exit(128 + signal);
}

std::string EnvironmentOr(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

std::optional<int> TerminalSize(std::FILE* stream, const char* variable,
                                unsigned short winsize::*member) {
  int columns = 0;
  if (absl::SimpleAtoi(EnvironmentOr(variable, ""), &columns) && columns > 0 && columns < 10000) {
    return columns;
  }
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.*member == 0) return std::nullopt;
  return size.*member;
}

}  // namespace

bool IsTerminal(std::FILE* stream) { return isatty(fileno(stream)) == 1; }

int TerminalWidth(std::FILE* stream) {
  return TerminalSize(stream, "COLUMNS", &winsize::ws_col).value_or(80);
}

int TerminalHeight(std::FILE* stream) {
  return TerminalSize(stream, "LINES", &winsize::ws_row).value_or(24);
}

bool TerminalHasCursor() {
  const std::string terminal = EnvironmentOr("TERM", "dumb");
  return terminal != "dumb";
}

bool LocaleIsUtf8() {
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (locale.empty()) locale = absl::AsciiStrToLower(EnvironmentOr(name, ""));
  }
  return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
}

void EndCleanlyOnInterrupt() {
  struct sigaction action {};
  action.sa_handler = EndOnSignal;
  action.sa_mask = Interrupts();  // a second one in this thread would wait for the first
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

void SetTerminalRestoration(const char* sequence) { g_restoration = sequence; }

void WriteToTerminal(const std::string& text) {
  // An interrupt of this thread would wait for it.
  const sigset_t interrupts = Interrupts();
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &interrupts, &before);
  BeginWriting();
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  EndWriting();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace wavefield
