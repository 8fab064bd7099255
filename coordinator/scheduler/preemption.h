#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/capacity.h"
#include "coordinator/scheduler/quotas.h"
#include "coordinator/scheduler/snapshot.h"

namespace wavefield::coordinator {

// Which running jobs should make room for `job`, which has its turn and cannot start: whole gangs
// whose own priority is lower by the margin or more, those with the least work since their last
// checkpoint first (in whole slot-minutes), then those of the lowest priority; none that is not
// needed, hence none if jobs in `ending`, and others that end by themselves, are enough. Nothing if
// all of that would not make the job startable. Pure.
std::optional<std::vector<std::string>> ChooseVictims(const SchedulerSnapshot& snapshot,
                                                      const SchedulerSnapshot::QueuedJob& job,
                                                      const Capacity& capacity,
                                                      const QuotaUse& quotas,
                                                      const std::set<std::string>& ending);

}  // namespace wavefield::coordinator
