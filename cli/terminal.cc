#include "cli/terminal.h"

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

// Async-signal-safe calls only.
void EndOnSignal(int signal) {
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

}  // namespace wavefield
