#include "coordinator/jobs/job_list.h"

#include <vector>

#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr int kVisited = 200;  // jobs that are read at a time

}  // namespace

absl::Status VisitJobs(StoreReader& reader, wavefield::v1::JobState state, int64_t before,
                       const std::function<bool(int64_t, JobRecord&)>& visit) {
  JobQuery query{.before_create_revision = before, .limit = kVisited};
  if (state != wavefield::v1::JOB_STATE_UNSPECIFIED) query.state = state;
  while (true) {
    WF_ASSIGN_OR_RETURN(std::vector<JobRecord> records, reader.ListJobs(query));
    for (JobRecord& record : records) {
      query.before_create_revision = record.create_revision();
      if (!visit(query.before_create_revision, record)) return absl::OkStatus();
    }
    if (std::ssize(records) < kVisited) return absl::OkStatus();
  }
}

}  // namespace wavefield::coordinator
