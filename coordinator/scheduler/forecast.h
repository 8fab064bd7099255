#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "coordinator/scheduler/snapshot.h"
#include "coordinator/store/records.pb.h"

namespace wavefield::coordinator {

// For how long a job will train from its last reported step on, going by that step's time and the
// budget; nothing if that cannot be told.
std::optional<absl::Duration> ExpectedRun(const JobRecord& record);

// When the attempt under way should end; nothing if that cannot be told.
std::optional<absl::Time> ExpectedEnd(const JobRecord& record, absl::Time now);

// Slot-seconds of the steps that the attempt under way did after the job's newest checkpoint.
double LostWork(const JobRecord& record);

// So many jobs of the queue are looked at, the first ones.
inline constexpr size_t kMostForecasts = 256;

// When each job of the queue should start (now, for those that start at once), going by the order
// of the queue as it is and by the expected ends. Absent: it cannot be told. Pure.
std::map<std::string, absl::Time> ForecastStarts(SchedulerSnapshot snapshot);

}  // namespace wavefield::coordinator
