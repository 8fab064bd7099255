#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cli/views/live_screen.h"
#include "cli/views/live_view.h"

namespace wavefield {

// Shows one job on the terminal behind stdout, drawn by a thread of its own, so that times go on
// while nothing comes. Calls may come from any thread.
class LiveWatch {
 public:
  explicit LiveWatch(LiveState state);

  void Show(const v1::WatchJobResponse& update);
  void ShowLostConnection(const std::string& reason);
  // Gives the terminal back and prints the page as it was last, with `job` as it ended.
  void Finish(const v1::Job& job);

 private:
  std::vector<std::string> Render();
  void Run(const std::stop_token& stop);

  std::mutex mutex_;
  LiveState state_;  // under mutex_
  std::unique_ptr<LiveScreen> screen_;
  std::jthread drawing_;
};

}  // namespace wavefield
