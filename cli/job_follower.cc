#include "cli/job_follower.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/job_view.h"
#include "core/base/clock.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

// What a coordinator that stops or restarts under a watch looks like.
bool IsConnectionLoss(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:  // closed before the job had ended
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::ABORTED:
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<v1::Job> FollowJob(const Session& session, const std::string& name,
                                  const FollowOptions& options, const OnJobUpdate& on_update,
                                  const OnConnectionLost& on_lost) {
  v1::JobService::Stub stub(session.channel());
  v1::WatchJobRequest request;
  request.set_name(name);
  request.set_include_history(options.include_history);
  v1::Job job;
  bool connected_once = false;
  absl::Duration lost_at = absl::InfiniteDuration();
  absl::Duration pause = absl::Milliseconds(100);
  while (true) {
    grpc::ClientContext context;
    session.PrepareStream(context);
    const auto stream = stub.WatchJob(&context, request);
    v1::WatchJobResponse update;
    while (stream->Read(&update)) {
      connected_once = true;
      lost_at = absl::InfiniteDuration();
      pause = absl::Milliseconds(100);
      if (update.has_job()) job = update.job();
      if (update.revision() > request.from_revision()) request.set_from_revision(update.revision());
      on_update(update);
      // What came so far need not come again.
      if (request.from_revision() > 0) request.set_include_history(false);
    }
    const grpc::Status status = stream->Finish();
    if (status.ok() && HasEnded(job)) return job;
    if (!IsConnectionLoss(status) || (!connected_once && !status.ok()))
      return session.ToError(status);

    const absl::Duration now = Clock::Real().Monotonic();
    if (lost_at == absl::InfiniteDuration()) {
      lost_at = now;
      on_lost(status.ok() ? absl::UnavailableError("the coordinator closed the watch")
                          : session.ToError(status));
    }
    if (now - lost_at > options.reconnect_for) {
      return UnreachableError(fmt::format(
          "lost the coordinator at {} for more than {}; the job may still run: look again with "
          "'wavefield watch'",
          session.address(), FormatDuration(absl::ToDoubleSeconds(options.reconnect_for))));
    }
    absl::SleepFor(pause);
    pause = std::min(2 * pause, absl::Seconds(2));
  }
}

}  // namespace wavefield
