#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/reconnection.h"
#include "cli/resource_names.h"
#include "cli/views/escaped_text.h"
#include "cli/views/terminal.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr absl::Duration kReconnectFor = absl::Minutes(5);
constexpr absl::Duration kLongestAgo = absl::Hours(24 * 36500);

struct Flags {
  std::string job;
  bool follow = false;
  std::optional<int> rank;
  int attempt = 0;
  std::string since;
  int tail = 0;
  bool json = false;
};

// "10m", "2d", "2026-01-31", "2026-01-31T12:00:00" (UTC) or RFC 3339.
absl::StatusOr<absl::Time> ParseSince(const std::string& text) {
  absl::Duration ago;
  int days = 0;
  if (text.ends_with('d') && absl::SimpleAtoi(text.substr(0, text.size() - 1), &days)) {
    ago = days * absl::Hours(24);
  } else if (!absl::ParseDuration(text, &ago)) {
    ago = -absl::InfiniteDuration();
  }
  if (ago >= absl::ZeroDuration() && ago < kLongestAgo) return absl::Now() - ago;
  for (const char* format : {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", absl::RFC3339_full}) {
    absl::Time time;
    if (absl::ParseTime(format, text, &time, nullptr) && time >= absl::UnixEpoch() &&
        time < absl::InfiniteFuture()) {
      return time;
    }
  }
  return absl::InvalidArgumentError(fmt::format(
      "--since is '{}'; allowed: a time ago (90s, 10m, 2h30m, 3d), a day (2026-01-31), or a time "
      "(2026-01-31T12:00:00Z)",
      EscapedText(text)));
}

// Lines for people on stdout, and what is to be said of them on stderr.
class LinePrinter {
 public:
  explicit LinePrinter(bool names_ranks) : names_ranks_(names_ranks) {}

  void Print(const v1::ReadLogsResponse& message) {
    if (message.skipped_lines() > 0) {
      Note(fmt::format("-- {} lines are missing here: not kept any longer, or never received",
                       message.skipped_lines()));
    }
    for (const v1::LogLine& line : message.lines()) {
      if (attempt_ != 0 && line.attempt() != attempt_) {
        Note(fmt::format("-- attempt {}", line.attempt()));
      }
      attempt_ = line.attempt();
      if (names_ranks_) std::printf("rank %d | ", line.rank());
      std::printf("%s\n", EscapedText(line.text()).c_str());
    }
  }

 private:
  static void Note(const std::string& text) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s\n", text.c_str());
  }

  const bool names_ranks_;
  int attempt_ = 0;
};

// "ranks 0 to 3", "only rank 0"; `what` is "rank" or "attempt".
std::string WhatThereIs(const std::string& what, int first, int last) {
  if (first == last) return fmt::format("only {} {}", what, first);
  return fmt::format("{}s {} to {}", what, first, last);
}

// Refuses a rank or an attempt that the job does not have; a later attempt can be waited for.
absl::Status CheckChoice(const Flags& flags, const v1::Job& job) {
  const int ranks = std::max(1, job.spec().resources().world_size());
  if (flags.rank && *flags.rank >= ranks) {
    return absl::InvalidArgumentError(fmt::format("--rank is {}; {} has {}", *flags.rank,
                                                  job.name(), WhatThereIs("rank", 0, ranks - 1)));
  }
  if (flags.attempt <= job.attempt() || flags.follow) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "--attempt is {}; {} has {}", flags.attempt, job.name(),
      job.attempt() == 0 ? "no attempt yet" : WhatThereIs("attempt", 1, job.attempt())));
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::ReadLogsRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseJobName(flags.job));
  if (flags.rank) request.set_rank(*flags.rank);
  request.set_attempt(flags.attempt);
  request.set_follow(flags.follow);
  request.set_tail(flags.tail);
  if (!flags.since.empty()) {
    WF_ASSIGN_OR_RETURN(const absl::Time since, ParseSince(flags.since));
    const timespec time = absl::ToTimespec(since);
    request.mutable_since()->set_seconds(time.tv_sec);
    request.mutable_since()->set_nanos(static_cast<int32_t>(time.tv_nsec));
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::GetJobRequest get;
  get.set_name(request.name());
  WF_ASSIGN_OR_RETURN(const v1::Job job, session.Call(&v1::JobService::Stub::GetJob, get));
  WF_RETURN_IF_ERROR(CheckChoice(flags, job));
  if (flags.follow) {
    SetInterruptNotice(fmt::format("the job goes on; go on reading with 'wavefield logs -f {}'",
                                   ResourceId(request.name())));
  }
  LinePrinter printer(!flags.rank && job.spec().resources().world_size() > 1);
  Reconnection reconnection(session, kReconnectFor, "the lines are kept: read them again later",
                            [](const absl::Status& status) {
                              std::fprintf(stderr, "-- %s; trying again\n",
                                           std::string(status.message()).c_str());
                            });
  reconnection.Connected();
  v1::JobService::Stub stub(session.channel());
  while (true) {
    grpc::ClientContext context;
    session.PrepareStream(context);
    const auto stream = stub.ReadLogs(&context, request);
    v1::ReadLogsResponse message;
    while (stream->Read(&message)) {
      reconnection.Connected();
      if (flags.json) {
        std::printf("%s\n", ToJson(message).c_str());
      } else {
        printer.Print(message);
      }
      std::fflush(stdout);
      // What came need not come again.
      request.set_cursor(message.cursor());
      request.set_tail(0);
    }
    const grpc::Status status = stream->Finish();
    if (status.ok()) return kExitSuccess;
    WF_RETURN_IF_ERROR(reconnection.AwaitRetry(status));
  }
}

}  // namespace

void AddLogsCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("logs", "Print what a job's ranks printed");
  command->add_option("JOB", flags->job, "its name")->required();
  command->add_flag("-f,--follow", flags->follow, "stay, and print what comes, until it ends");
  command->add_option("--rank", flags->rank, "only of this rank")->check(CLI::Range(0, 65535));
  command->add_option("--attempt", flags->attempt, "only of this attempt")
      ->check(CLI::Range(1, 1 << 30));
  command->add_option("--since", flags->since,
                      "only lines of this time and later: 10m (ago), 2026-01-31, or RFC 3339");
  command->add_option("--tail", flags->tail, "only the last so many lines of what there is")
      ->check(CLI::Range(1, 1 << 30));
  command->add_flag("--json", flags->json, "print every ReadLogsResponse as a line of JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
