#pragma once

#include <string>
#include <vector>

namespace wavefield {

// The terminal behind stdout as one page that is drawn over and over; what was on it before comes
// back at the end, also when an interrupt ends the program (EndCleanlyOnInterrupt()), and while it
// is stopped (Ctrl-Z). One at a time. Not thread-safe.
class LiveScreen {
 public:
  LiveScreen();
  ~LiveScreen();
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;

  // Draws as many lines as there are rows, in one write; nothing where the screen shows them
  // already.
  void Draw(const std::vector<std::string>& lines);

 private:
  std::string shown_;
};

}  // namespace wavefield
