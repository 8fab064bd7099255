#include "cli/views/live_watch.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <utility>

#include "absl/time/clock.h"
#include "cli/views/terminal.h"

namespace wavefield {
namespace {

constexpr std::chrono::milliseconds kRedraw{200};

}  // namespace

LiveWatch::LiveWatch(LiveState state)
    : state_(std::move(state)),
      screen_(std::make_unique<LiveScreen>()),
      drawing_([this](const std::stop_token& stop) { Run(stop); }) {}

void LiveWatch::Show(const v1::WatchJobResponse& update) {
  const std::lock_guard lock(mutex_);
  state_.Apply(update, absl::Now());
}

void LiveWatch::ShowLostConnection(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  state_.lost_connection = reason;
}

void LiveWatch::Finish(const v1::Job& job) {
  drawing_ = {};
  screen_.reset();
  state_.job = job;
  for (const std::string& line : Render()) std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

std::vector<std::string> LiveWatch::Render() {
  const LiveLayout layout{.width = TerminalWidth(stdout), .unicode = LocaleIsUtf8()};
  const std::lock_guard lock(mutex_);
  return RenderLiveView(state_, layout, absl::Now());
}

void LiveWatch::Run(const std::stop_token& stop) {
  std::mutex unused;
  std::condition_variable_any stopped;
  std::unique_lock lock(unused);
  while (!stop.stop_requested()) {
    screen_->Draw(Render());
    stopped.wait_for(lock, stop, kRedraw, [] { return false; });
  }
}

}  // namespace wavefield
