#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cli/checkpoint_selection.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_array.h"
#include "cli/job_watch.h"
#include "cli/resource_names.h"
#include "cli/spec_arguments.h"
#include "cli/views/format.h"
#include "cli/views/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  SpecArguments spec;
  std::string name;
  std::string dataset;
  std::string init_from;
  std::vector<std::string> after;
  std::vector<std::string> grid;
  std::string request_id;
  bool validate_only = false;
  bool watch = false;
  bool json = false;
};

// "JOB", "JOB:success" or "JOB:end".
absl::StatusOr<v1::Dependency> ParseDependency(const std::string& text) {
  const size_t colon = text.find(':');
  v1::Dependency dependency;
  WF_ASSIGN_OR_RETURN(*dependency.mutable_job(), ParseJobName(text.substr(0, colon)));
  if (colon == std::string::npos) return dependency;
  const std::string on = text.substr(colon + 1);
  if (on != "success" && on != "end") {
    return absl::InvalidArgumentError(
        fmt::format("--after {}: '{}' is not known; write JOB to wait until it succeeds, JOB:end "
                    "to wait until it has ended in any way",
                    text, on));
  }
  dependency.set_on(on);
  return dependency;
}

absl::StatusOr<v1::JobSpec> BuildJobSpec(const Flags& flags) {
  WF_ASSIGN_OR_RETURN(v1::JobSpec spec, BuildSpec(flags.spec));
  if (!flags.dataset.empty()) {
    WF_ASSIGN_OR_RETURN(*spec.mutable_dataset(), ParseDatasetName(flags.dataset));
  }
  if (!flags.init_from.empty()) {
    WF_ASSIGN_OR_RETURN(*spec.mutable_init_from(), ParseCheckpointName(flags.init_from));
  }
  for (const std::string& text : flags.after) {
    WF_ASSIGN_OR_RETURN(*spec.add_after(), ParseDependency(text));
  }
  return spec;
}

// The checkpoint that --init-from means now: a job's newest may be another one later.
absl::Status ResolveInitFrom(const Session& session, v1::JobSpec& spec) {
  WF_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint, FindCheckpoint(session, spec.init_from()));
  spec.set_init_from(checkpoint.name());
  return absl::OkStatus();
}

std::string SizeText(const v1::Job& job) {
  return fmt::format("{} parameters, about {} of memory per rank",
                     FormatInteger(job.parameter_count()),
                     FormatBytes(static_cast<double>(job.memory_estimate_bytes())));
}

void PrintJob(const v1::Job& job, const Flags& flags) {
  if (flags.validate_only) {
    std::printf("The specification is valid: %s.\n", SizeText(job).c_str());
    return;
  }
  std::printf("%s\n", job.name().c_str());
  const std::string hint =
      flags.watch ? ""
                  : fmt::format(" Watch it with 'wavefield watch {}'.", ResourceId(job.name()));
  std::fprintf(stderr, "%s.%s\n", SizeText(job).c_str(), hint.c_str());
}

absl::StatusOr<int> SubmitOne(const Session& session, const Flags& flags, v1::JobSpec spec,
                              const std::string& id) {
  v1::CreateJobRequest request;
  request.set_job_id(id);
  *request.mutable_spec() = std::move(spec);
  request.set_validate_only(flags.validate_only);
  request.set_request_id(flags.request_id.empty() ? NewRequestId() : flags.request_id);
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

void PrintArray(const std::vector<GridAxis>& axes, const std::vector<ArrayElement>& elements) {
  std::vector<Column> columns = {{"JOB"}};
  for (const GridAxis& axis : axes) columns.push_back({axis.path, Align::kRight});
  Table table(std::move(columns));
  for (const ArrayElement& element : elements) {
    std::vector<Cell> cells = {element.request.job_id()};
    cells.insert(cells.end(), element.values.begin(), element.values.end());
    table.AddRow(std::move(cells));
  }
  std::printf("%s", table.ToString().c_str());
}

absl::StatusOr<int> SubmitArray(const Session& session, const Flags& flags,
                                const std::vector<GridAxis>& axes,
                                const std::vector<ArrayElement>& elements,
                                const std::string& stem) {
  v1::BatchCreateJobsRequest request;
  for (const ArrayElement& element : elements) *request.add_requests() = element.request;
  request.set_validate_only(flags.validate_only);
  request.set_request_id(flags.request_id.empty() ? NewRequestId() : flags.request_id);
  WF_ASSIGN_OR_RETURN(const v1::BatchCreateJobsResponse created,
                      session.Call(&v1::JobService::Stub::BatchCreateJobs, request));
  if (flags.json) {
    std::printf("%s", ToJson(created, true).c_str());
    return kExitSuccess;
  }
  PrintArray(axes, elements);
  const std::string size = created.jobs_size() > 0 ? SizeText(created.jobs(0)) : "";
  if (flags.validate_only) {
    std::fprintf(stderr, "All %zu specifications are valid; the first has %s.\n", elements.size(),
                 size.c_str());
  } else {
    std::fprintf(stderr,
                 "%zu jobs; the first has %s. Follow them with 'wavefield jobs --follow --filter "
                 "labels.array=%s'.\n",
                 elements.size(), size.c_str(), stem.c_str());
  }
  return kExitSuccess;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  std::string id;
  if (!flags.name.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string name, ParseJobName(flags.name));
    id = ResourceId(name);
  }
  WF_ASSIGN_OR_RETURN(v1::JobSpec spec, BuildJobSpec(flags));
  std::vector<GridAxis> axes;
  for (const std::string& text : flags.grid) {
    WF_ASSIGN_OR_RETURN(axes.emplace_back(), ParseGridAxis(text));
  }
  if (!axes.empty() && id.empty() && !flags.request_id.empty()) {
    return absl::InvalidArgumentError(
        "--request-id with --grid needs --name: a name that is made up would be another each time");
  }
  if (!axes.empty() && id.empty()) id = "array-" + NewRequestId().substr(0, 8);
  // What the coordinator need not be asked for is found before.
  if (!axes.empty()) WF_RETURN_IF_ERROR(ExpandGrid(spec, axes, id).status());
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  if (!spec.init_from().empty()) WF_RETURN_IF_ERROR(ResolveInitFrom(session, spec));
  if (axes.empty()) return SubmitOne(session, flags, std::move(spec), id);
  WF_ASSIGN_OR_RETURN(const std::vector<ArrayElement> elements, ExpandGrid(spec, axes, id));
  return SubmitArray(session, flags, axes, elements, id);
}

}  // namespace

void AddSubmitCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("submit", "Submit a training job, or an array of them");
  AddSpecFlags(*command, flags->spec);
  command->add_option("--name", flags->name, "the job's name; default: one is made up");
  command->add_option("--dataset", flags->dataset, "what to train on ('wavefield data list')");
  command->add_option("--init-from", flags->init_from,
                      "a checkpoint whose weights it starts from: JOB (its newest) or JOB@STEP");
  command
      ->add_option("--after", flags->after,
                   "wait until that job has succeeded; JOB:end until it has ended in any way; "
                   "repeatable")
      ->allow_extra_args(false);
  CLI::Option* grid =
      command
          ->add_option("--grid", flags->grid,
                       "path.to.field=value,value,…: a job for each value, and for each "
                       "combination where it is repeated, called NAME-0, NAME-1, … with the label "
                       "array=NAME; all of them or none are submitted")
          ->allow_extra_args(false);
  command->add_option("--request-id", flags->request_id,
                      "submitting again with the same id returns the same job");
  command->add_flag("--validate-only,--dry-run", flags->validate_only,
                    "only check the specification; with --grid, show the jobs");
  command->add_flag("--watch", flags->watch, "then show the job live until it ends")
      ->excludes(grid);
  command->add_flag(
      "--json", flags->json,
      "print the Job as JSON, with --grid a BatchCreateJobsResponse; with --watch, every "
      "WatchJobResponse as a line of JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
