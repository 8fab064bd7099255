#include "cli/views/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "cli/environment.h"

namespace wavefield {
namespace {

char g_notice[402];
std::atomic<size_t> g_notice_length{0};
std::atomic<const char*> g_restoration{nullptr};
std::atomic<const char*> g_reentry{nullptr};
std::atomic<bool> g_redraw{false};
std::atomic_flag g_writing;

void BeginWriting() {
  while (g_writing.test_and_set(std::memory_order_acquire)) poll(nullptr, 0, 1);
}
void EndWriting() { g_writing.clear(std::memory_order_release); }

sigset_t Interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGTSTP}) sigaddset(&signals, signal);
  return signals;
}

// Async-signal-safe calls only, here and below.
void Write(const char* sequence) {
  if (sequence != nullptr) (void)!write(STDOUT_FILENO, sequence, std::strlen(sequence));
}

void EndOnSignal(int signal) {
  BeginWriting();
  Write(g_restoration);
  if (isatty(STDERR_FILENO)) (void)!write(STDERR_FILENO, "\n", 1);
  (void)!write(STDERR_FILENO, g_notice, g_notice_length.load());
  _exit(128 + signal);
}

void StopOnSignal(int signal);

void SetStopHandler(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_mask = Interrupts();
  action.sa_flags = SA_RESTART;
  sigaction(SIGTSTP, &action, nullptr);
}

// Stops as if there were no handler, with the terminal given back meanwhile; nothing is drawn until
// the program goes on.
void StopOnSignal(int signal) {
  BeginWriting();
  const char* const reentry = g_reentry;
  if (reentry != nullptr) Write(g_restoration);
  SetStopHandler(SIG_DFL);
  raise(signal);
  sigset_t stop, before;
  sigemptyset(&stop);
  sigaddset(&stop, signal);
  pthread_sigmask(SIG_UNBLOCK, &stop, &before);  // it stops here
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  SetStopHandler(StopOnSignal);
  Write(reentry);
  g_redraw = true;
  EndWriting();
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

bool TerminalWantsColors(std::FILE* stream) {
  return IsTerminal(stream) && TerminalHasCursor() && EnvironmentOr("NO_COLOR", "").empty();
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

void SetTerminalRestoration(const char* sequence, const char* reentry) {
  g_reentry = nullptr;
  g_restoration = sequence;
  g_reentry = reentry;
  if (reentry == nullptr) return;
  struct sigaction now {};
  sigaction(SIGTSTP, nullptr, &now);
  // Who started this program may have it ignored.
  if (now.sa_handler == SIG_DFL) SetStopHandler(StopOnSignal);
}

bool TakeRedrawRequest() { return g_redraw.exchange(false); }

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
