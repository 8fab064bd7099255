#include <fmt/format.h>
#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "cli/stop_signals.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/logging.h"
#include "core/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr int kKeptLogs = 3;
constexpr absl::Duration kTick = absl::Milliseconds(50);
constexpr absl::Duration kStartLimit = absl::Minutes(2);
// Time for ranks to write a last checkpoint.
constexpr absl::Duration kStopLimit = absl::Seconds(60);

struct Flags {
  std::string data_dir;
  int slots = 2;
  int threads_per_slot = 1;
  std::string gpus = "all";
  int port = 7070;
  int http_port = 7071;
  LogOptions logging;
  bool json = false;
};

absl::Status StoppedError() { return absl::CancelledError("stopped before the cluster was ready"); }

// A coordinator and a worker on this host, with everything below one directory.
class LocalCluster {
 public:
  LocalCluster(Flags flags, fs::path root) : flags_(std::move(flags)), root_(std::move(root)) {}

  // Starts both; CANCELLED when the user stopped it meanwhile.
  absl::Status Start(StopSignals& signals) {
    const std::string storage = (root_ / "storage").string();
    WF_RETURN_IF_ERROR(StartDaemon(
        {"wavefield-coordinator", "--data-dir", (root_ / "coordinator").string(), "--storage-root",
         storage, "--listen", fmt::format("127.0.0.1:{}", flags_.port), "--http-listen",
         fmt::format("127.0.0.1:{}", flags_.http_port), "--log-format", flags_.logging.format,
         "--log-level", flags_.logging.level},
        "coordinator.log", coordinator_));
    WF_RETURN_IF_ERROR(AwaitReady(*coordinator_, signals));
    WF_RETURN_IF_ERROR(StartDaemon(
        {"wavefield-worker", "--coordinator", address(), "--data-dir", (root_ / "worker").string(),
         "--storage-root", storage, "--slots", std::to_string(flags_.slots), "--threads-per-slot",
         std::to_string(flags_.threads_per_slot), "--gpus", flags_.gpus, "--log-format",
         flags_.logging.format, "--log-level", flags_.logging.level},
        "worker.log", worker_));
    return AwaitReady(*worker_, signals);
  }

  // Where the coordinator serves. REQUIRES that it is ready.
  const std::string& address() { return *coordinator_->PollReady(); }

  // OK when the user stopped it, or the error of the one that died.
  absl::Status RunUntilStopped(StopSignals& signals) {
    while (!signals.Wait(kTick)) WF_RETURN_IF_ERROR(CheckAlive());
    return absl::OkStatus();
  }

  // Worker first, so that its last reports are taken. A second signal ends the waiting.
  void Stop(StopSignals& signals) {
    StopDaemon(worker_, signals);
    StopDaemon(coordinator_, signals);
  }

 private:
  absl::Status StartDaemon(std::vector<std::string> command, const std::string& log_name,
                           std::optional<Daemon>& daemon) {
    const fs::path log = root_ / "logs" / log_name;
    WF_RETURN_IF_ERROR(RotateLog(log, kKeptLogs));
    WF_ASSIGN_OR_RETURN(daemon, Daemon::Start(std::move(command), log));
    return absl::OkStatus();
  }

  absl::Status AwaitReady(Daemon& daemon, StopSignals& signals) {
    const absl::Duration deadline = Clock::Real().Monotonic() + kStartLimit;
    while (!daemon.PollReady()) {
      WF_RETURN_IF_ERROR(CheckAlive());
      if (signals.Wait(kTick)) return StoppedError();
      if (Clock::Real().Monotonic() > deadline) {
        return absl::DeadlineExceededError(
            fmt::format("{} was not ready within {}; see its log in {}", daemon.name(),
                        absl::FormatDuration(kStartLimit), (root_ / "logs").string()));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckAlive() {
    for (std::optional<Daemon>* daemon : {&coordinator_, &worker_}) {
      if (!*daemon) continue;
      (*daemon)->PollReady();
      if (const auto exit = (*daemon)->Poll()) return (*daemon)->DeathError(*exit);
    }
    return absl::OkStatus();
  }

  static void StopDaemon(std::optional<Daemon>& daemon, StopSignals& signals) {
    if (!daemon) return;
    if (!daemon->Poll()) std::fprintf(stderr, "stopping %s\n", daemon->name().c_str());
    daemon->Signal(SIGTERM);
    const absl::Duration deadline = Clock::Real().Monotonic() + kStopLimit;
    while (!daemon->Poll() && Clock::Real().Monotonic() < deadline) {
      daemon->PollReady();
      if (signals.Wait(kTick)) break;
    }
    daemon.reset();
  }

  const Flags flags_;
  const fs::path root_;
  std::optional<Daemon> coordinator_;
  std::optional<Daemon> worker_;
};

void PrintReady(const Flags& flags, const std::string& address, const fs::path& root) {
  if (flags.json) {
    std::printf("%s\n", nlohmann::json{{"ready", true}, {"address", address}}.dump().c_str());
  } else {
    std::printf("ready %s\n", address.c_str());
  }
  std::fflush(stdout);
  std::fprintf(stderr, "slots: %d, threads per slot: %d; logs in %s; Ctrl-C stops the cluster.\n",
               flags.slots, flags.threads_per_slot, (root / "logs").c_str());
}

absl::StatusOr<int> Run(const Flags& flags) {
  StopSignals signals;
  std::error_code error;
  const fs::path root = fs::absolute(flags.data_dir, error);
  WF_RETURN_IF_ERROR(CreateDirectories(root / "logs"));
  const absl::StatusOr<FileLock> lock = FileLock::Acquire(root / "up.lock");
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(fmt::format(
        "another 'wavefield up' runs on {}; stop it, or choose another --data-dir", root.string()));
  }
  WF_RETURN_IF_ERROR(lock.status());

  LocalCluster cluster(flags, root);
  absl::Status status = cluster.Start(signals);
  if (status.ok()) {
    PrintReady(flags, cluster.address(), root);
    status = cluster.RunUntilStopped(signals);
  }
  cluster.Stop(signals);
  if (absl::IsCancelled(status)) return kExitSuccess;
  WF_RETURN_IF_ERROR(status);
  return kExitSuccess;
}

}  // namespace

void AddUpCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "up",
      "Run a coordinator and a worker on this host, in the foreground; prints 'ready ADDRESS'");
  command->add_option("--data-dir", flags->data_dir, "everything is kept below this directory")
      ->required();
  command->add_option("--slots", flags->slots, "ranks that can run at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("--threads-per-slot", flags->threads_per_slot, "threads of a rank")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--gpus", flags->gpus,
                   "NVIDIA GPUs to offer as slots of device cuda: all, none, or indices like 0,2")
      ->capture_default_str();
  command->add_option("--port", flags->port, "of the API, on 127.0.0.1; 0 = any free one")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  command
      ->add_option("--http-port", flags->http_port,
                   "of the metrics, on 127.0.0.1; 0 = any free one")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  AddLogFlags(*command, flags->logging);
  command->add_flag("--json", flags->json, "print the ready line as JSON");
  context.OnCommand(command, [flags] { return Run(*flags); });
}

}  // namespace wavefield
