#include "cli/job_verbs.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/job_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {

void AddJobFilterFlag(CLI::App& command, std::string& filter) {
  command.add_option("--filter", filter,
                     "only jobs that fulfil this, e.g. 'state=RUNNING AND labels.team=nlp'; by "
                     "state, reason, name, priority, dataset, preset, device, labels.KEY, "
                     "create_time, end_time, step, loss, evaluation_loss, restarts");
}

absl::StatusOr<std::vector<std::string>> ParseJobNames(const std::vector<std::string>& texts) {
  std::vector<std::string> names;
  for (const std::string& text : texts) {
    WF_ASSIGN_OR_RETURN(const std::string name, ParseJobName(text));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

int ApplyToJobs(const std::vector<std::string>& names, bool json, const JobVerb& verb,
                const std::string& outcome, bool list) {
  int exit_code = kExitSuccess;
  v1::ListJobsResponse done;
  for (const std::string& name : names) {
    const absl::StatusOr<v1::Job> job = verb(name);
    if (job.ok()) {
      *done.add_jobs() = *job;
      const std::string line =
          outcome.empty() ? FormatJobLine(*job) : ResourceId(name) + " " + outcome;
      if (!json) std::printf("%s\n", line.c_str());
      std::fflush(stdout);
      continue;
    }
    PrintError(job.status());
    if (exit_code == kExitSuccess) exit_code = ExitCodeOf(job.status());
    if (exit_code == kExitUnreachable) break;
  }
  list = list || names.size() > 1;
  if (json && list) std::printf("%s", ToJson(done, true).c_str());
  if (json && !list && done.jobs_size() == 1) {
    std::printf("%s", ToJson(done.jobs(0), true).c_str());
  }
  return exit_code;
}

void AddJobVerbCommand(
    CLI::App& parent, CommandContext& context, const std::string& name, const std::string& help,
    const std::function<absl::StatusOr<v1::Job>(const Session&, const std::string& name)>& verb) {
  struct Flags {
    std::vector<std::string> jobs;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(name, help);
  command->add_option("JOB", flags->jobs, "names of jobs")->required();
  command->add_flag("--json", flags->json,
                    "print the Job, or of several a message with the list `jobs`, as JSON");
  context.OnCommand(command, [&context, flags, verb]() -> absl::StatusOr<int> {
    WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseJobNames(flags->jobs));
    WF_ASSIGN_OR_RETURN(const Session session, Session::Open(context.connection));
    return ApplyToJobs(names, flags->json,
                       [&](const std::string& job) { return verb(session, job); });
  });
}

}  // namespace wavefield
