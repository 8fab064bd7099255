#include "cli/job_follower.h"

#include "cli/views/job_view.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {

absl::StatusOr<v1::Job> FollowJob(const Session& session, const std::string& name,
                                  const FollowOptions& options, const OnJobUpdate& on_update,
                                  const OnConnectionLost& on_lost) {
  v1::JobService::Stub stub(session.channel());
  v1::WatchJobRequest request;
  request.set_name(name);
  request.set_include_history(options.include_history);
  Reconnection reconnection(session, options.reconnect_for,
                            "the job may still run: look again with 'wavefield watch'", on_lost);
  v1::Job job;
  while (true) {
    grpc::ClientContext context;
    session.PrepareStream(context);
    const auto stream = stub.WatchJob(&context, request);
    v1::WatchJobResponse update;
    while (stream->Read(&update)) {
      reconnection.Connected();
      if (update.has_job()) job = update.job();
      if (update.revision() > request.from_revision()) request.set_from_revision(update.revision());
      on_update(update);
      // What came so far need not come again.
      if (request.from_revision() > 0) request.set_include_history(false);
    }
    const grpc::Status status = stream->Finish();
    if (status.ok() && HasEnded(job)) return job;
    WF_RETURN_IF_ERROR(reconnection.AwaitRetry(status));
  }
}

absl::Status FollowJobs(const Session& session, const std::string& filter,
                        absl::Duration reconnect_for, const OnJobsUpdate& on_update,
                        const OnConnectionLost& on_lost) {
  v1::JobService::Stub stub(session.channel());
  v1::WatchJobsRequest request;
  request.set_filter(filter);
  Reconnection reconnection(session, reconnect_for,
                            "the jobs may still run: look again with 'wavefield jobs'", on_lost);
  while (true) {
    grpc::ClientContext context;
    session.PrepareStream(context);
    const auto stream = stub.WatchJobs(&context, request);
    v1::WatchJobsResponse update;
    while (stream->Read(&update)) {
      reconnection.Connected();
      if (update.revision() > 0) request.set_from_revision(update.revision());
      on_update(update);
    }
    WF_RETURN_IF_ERROR(reconnection.AwaitRetry(stream->Finish()));
  }
}

}  // namespace wavefield
