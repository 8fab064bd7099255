#include "cli/views/progress_bar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/views/format.h"
#include "cli/views/terminal.h"
#include "core/base/clock.h"

namespace wavefield {
namespace {

constexpr int kMinBar = 8;
constexpr int kMaxBar = 32;

}  // namespace

std::string RenderBar(double fraction, int width) {
  const int inner = std::max(1, width - 2);
  if (!(fraction > 0)) fraction = 0;
  const int filled = static_cast<int>(std::lround(std::min(fraction, 1.0) * inner));
  return "[" + std::string(static_cast<size_t>(filled), '#') +
         std::string(static_cast<size_t>(inner - filled), '-') + "]";
}

ProgressBar::ProgressBar(std::FILE* stream) : stream_(stream), live_(IsTerminal(stream)) {}

void ProgressBar::Draw(double fraction, const std::string& text) {
  const absl::Duration now = Clock::Real().Monotonic();
  if (!live_ || now - last_draw_ < absl::Milliseconds(50)) return;
  last_draw_ = now;
  drawn_ = true;
  const int columns = TerminalWidth(stream_) - 1;
  std::string line = text;
  const int room = columns - static_cast<int>(text.size()) - 1;
  if (fraction >= 0 && room >= kMinBar) {
    line = RenderBar(fraction, std::min(room, kMaxBar)) + " " + text;
  }
  line = line.substr(0, static_cast<size_t>(std::max(columns, 0)));
  std::fprintf(stream_, "\r%s\x1b[K", line.c_str());
  std::fflush(stream_);
}

void ProgressBar::DrawBytes(int64_t done, int64_t total, const std::string& prefix) {
  const auto part = static_cast<double>(done), whole = static_cast<double>(total);
  Draw(total > 0 ? part / whole : 1,
       fmt::format("{}{} of {}", prefix, FormatBytes(part), FormatBytes(whole)));
}

void ProgressBar::Clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stream_);
  std::fflush(stream_);
  drawn_ = false;
  last_draw_ = -absl::InfiniteDuration();
}

}  // namespace wavefield
