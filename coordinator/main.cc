#include <signal.h>
#include <spdlog/spdlog.h>

#include <cstdio>

#include "coordinator/server/scheduler_flags.h"
#include "coordinator/server/server.h"
#include "coordinator/server/start_checks.h"
#include "core/base/command_line.h"
#include "core/base/logging.h"

int main(int argc, char** argv) {
  wavefield::coordinator::ServerOptions options;
  double lease_seconds = 10;
  double heartbeat_seconds = 2;
  double retention_minutes = 60;
  double log_retention_days = 30;
  wavefield::LogOptions logging;

  wavefield::CommandLine command_line("wavefield-coordinator",
                                      "The daemon: takes training jobs and runs them on workers.");
  CLI::App& app = command_line.app();
  app.add_option("--data-dir", options.data_dir,
                 "where the store, its lock and (by default) the storage live")
      ->required();
  app.add_option(
      "--storage-root", options.storage_root,
      "datasets and checkpoints; every worker must reach it (default: DATA_DIR/storage)");
  app.add_option("--listen", options.listen, "gRPC address; port 0 takes a free one")
      ->capture_default_str();
  app.add_option("--http-listen", options.http_listen, "address of /metrics and /healthz")
      ->capture_default_str();
  app.add_option("--tls-cert", options.tls_certificate, "certificate chain, PEM");
  app.add_option("--tls-key", options.tls_key, "private key, PEM");
  app.add_option("--tls-client-ca", options.tls_client_ca,
                 "clients must have a certificate that one of these signed, PEM");
  app.add_option("--token-file", options.token_file,
                 "bearer tokens: lines [NAME] TOKEN [role=viewer|user|worker|admin] "
                 "[expires=TIME]; read again when it changes, and on SIGHUP");
  app.add_flag("--insecure", options.insecure, "serve other machines without TLS and tokens");
  app.add_option("--lease-seconds", lease_seconds, "a worker silent for so long is lost")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
  app.add_option("--heartbeat-seconds", heartbeat_seconds, "time between a worker's heartbeats")
      ->capture_default_str()
      ->check(CLI::Range(0.05, 600.0));
  app.add_option("--metrics-retention", retention_minutes,
                 "minutes for which /metrics shows a job that ended or a worker that was lost")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 525600.0));
  app.add_option("--metrics-max-series", options.metrics_max_series,
                 "series of jobs, workers, GPUs and layers that /metrics shows")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{10'000'000}));
  app.add_option("--log-max-bytes-per-job", options.logs.job_bytes,
                 "what is kept of the lines that a job's ranks print; the oldest go first")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{64} << 10, int64_t{1} << 40));
  app.add_option("--log-max-bytes", options.logs.total_bytes,
                 "… of all jobs together; the logs of jobs that ended first go first")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1} << 20, int64_t{1} << 50));
  app.add_option("--log-retention", log_retention_days,
                 "days for which the logs of a job are kept after its end")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 36500.0));
  wavefield::coordinator::AddSchedulerFlags(app, options.scheduler);
  wavefield::AddLogFlags(app, logging);

  return command_line.Run(argc, argv, [&] {
    wavefield::StartLogging("coordinator", logging);
    options.lease = absl::Seconds(lease_seconds);
    options.heartbeat = absl::Seconds(heartbeat_seconds);
    options.metrics_retention = absl::Minutes(retention_minutes);
    options.logs.retention = absl::Hours(24 * log_retention_days);
    // Before any thread exists, so that all of them leave these signals to sigwait below.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal(SIGPIPE, SIG_IGN);

    wavefield::coordinator::RaiseFileLimit();
    auto server = wavefield::coordinator::Server::Start(options);
    if (!server.ok()) {
      spdlog::critical("{}", std::string(server.status().message()));
      return 1;
    }
    std::printf("ready %s\n", (*server)->address().c_str());
    std::fflush(stdout);
    int received = 0;
    while (sigwait(&signals, &received) == 0 && received == SIGHUP) (*server)->RefreshTokens();
    spdlog::info("stops on signal {}", received);
    server->reset();
    return 0;
  });
}
