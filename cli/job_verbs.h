#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {

// What the commands that do something to jobs share.

// --filter, which selects jobs.
void AddJobFilterFlag(CLI::App& command, std::string& filter);

// "x" and "jobs/x" → "jobs/x", each once.
absl::StatusOr<std::vector<std::string>> ParseJobNames(const std::vector<std::string>& texts);

// A call that names one job and changes it.
template <typename Request>
absl::StatusOr<v1::Job> CallForJob(
    const Session& session,
    grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*, const Request&, v1::Job*),
    const std::string& name) {
  Request request;
  request.set_name(name);
  request.set_request_id(NewRequestId());
  return session.Call(method, request);
}

using JobVerb = std::function<absl::StatusOr<v1::Job>(const std::string& name)>;

// Applies `verb` to each job, says of each on stdout what became of it (`json`: the Job where one
// was named, otherwise a message with the list `jobs`), of those where it failed on stderr why;
// returns the exit code of the first failure. `outcome`: what became of it, as in "deleted"; empty:
// its state says so. `list`: as JSON a list even of one job.
int ApplyToJobs(const std::vector<std::string>& names, bool json, const JobVerb& verb,
                const std::string& outcome = "", bool list = false);

// Adds the command NAME JOB…, which does no more than to apply `verb`.
void AddJobVerbCommand(
    CLI::App& parent, CommandContext& context, const std::string& name, const std::string& help,
    const std::function<absl::StatusOr<v1::Job>(const Session&, const std::string& name)>& verb);

}  // namespace wavefield
