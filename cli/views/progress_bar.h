#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/time/time.h"

namespace wavefield {

// "[#####-----]" of `width` characters in all; `fraction` is clamped to 0 … 1.
std::string RenderBar(double fraction, int width);

// One line at the bottom of a terminal that is drawn again and again. Where `stream` is not a
// terminal it draws nothing. Not thread-safe.
class ProgressBar {
 public:
  explicit ProgressBar(std::FILE* stream);
  ~ProgressBar() { Clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // True on a terminal.
  bool live() const { return live_; }
  // Draws the text, cut to the terminal's width, and the bar in what room it leaves; a negative
  // fraction leaves the bar out. Calls less than 50 ms after the last drawing are dropped.
  void Draw(double fraction, const std::string& text);
  // Draws "3.0 MiB of 7.5 MiB", after `prefix`.
  void DrawBytes(int64_t done, int64_t total, const std::string& prefix = "");
  // Takes the line away, so that other output can follow; the next Draw() draws at once.
  void Clear();

 private:
  std::FILE* stream_;
  bool live_;
  bool drawn_ = false;
  absl::Duration last_draw_ = -absl::InfiniteDuration();
};

}  // namespace wavefield
