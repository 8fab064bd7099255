#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/job_watch.h"
#include "cli/resource_names.h"
#include "cli/spec_arguments.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  SpecArguments spec;
  std::string name;
  std::string dataset;
  std::string request_id;
  bool validate_only = false;
  bool watch = false;
  bool json = false;
};

absl::StatusOr<v1::CreateJobRequest> BuildRequest(const Flags& flags) {
  v1::CreateJobRequest request;
  if (!flags.name.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string name, ParseJobName(flags.name));
    request.set_job_id(ResourceId(name));
  }
  WF_ASSIGN_OR_RETURN(*request.mutable_spec(), BuildSpec(flags.spec));
  if (!flags.dataset.empty()) {
    WF_ASSIGN_OR_RETURN(*request.mutable_spec()->mutable_dataset(),
                        ParseDatasetName(flags.dataset));
  }
  request.set_validate_only(flags.validate_only);
  request.set_request_id(flags.request_id.empty() ? NewRequestId() : flags.request_id);
  return request;
}

void PrintJob(const v1::Job& job, const Flags& flags) {
  const std::string size = fmt::format(
      "{} parameters, about {} of memory per rank", FormatInteger(job.parameter_count()),
      FormatBytes(static_cast<double>(job.memory_estimate_bytes())));
  if (flags.validate_only) {
    std::printf("The specification is valid: %s.\n", size.c_str());
    return;
  }
  std::printf("%s\n", job.name().c_str());
  const std::string hint =
      flags.watch ? ""
                  : fmt::format(" Watch it with 'wavefield watch {}'.", ResourceId(job.name()));
  std::fprintf(stderr, "%s.%s\n", size.c_str(), hint.c_str());
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const v1::CreateJobRequest request, BuildRequest(flags));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Job job, session.Call(&v1::JobService::Stub::CreateJob, request));
  const bool watch = flags.watch && !flags.validate_only;
  if (!flags.json) {
    PrintJob(job, flags);
    std::fflush(stdout);
  } else if (!watch) {
    std::printf("%s", ToJson(job, true).c_str());
  }
  if (!watch) return kExitSuccess;
  return WatchJob(session, job.name(), FollowOptions{.include_history = true},
                  flags.json ? WatchForm::kJson : WatchForm::kLive);
}

}  // namespace

void AddSubmitCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("submit", "Submit a training job");
  AddSpecFlags(*command, flags->spec);
  command->add_option("--name", flags->name, "the job's name; default: one is made up");
  command->add_option("--dataset", flags->dataset, "what to train on ('wavefield data list')");
  command->add_option("--request-id", flags->request_id,
                      "submitting again with the same id returns the same job");
  command->add_flag("--validate-only", flags->validate_only, "only check the specification");
  command->add_flag("--watch", flags->watch, "then show the job live until it ends");
  command->add_flag(
      "--json", flags->json,
      "print the Job as JSON; with --watch, every WatchJobResponse as a line of JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
