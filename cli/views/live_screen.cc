#include "cli/views/live_screen.h"

#include <cstdio>

#include "cli/views/terminal.h"

namespace wavefield {
namespace {

// The alternate screen, without cursor and without wrapping of lines that are too long.
constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l\x1b[?7l";
constexpr char kLeave[] = "\x1b[?7h\x1b[?25h\x1b[?1049l";

}  // namespace

LiveScreen::LiveScreen() {
  SetTerminalRestoration(kLeave, kEnter);
  WriteToTerminal(kEnter);
}

LiveScreen::~LiveScreen() {
  WriteToTerminal(kLeave);
  SetTerminalRestoration(nullptr);
}

void LiveScreen::Draw(const std::vector<std::string>& lines) {
  std::string page = "\x1b[H";
  const auto rows = static_cast<size_t>(TerminalHeight(stdout));
  for (size_t i = 0; i < lines.size() && i < rows; ++i) {
    if (i > 0) page += "\r\n";
    page += lines[i] + "\x1b[K";
  }
  page += "\x1b[J";
  if (!TakeRedrawRequest() && page == shown_) return;
  WriteToTerminal(page);
  shown_ = std::move(page);
}

}  // namespace wavefield
