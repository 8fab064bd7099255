#pragma once

#include <deque>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// What a watch has seen of a job.
struct LiveState {
  v1::Job job;
  // The last ones that led to the present weights, oldest first; at most kRecentSteps.
  std::deque<v1::StepMetrics> recent;
  // When the newest came; this host's clock.
  absl::Time last_step_at = absl::InfinitePast();
  // Why there is no connection to the coordinator; empty: there is one.
  std::string lost_connection;

  static constexpr size_t kRecentSteps = 512;

  void Apply(const v1::WatchJobResponse& update, absl::Time now);
  void AddStep(const v1::StepMetrics& step);
};

struct LiveLayout {
  int width = 80;       // columns; at least 1
  bool unicode = true;  // the sparkline may use block characters
};

// The lines of `wavefield watch` on a terminal, none wider than the layout. Text from elsewhere is
// escaped.
std::vector<std::string> RenderLiveView(const LiveState& state, const LiveLayout& layout,
                                        absl::Time now);

// `values` as a curve of at most `width` characters, each the mean of its share of them; those with
// a value that is not finite are '!'.
std::string RenderSparkline(const std::vector<double>& values, int width, bool unicode);

}  // namespace wavefield
