#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/rpc/filter.h"
#include "coordinator/store/records.pb.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield::coordinator {

// The job as people see it at `now`.
wavefield::v1::Job Shown(JobRecord record, absl::Time now);

// Adds jobs as people see them. Behind the first 4 MiB of them, only names, uids, states and
// reasons are told: a message holds no more.
void AddJobs(const std::vector<JobRecord>& records, absl::Time now,
             google::protobuf::RepeatedPtrField<wavefield::v1::Job>& jobs);

// A filter on jobs, with the fields of ListJobsRequest.filter.
absl::StatusOr<Filter> ParseJobFilter(const std::string& text);

// What a job has in such a field. The job outlives the lookup.
FilterLookup LookUpIn(const wavefield::v1::Job& job);

// By which jobs can be ordered.
const std::vector<std::string>& JobOrderFields();

// The state that a filter's "state" condition asks for, as JOB_STATE_UNSPECIFIED for none.
wavefield::v1::JobState StateAskedFor(const Filter& filter);

}  // namespace wavefield::coordinator
