// wavefield-worker: offers the slots of its host, and runs one trainer process per rank assigned to
// it.

#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <string>

#include "core/base/command_line.h"
#include "core/base/logging.h"
#include "worker/agent/run_worker.h"

int main(int argc, char** argv) {
  wavefield::WorkerFlags flags;
  double orphan_hours = 24;
  double drain_seconds = 30;

  wavefield::CommandLine command_line(
      "wavefield-worker", "Offers the slots of this host to a coordinator and trains in them.");
  CLI::App& app = command_line.app();
  app.add_option("--coordinator", flags.connection.address, "the coordinator's HOST:PORT")
      ->capture_default_str();
  app.add_option("--ca-file", flags.connection.ca_file, "its certificate authority, PEM: use TLS");
  app.add_option("--token-file", flags.connection.token_file, "holds the bearer token");
  app.add_option("--client-cert", flags.connection.client_certificate_file,
                 "certificate of this worker, PEM, for coordinators that ask for one");
  app.add_option("--client-key", flags.connection.client_key_file, "its private key, PEM");
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
  wavefield::AddLogFlags(app, flags.logging);

  return command_line.Run(argc, argv, [&] {
    wavefield::StartLogging("worker", flags.logging);
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
    spdlog::critical("{}", std::string(status.message()));
    return 1;
  });
}
