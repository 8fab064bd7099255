// Streams of what happens to jobs.
#include <algorithm>
#include <map>

#include "coordinator/jobs/job_states.h"
#include "coordinator/rpc/job_fields.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr int kWatchPoints = 500;
// Jobs in one message of a watch of jobs.
constexpr int kWatchJobs = 100;

// Which jobs a client knows of, as far as this watch told it.
class KnownJobs {
 public:
  // From scratch it knows none; otherwise any may be known from before.
  void StartOver() {
    told_.clear();
    complete_ = true;
  }
  void Tell(const std::string& name) { told_[name] = true; }
  // True if the client must be told that the job is gone.
  bool Withdraw(const std::string& name) {
    const auto [entry, added] = told_.try_emplace(name, !complete_);
    return std::exchange(entry->second, false);
  }

 private:
  std::map<std::string, bool> told_;
  bool complete_ = false;  // what is not in told_ is not known
};

// Of changes, what concerns a client whose filter this is.
v1::WatchJobsResponse Answer(const Filter& filter, JobChanges& changes, absl::Time now,
                             KnownJobs& known) {
  v1::WatchJobsResponse response;
  response.set_revision(changes.revision);
  for (JobRecord& record : changes.jobs) {
    const std::string name = record.job().name();
    if (filter.Matches(LookUpIn(record.job()))) {
      known.Tell(name);
      *response.add_jobs() = Shown(std::move(record), now);
    } else if (known.Withdraw(name)) {
      response.add_removed(name);
    }
  }
  for (const std::string& id : changes.deleted) {
    if (known.Withdraw("jobs/" + id)) response.add_removed("jobs/" + id);
  }
  return response;
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobService::WatchJob(
    grpc::CallbackServerContext*, const v1::WatchJobRequest* request) {
  using Reactor = BlockingWriteReactor<v1::WatchJobResponse>;
  return Reactor::Run(context_.streams,
                      [=, this, request = *request](StreamWriter<v1::WatchJobResponse>& stream) {
                        return Watch(request, stream);
                      });
}

// The store is read again whenever the job may have changed: a slow reader gets fewer, fuller
// messages.
absl::Status JobService::Watch(const v1::WatchJobRequest& request,
                               StreamWriter<v1::WatchJobResponse>& stream) {
  WF_ASSIGN_OR_RETURN(const std::string id, IdOf("jobs", request.name()));
  const bool from_now = request.from_revision() == 0 && !request.include_history();
  int64_t position = request.include_history() ? 0 : request.from_revision();
  int64_t job_revision = -1;
  const OpenWatch open(context_.metrics);
  const auto signal = context_.cluster.signals().Get("jobs/" + id);
  while (!stream.cancelled()) {
    const uint64_t seen = signal->version();
    v1::Job job;
    History history;
    WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(JobRecord record, reader.GetJob(id));
      job = Shown(std::move(record), context_.clock.Now());
      if (from_now && job_revision < 0) position = job.revision();
      WF_ASSIGN_OR_RETURN(history, reader.HistoryAfterRevision(id, position, kWatchPoints));
      return absl::OkStatus();
    }));
    v1::WatchJobResponse response;
    if (!history.more) {
      position = std::max({position, history.revision, job.revision()});
    } else {
      position = history.revision;
    }
    response.set_revision(position);
    const bool ended = HasEnded(job.state());
    if (job.revision() != job_revision) {
      job_revision = job.revision();
      *response.mutable_job() = std::move(job);
    }
    response.mutable_steps()->Assign(history.steps.begin(), history.steps.end());
    response.mutable_evaluations()->Assign(history.evaluations.begin(), history.evaluations.end());
    const bool news = response.has_job() || !history.steps.empty() || !history.evaluations.empty();
    if (news && !stream.Write(response)) break;
    if (history.more) continue;
    if (ended) return absl::OkStatus();
    if (!news) signal->WaitPast(seen, kStreamPoll);
  }
  return absl::CancelledError("the watch was ended");
}

grpc::ServerWriteReactor<v1::WatchJobsResponse>* JobService::WatchJobs(
    grpc::CallbackServerContext*, const v1::WatchJobsRequest* request) {
  using Reactor = BlockingWriteReactor<v1::WatchJobsResponse>;
  return Reactor::Run(context_.streams,
                      [=, this, request = *request](StreamWriter<v1::WatchJobsResponse>& stream) {
                        return WatchAll(request, stream);
                      });
}

// A snapshot is everything after revision 0, in the order of revisions: one that is broken off is
// resumed like any other watch.
absl::Status JobService::WatchAll(const v1::WatchJobsRequest& request,
                                  StreamWriter<v1::WatchJobsResponse>& stream) {
  WF_ASSIGN_OR_RETURN(const Filter filter, ParseJobFilter(request.filter()));
  if (request.from_revision() < 0) {
    return InvalidField("from_revision", "is negative; allowed: 0 (all) and up");
  }
  int64_t position = request.from_revision();
  int64_t snapshot_revision = 0;  // what was deleted before is in no snapshot
  bool begins = true;
  KnownJobs known;
  const OpenWatch open(context_.metrics);
  const auto signal = context_.cluster.signals().Get(kJobsSignal);
  while (!stream.cancelled()) {
    const uint64_t seen = signal->version();
    JobChanges changes;
    bool reset = false;
    WF_RETURN_IF_ERROR(context_.store.Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(changes, reader.JobsAfterRevision(position, kWatchJobs));
      const bool unknown = std::max(position, snapshot_revision) < changes.forgotten_revision ||
                           position > changes.store_revision;
      reset = (begins && position == 0) || unknown;
      if (unknown) {
        WF_ASSIGN_OR_RETURN(changes, reader.JobsAfterRevision(0, kWatchJobs));
      }
      return absl::OkStatus();
    }));
    if (reset) {
      known.StartOver();
      snapshot_revision = changes.store_revision;
    }
    v1::WatchJobsResponse response = Answer(filter, changes, context_.clock.Now(), known);
    response.set_reset(reset);
    begins = false;
    position = changes.revision;
    const bool news = reset || response.jobs_size() > 0 || response.removed_size() > 0;
    if (news && !stream.Write(response)) break;
    if (!news && !changes.more) signal->WaitPast(seen, kStreamPoll);
  }
  return absl::CancelledError("the watch was ended");
}

}  // namespace wavefield::coordinator
