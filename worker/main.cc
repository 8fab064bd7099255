// wavefield-worker: offers the slots of its host, and runs one trainer process per rank assigned to
// it.

#include <pthread.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <string>

#include "core/base/command_line.h"
#include "worker/agent/run_worker.h"

int main(int argc, char** argv) {
  wavefield::WorkerFlags flags;
  std::string log_level = "info";
  double orphan_hours = 24;
  double drain_seconds = 30;

  wavefield::CommandLine command_line(
      "wavefield-worker", "Offers the slots of this host to a coordinator and trains in them.");
  CLI::App& app = command_line.app();
  app.add_option("--coordinator", flags.connection.address, "the coordinator's HOST:PORT")
      ->capture_default_str();
  app.add_option("--ca-file", flags.connection.ca_file, "its certificate authority, PEM: use TLS");
  app.add_option("--token-file", flags.connection.token_file, "holds the bearer token");
  app.add_option("--name", flags.name, "of this worker; default: the host's");
  app.add_option("--data-dir", flags.data_dir, "spool, logs and tasks; one worker at a time")
      ->required();
  app.add_option("--storage-root", flags.storage_root,
                 "the cluster's storage, as the coordinator sees it")
      ->required();
  app.add_option("--slots", flags.slots,
                 "ranks at once; default: hardware threads / threads per slot")
      ->check(CLI::Range(1, 1024));
  app.add_option("--threads-per-slot", flags.threads_per_slot, "of each rank")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--memory-per-slot", flags.memory_per_slot,
                 "bytes; default: 0.9 of all, shared out")
      ->check(CLI::PositiveNumber);
  app.add_option("--gpus", flags.gpus,
                 "NVIDIA GPUs to offer as slots of device cuda: all, none, or indices like 0,2")
      ->capture_default_str();
  app.add_option("--advertise-address", flags.advertise_address,
                 "where ranks on other hosts reach this one; default: found out");
  app.add_option("--orphan-timeout", orphan_hours,
                 "hours without the coordinator, then ranks are ended")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--drain-seconds", drain_seconds,
                 "after SIGTERM: what training may take for a last checkpoint")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--log-level", log_level, "trace, debug, info, warn or error")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
      ->capture_default_str();

  return command_line.Run(argc, argv, [&] {
    spdlog::set_default_logger(spdlog::stderr_color_mt("worker"));
    spdlog::set_level(spdlog::level::from_str(log_level));
    flags.log_level = log_level;
    flags.orphan_timeout = absl::Hours(orphan_hours);
    flags.drain_timeout = absl::Seconds(drain_seconds);

    // Of all threads to come: RunWorker() takes them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal(SIGPIPE, SIG_IGN);

    const absl::Status status = wavefield::RunWorker(flags, signals);
    if (status.ok()) return 0;
    std::fprintf(stderr, "wavefield-worker: %s\n", std::string(status.message()).c_str());
    return 1;
  });
}
