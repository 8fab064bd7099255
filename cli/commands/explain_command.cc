#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/resource_names.h"
#include "cli/views/explanation_view.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string job;
  OutputFlags output;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::ExplainJobRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseJobName(flags.job));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::JobExplanation explanation,
                      session.Call(&v1::JobService::Stub::ExplainJob, request));
  std::printf("%s", flags.output.json()
                        ? ToJson(explanation, true).c_str()
                        : FormatExplanation(explanation, flags.output.Style()).c_str());
  return kExitSuccess;
}

}  // namespace

void AddExplainCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("explain", "Say why a job waits, or why it ended as it did");
  command->add_option("JOB", flags->job, "its name")->required();
  AddOutputFlags(*command, flags->output, "the JobExplanation");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
