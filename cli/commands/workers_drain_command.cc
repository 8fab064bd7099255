#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/progress_bar.h"
#include "cli/views/terminal.h"
#include "cli/views/worker_view.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(250);

struct Flags {
  std::string worker;
  std::string note;
  bool wait = false;
  bool json = false;
};

absl::StatusOr<v1::Worker> FindWorker(const Session& session, const std::string& name) {
  v1::Worker found;
  WF_RETURN_IF_ERROR(ForEachPageUntil(session, &v1::WorkerService::Stub::ListWorkers,
                                      v1::ListWorkersRequest(),
                                      [&](const v1::ListWorkersResponse& page) {
                                        for (const v1::Worker& worker : page.workers()) {
                                          if (worker.name() == name) found = worker;
                                        }
                                        return !found.name().empty();
                                      }));
  if (!found.name().empty()) return found;
  return absl::NotFoundError(fmt::format("{} is not there any more", name));
}

absl::StatusOr<v1::Worker> AwaitEmpty(const Session& session, v1::Worker worker) {
  SetInterruptNotice("the worker is drained all the same; 'wavefield workers' shows how far it is");
  ProgressBar bar(stderr);
  while (worker.used_slots() > 0) {
    if (!worker.draining()) {
      return absl::AbortedError(fmt::format(
          "{} is not drained any more: somebody put it back to service", worker.name()));
    }
    bar.Draw(-1, FormatWorkerLine(worker));
    absl::SleepFor(kPoll);
    WF_ASSIGN_OR_RETURN(worker, FindWorker(session, worker.name()));
  }
  return worker;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::DrainWorkerRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseWorkerName(flags.worker));
  request.set_note(flags.note);
  request.set_request_id(NewRequestId());
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(v1::Worker worker,
                      session.Call(&v1::WorkerService::Stub::DrainWorker, request));
  if (flags.wait) {
    WF_ASSIGN_OR_RETURN(worker, AwaitEmpty(session, std::move(worker)));
  }
  PrintWorker(worker, flags.json);
  return kExitSuccess;
}

}  // namespace

void AddWorkersDrainCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "drain", "Take a worker out of service: its jobs write a checkpoint and go on elsewhere");
  command->add_option("WORKER", flags->worker, "its name")->required();
  command->add_option("--note", flags->note, "why, for others to read");
  command->add_flag("--wait", flags->wait, "until nothing runs on it");
  command->add_flag("--json", flags->json, "print the Worker as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
