#include "coordinator/jobs/job_update.h"

#include <fmt/format.h>

#include <map>
#include <string>

#include "coordinator/admission/admission.h"
#include "coordinator/admission/policies.h"
#include "coordinator/admission/spec_defaults.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/text.h"
#include "coordinator/metrics/label_values.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Job;
using wavefield::v1::JobSpec;

using Setter = void (*)(const JobSpec& from, JobSpec& to);

const std::map<std::string, Setter>& Setters() {
  static const std::map<std::string, Setter> setters = {
      {"spec.labels",
       [](const JobSpec& from, JobSpec& to) { *to.mutable_labels() = from.labels(); }},
      {"spec.priority", [](const JobSpec& from, JobSpec& to) { to.set_priority(from.priority()); }},
      {"spec.checkpoint.keep_last",
       [](const JobSpec& from, JobSpec& to) {
         const auto& policy = from.checkpoint();
         to.mutable_checkpoint()->set_keep_last(
             policy.has_keep_last() ? policy.keep_last()
                                    : static_cast<int32_t>(TrainingConfig().keep_last));
       }},
      {"spec.checkpoint.keep_every_steps",
       [](const JobSpec& from, JobSpec& to) {
         to.mutable_checkpoint()->set_keep_every_steps(from.checkpoint().keep_every_steps());
       }},
      {"spec.checkpoint.keep_every_hours",
       [](const JobSpec& from, JobSpec& to) {
         to.mutable_checkpoint()->set_keep_every_hours(from.checkpoint().keep_every_hours());
       }},
      {"spec.checkpoint.keep_best",
       [](const JobSpec& from, JobSpec& to) {
         to.mutable_checkpoint()->set_keep_best(from.checkpoint().keep_best());
       }},
      {"spec.training.max_steps",
       [](const JobSpec& from, JobSpec& to) {
         to.mutable_training()->set_max_steps(from.training().max_steps());
       }},
      {"spec.training.max_minutes",
       [](const JobSpec& from, JobSpec& to) {
         to.mutable_training()->set_max_minutes(from.training().max_minutes());
       }},
      {"spec.restart.max_restarts",
       [](const JobSpec& from, JobSpec& to) { *to.mutable_restart() = from.restart(); }}};
  return setters;
}

std::string AllowedPaths() {
  std::string paths;
  for (const auto& [path, setter] : Setters()) paths += (paths.empty() ? "" : ", ") + path;
  return paths;
}

// 0 bounds nothing.
template <typename T>
absl::Status CheckGrowth(const std::string& path, T before, T after) {
  if (after == before || after == 0 || (before != 0 && after > before)) return absl::OkStatus();
  return InvalidField("job." + path, fmt::format("is {}, and was {}; budgets only grow{}", after,
                                                 before, before == 0 ? " (0 is no bound)" : ""));
}

absl::Status CheckBudget(const Job& before, const JobSpec& after) {
  const auto& old_training = before.spec().training();
  const auto& training = after.training();
  const bool other_steps = training.max_steps() != old_training.max_steps();
  if (!other_steps && training.max_minutes() == old_training.max_minutes()) return absl::OkStatus();
  if (before.reason() == wavefield::v1::JOB_REASON_UPLOADED) {
    return absl::FailedPreconditionError(fmt::format(
        "{} holds uploaded checkpoints and has nothing to train; start a job with init_from",
        before.name()));
  }
  if (HasAttempt(before.state())) {
    return absl::FailedPreconditionError(
        fmt::format("{} is {}: its budget can be changed while it is queued, is paused or has "
                    "ended; pause it first",
                    before.name(), NameOf(before.state())));
  }
  WF_RETURN_IF_ERROR(
      CheckGrowth("spec.training.max_steps", old_training.max_steps(), training.max_steps()));
  WF_RETURN_IF_ERROR(
      CheckGrowth("spec.training.max_minutes", old_training.max_minutes(), training.max_minutes()));
  const std::string& schedule = training.schedule().kind();
  if (other_steps && before.has_start_time() && schedule != "constant") {
    return absl::FailedPreconditionError(
        fmt::format("{} has started, and the learning rate of its schedule '{}' depends on "
                    "max_steps: only under 'constant' can that be changed now; start a job with "
                    "init_from instead",
                    before.name(), schedule));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyUpdate(const wavefield::v1::UpdateJobRequest& request, JobRecord& record) {
  const Job& job = record.job();
  if (!request.etag().empty() && request.etag() != job.etag()) {
    return absl::AbortedError(
        fmt::format("{} was updated meanwhile: its etag is {}, the request has {}; read it again",
                    job.name(), job.etag(), Shortened(request.etag(), 40)));
  }
  if (request.update_mask().paths().empty()) {
    return InvalidField("update_mask", "is empty; allowed: " + AllowedPaths());
  }
  JobSpec spec = job.spec();
  for (const std::string& path : request.update_mask().paths()) {
    const auto setter = Setters().find(path);
    if (setter == Setters().end()) {
      return InvalidField(
          "update_mask", fmt::format("has '{}'; allowed: {}", Shortened(path, 80), AllowedPaths()));
    }
    setter->second(request.job().spec(), spec);
  }
  std::vector<FieldViolation> violations;
  CheckPolicies(spec, violations);
  const int64_t world_size = std::max(spec.resources().world_size(), 1);
  const TrainingConfig config = TrainingConfigOf(spec, world_size);
  for (const FieldViolation& violation : Validate(config, world_size)) {
    violations.push_back(violation);
  }
  for (FieldViolation& violation : violations) violation.field = "job.spec." + violation.field;
  WF_RETURN_IF_ERROR(ViolationsToStatus(violations));
  WF_RETURN_IF_ERROR(CheckBudget(job, spec));
  record.mutable_job()->clear_etag();  // storing it gives it another
  record.mutable_job()->set_max_steps(spec.training().max_steps());
  *record.mutable_job()->mutable_spec() = std::move(spec);
  return absl::OkStatus();
}

}  // namespace wavefield::coordinator
