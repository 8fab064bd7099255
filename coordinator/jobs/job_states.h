#pragma once

#include <string>

#include "coordinator/store/records.pb.h"

namespace wavefield::coordinator {

// "a" of "jobs/a".
inline std::string JobId(const JobRecord& record) {
  return record.job().name().substr(std::string("jobs/").size());
}

inline bool HasEnded(wavefield::v1::JobState state) {
  return state == wavefield::v1::JOB_STATE_SUCCEEDED || state == wavefield::v1::JOB_STATE_FAILED ||
         state == wavefield::v1::JOB_STATE_CANCELLED;
}

// Ranks were assigned and the attempt is not over.
inline bool HasAttempt(wavefield::v1::JobState state) {
  return state == wavefield::v1::JOB_STATE_STARTING || state == wavefield::v1::JOB_STATE_RUNNING ||
         state == wavefield::v1::JOB_STATE_STOPPING;
}

inline bool HoldsSlots(const JobRecord& record) {
  for (const TaskRecord& task : record.tasks()) {
    if (!task.ended()) return true;
  }
  return false;
}

// It is queued, and not considered until jobs in `after` have ended.
inline bool WaitsForJobs(const JobRecord& record) {
  const wavefield::v1::Job& job = record.job();
  return job.state() == wavefield::v1::JOB_STATE_QUEUED && job.attempt() == 0 &&
         job.spec().after_size() > 0 && !record.dependencies_met();
}

// The coordinator still has something to do for it.
inline bool IsLive(const JobRecord& record) {
  return !HasEnded(record.job().state()) || HoldsSlots(record);
}

}  // namespace wavefield::coordinator
