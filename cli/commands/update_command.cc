#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/job_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr int kMaxTries = 5;

struct Flags {
  std::string job;
  std::vector<std::string> labels;
  std::optional<int32_t> priority;
  std::optional<int64_t> max_steps;
  std::optional<double> max_minutes;
  std::optional<int32_t> max_restarts;
  std::optional<int32_t> keep_last;
  std::optional<int64_t> keep_every_steps;
  std::optional<double> keep_every_hours;
  std::optional<int32_t> keep_best;
  bool json = false;
};

absl::Status CheckLabel(const std::string& text) {
  const size_t equals = text.find('=');
  const bool removes = equals == std::string::npos && text.size() > 1 && text.ends_with('-');
  if (removes || (equals != std::string::npos && equals > 0)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("--label {}: write KEY=VALUE to set a label, KEY- to remove it", text));
}

void EditLabel(const std::string& text, v1::JobSpec& spec) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    spec.mutable_labels()->erase(text.substr(0, text.size() - 1));
  } else {
    (*spec.mutable_labels())[text.substr(0, equals)] = text.substr(equals + 1);
  }
}

// All but the labels, which need the job as it is.
v1::UpdateJobRequest BuildRequest(const Flags& flags) {
  v1::UpdateJobRequest request;
  v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
  const auto add = [&](const char* path, const auto& value, const auto& set) {
    if (!value) return;
    set(*value);
    request.mutable_update_mask()->add_paths(path);
  };
  v1::CheckpointPolicy& keep = *spec.mutable_checkpoint();
  auto& training = *spec.mutable_training();
  add("spec.priority", flags.priority, [&](auto v) { spec.set_priority(v); });
  add("spec.training.max_steps", flags.max_steps, [&](auto v) { training.set_max_steps(v); });
  add("spec.training.max_minutes", flags.max_minutes, [&](auto v) { training.set_max_minutes(v); });
  add("spec.restart.max_restarts", flags.max_restarts,
      [&](auto v) { spec.mutable_restart()->set_max_restarts(v); });
  add("spec.checkpoint.keep_last", flags.keep_last, [&](auto v) { keep.set_keep_last(v); });
  add("spec.checkpoint.keep_every_steps", flags.keep_every_steps,
      [&](auto v) { keep.set_keep_every_steps(v); });
  add("spec.checkpoint.keep_every_hours", flags.keep_every_hours,
      [&](auto v) { keep.set_keep_every_hours(v); });
  add("spec.checkpoint.keep_best", flags.keep_best, [&](auto v) { keep.set_keep_best(v); });
  return request;
}

absl::StatusOr<v1::Job> Update(const Session& session, const std::string& name,
                               const Flags& flags) {
  v1::UpdateJobRequest request = BuildRequest(flags);
  request.mutable_job()->set_name(name);
  if (flags.labels.empty()) {
    request.set_request_id(NewRequestId());
    return session.Call(&v1::JobService::Stub::UpdateJob, request);
  }
  request.mutable_update_mask()->add_paths("spec.labels");
  for (int tries = 1;; ++tries) {
    v1::GetJobRequest get;
    get.set_name(name);
    WF_ASSIGN_OR_RETURN(const v1::Job now, session.Call(&v1::JobService::Stub::GetJob, get));
    v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
    *spec.mutable_labels() = now.spec().labels();
    for (const std::string& label : flags.labels) EditLabel(label, spec);
    request.set_etag(now.etag());
    request.set_request_id(NewRequestId());
    absl::StatusOr<v1::Job> job = session.Call(&v1::JobService::Stub::UpdateJob, request);
    // Another changed the job in between.
    if (!absl::IsAborted(job.status()) || tries == kMaxTries) return job;
  }
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::string name, ParseJobName(flags.job));
  for (const std::string& label : flags.labels) WF_RETURN_IF_ERROR(CheckLabel(label));
  if (flags.labels.empty() && BuildRequest(flags).update_mask().paths().empty()) {
    return absl::InvalidArgumentError(
        "there is nothing to change: give --label, --priority, --max-steps, --max-minutes, "
        "--max-restarts, --keep-last, --keep-every-steps, --keep-every-hours or --keep-best");
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Job job, Update(session, name, flags));
  std::printf("%s", flags.json ? ToJson(job, true).c_str() : (FormatJobLine(job) + "\n").c_str());
  return kExitSuccess;
}

}  // namespace

void AddUpdateCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("update", "Change a job that was submitted");
  command->add_option("JOB", flags->job, "its name")->required();
  command
      ->add_option("--label", flags->labels, "KEY=VALUE sets a label, KEY- removes it; repeatable")
      ->allow_extra_args(false);
  command->add_option("--priority", flags->priority, "those of higher priority come first");
  command->add_option("--max-steps", flags->max_steps,
                      "a longer budget, of a job that does not run; once it has started, only "
                      "under a constant learning rate");
  command->add_option("--max-minutes", flags->max_minutes,
                      "a longer budget, of a job that does not run");
  command->add_option("--max-restarts", flags->max_restarts, "after failures");
  command->add_option("--keep-last", flags->keep_last, "keep so many of the newest checkpoints");
  command->add_option("--keep-every-steps", flags->keep_every_steps,
                      "… and those of steps divisible by this; 0: none");
  command->add_option("--keep-every-hours", flags->keep_every_hours,
                      "… and the first of each so many hours; 0: none");
  command->add_option("--keep-best", flags->keep_best,
                      "… and so many with the least evaluation loss");
  command->add_flag("--json", flags->json, "print the Job as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
