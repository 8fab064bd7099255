#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/jobs/dependencies.h"
#include "coordinator/scheduler/arrangement.h"
#include "coordinator/scheduler/snapshot.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield::coordinator {

// What keeps a job of the snapshot's queue from starting, in numbers, the hardest first; empty if
// it starts at once. `starts`: ForecastStarts(), `decision`: the job's of Arrange(), both of the
// same snapshot. Pure, as the next ones.
std::vector<wavefield::v1::Blocker> BlockersOf(const SchedulerSnapshot& snapshot,
                                               const std::map<std::string, absl::Time>& starts,
                                               const Decision& decision);

// Of a job that waits for others, of which it has `total` in `after`; `expected_end`: of the last
// of them.
wavefield::v1::Blocker BlockerOfDependencies(const DependencyState& state, int total,
                                             std::optional<absl::Time> expected_end);

wavefield::v1::Blocker BlockerOfPause(const wavefield::v1::Job& job);

// All of it in one line: "needs 4 cpu slots, 2 of 6 free; jobs/a holds 2 slots …".
std::string SummaryOf(const Decision& decision,
                      const std::vector<wavefield::v1::Blocker>& blockers);

// "14:20 UTC", with the date if that is not today's.
std::string ShortTime(absl::Time time, absl::Time now);

}  // namespace wavefield::coordinator
