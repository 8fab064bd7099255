#include <memory>

#include "cli/commands.h"
#include "cli/job_watch.h"
#include "cli/real_range.h"
#include "cli/resource_names.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

struct Flags {
  std::string job;
  bool history = false;
  double reconnect_seconds = 300;
  bool plain = false;
  bool json = false;
};

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::string name, ParseJobName(flags.job));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  const FollowOptions options{.include_history = flags.history,
                              .reconnect_for = absl::Seconds(flags.reconnect_seconds)};
  const WatchForm form = flags.json    ? WatchForm::kJson
                         : flags.plain ? WatchForm::kLines
                                       : WatchForm::kLive;
  return WatchJob(session, name, options, form);
}

}  // namespace

void AddWatchCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("watch", "Show a job live until it ends");
  command->add_option("JOB", flags->job, "its name")->required();
  command->add_flag("--history", flags->history, "begin with what happened so far");
  command
      ->add_option("--reconnect-seconds", flags->reconnect_seconds,
                   "how long to look for a coordinator that went away")
      ->capture_default_str()
      ->check(RealRange(0, 1e6));
  CLI::Option* plain = command->add_flag(
      "--plain", flags->plain, "print lines, as where stdout is no terminal, and draw no page");
  command->add_flag("--json", flags->json, "print every WatchJobResponse as a line of JSON")
      ->excludes(plain);
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
