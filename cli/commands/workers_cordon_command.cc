#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/worker_view.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string worker;
  std::string note;
  bool json = false;
};

absl::StatusOr<int> Cordon(const Flags& flags, const ConnectionFlags& connection) {
  v1::CordonWorkerRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseWorkerName(flags.worker));
  request.set_note(flags.note);
  request.set_request_id(NewRequestId());
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Worker worker,
                      session.Call(&v1::WorkerService::Stub::CordonWorker, request));
  PrintWorker(worker, flags.json);
  return kExitSuccess;
}

absl::StatusOr<int> Uncordon(const Flags& flags, const ConnectionFlags& connection) {
  v1::UncordonWorkerRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseWorkerName(flags.worker));
  request.set_request_id(NewRequestId());
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Worker worker,
                      session.Call(&v1::WorkerService::Stub::UncordonWorker, request));
  PrintWorker(worker, flags.json);
  return kExitSuccess;
}

}  // namespace

void AddWorkersCordonCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("cordon", "Give a worker nothing new; what runs on it goes on");
  command->add_option("WORKER", flags->worker, "its name")->required();
  command->add_option("--note", flags->note, "why, for others to read");
  command->add_flag("--json", flags->json, "print the Worker as JSON");
  context.OnCommand(command, [&context, flags] { return Cordon(*flags, context.connection); });
}

void AddWorkersUncordonCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("uncordon", "Put a worker back to service");
  command->add_option("WORKER", flags->worker, "its name")->required();
  command->add_flag("--json", flags->json, "print the Worker as JSON");
  context.OnCommand(command, [&context, flags] { return Uncordon(*flags, context.connection); });
}

}  // namespace wavefield
