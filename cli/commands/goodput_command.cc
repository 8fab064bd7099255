#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <set>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/goodput_view.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr int kMaxJobs = 100;

struct Flags {
  std::vector<std::string> jobs;
  bool all = false;
  bool json = false;
};

absl::StatusOr<std::vector<v1::Job>> FetchNamed(const Session& session,
                                                const std::vector<std::string>& arguments) {
  std::vector<v1::Job> jobs;
  std::set<std::string> seen;
  for (const std::string& argument : arguments) {
    v1::GetJobRequest request;
    WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseJobName(argument));
    if (!seen.insert(request.name()).second) {
      return absl::InvalidArgumentError(fmt::format("'{}' is named twice", argument));
    }
    WF_ASSIGN_OR_RETURN(jobs.emplace_back(), session.Call(&v1::JobService::Stub::GetJob, request));
  }
  return jobs;
}

absl::StatusOr<std::vector<v1::Job>> FetchAll(const Session& session) {
  std::vector<v1::Job> jobs;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::JobService::Stub::ListJobs, v1::ListJobsRequest(),
                                 [&](const v1::ListJobsResponse& page) {
                                   jobs.insert(jobs.end(), page.jobs().begin(), page.jobs().end());
                                 }));
  return jobs;
}

// Counts the jobs that the table of losses lists: those that held slots.
std::string WhoseTime(const std::vector<v1::Job>& jobs) {
  const auto held = std::count_if(jobs.begin(), jobs.end(),
                                  [](const v1::Job& job) { return job.goodput().total() > 0; });
  const auto all = std::ssize(jobs);
  if (held == 0 || held == all) return all == 1 ? "1 job" : fmt::format("all {} jobs", all);
  return fmt::format("{} of {} jobs, the others held no slot yet", held, all);
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  if (flags.all != flags.jobs.empty()) {
    return absl::InvalidArgumentError(
        flags.all ? "--all is every job: leave the names out, or leave --all out"
                  : "whose time? name jobs, or say --all; 'wavefield jobs' lists them");
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs,
                      flags.all ? FetchAll(session) : FetchNamed(session, flags.jobs));
  std::string text;
  if (flags.json) {
    text = GoodputJson(jobs).dump(2) + "\n";
  } else if (flags.all) {
    const v1::Goodput sum = SumOfGoodput(jobs);
    text = FormatGoodput(WhoseTime(jobs), sum);
    if (sum.total() > 0) text += "\n" + FormatLosses(jobs);
  } else {
    for (const v1::Job& job : jobs) {
      if (!text.empty()) text += '\n';
      text += FormatGoodput(ResourceId(job.name()), job.goodput());
    }
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitSuccess;
}

}  // namespace

void AddGoodputCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("goodput", "Show where the time went that jobs held slots");
  command->add_option("JOB", flags->jobs, "their names")->expected(0, kMaxJobs);
  command->add_flag("--all", flags->all, "all jobs in sum, and which of them lost most");
  command->add_flag("--json", flags->json, "print JSON, in slot-milliseconds");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
