#include "coordinator/server/server.h"

#include <fmt/format.h>
#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <prometheus/text_serializer.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <sstream>
#include <thread>

#include "coordinator/audit/audit_interceptor.h"
#include "coordinator/audit/audited_call.h"
#include "coordinator/control/control_loop.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/logs/log_store.h"
#include "coordinator/metrics/cluster_series.h"
#include "coordinator/metrics/http_server.h"
#include "coordinator/metrics/label_values.h"
#include "coordinator/metrics/worker_series.h"
#include "coordinator/rpc/audit_service.h"
#include "coordinator/rpc/checkpoint_service.h"
#include "coordinator/rpc/dataset_service.h"
#include "coordinator/rpc/inference_service.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/worker_service.h"
#include "coordinator/server/credentials.h"
#include "coordinator/server/open_streams.h"
#include "coordinator/server/path_interceptor.h"
#include "coordinator/server/rpc_metrics.h"
#include "coordinator/server/start_checks.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"
#include "core/base/logging.h"
#include "core/base/status_macros.h"
#include "proto/rpc/channel.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kCallThreads = 8;
constexpr size_t kReportThreads = 8;
constexpr size_t kMaxQueuedCalls = 1024;
constexpr size_t kMaxStreams = 1024;
constexpr std::chrono::seconds kShutdownGrace{2};
constexpr std::chrono::seconds kTokenInterval{1};

// How an attempt or a job ended. `before`: null if that is not known.
void LogEnd(const JobRecord* before, const JobRecord& record) {
  const v1::Job& job = record.job();
  if (before == nullptr || before->job().state() == job.state()) return;
  const LogScope about({.job = JobId(record)});
  if (job.state() == v1::JOB_STATE_QUEUED) {
    spdlog::warn("{} is queued again: {}", job.name(), job.state_message());
  } else if (HasEnded(job.state()) || job.state() == v1::JOB_STATE_PAUSED) {
    const bool failed = job.state() == v1::JOB_STATE_FAILED;
    spdlog::log(failed ? spdlog::level::warn : spdlog::level::info, "{} {}: {}", job.name(),
                NameOf(job.state()), job.state_message());
  }
}

}  // namespace

// In the order in which they are needed: destroyed in the opposite one.
struct Server::Parts {
  Parts(const ServerOptions& options, FileLock lock)
      : options(options),
        lock(std::move(lock)),
        metrics(registry),
        table(options.metrics_max_series),
        series(table, metrics, Clock::Real(), options.metrics_retention),
        worker_series(table, Clock::Real(), options.metrics_retention),
        leases(options.lease, Clock::Real()),
        cluster(leases, options.scheduler) {}

  const ServerOptions options;
  const FileLock lock;
  prometheus::Registry registry;
  CoordinatorMetrics metrics;
  SeriesTable table;
  JobSeries series;
  WorkerSeries worker_series;
  std::unique_ptr<ClusterSeries> cluster_series;
  std::mutex scrape;
  LeaseTable leases;
  Cluster cluster;
  std::unique_ptr<LogStore> logs;
  std::unique_ptr<SqliteStore> store;
  std::unique_ptr<Access> access;
  std::unique_ptr<AuditLog> audit_log;
  OpenStreams open_streams;

  Executor calls{kCallThreads, kMaxQueuedCalls};
  Executor reports{kReportThreads, kMaxQueuedCalls};
  Executor streams{kMaxStreams, 0};
  std::unique_ptr<ServiceContext> context;
  std::unique_ptr<JobService> jobs;
  std::unique_ptr<CheckpointService> checkpoints;
  std::unique_ptr<DatasetService> datasets;
  std::unique_ptr<WorkerService> workers;
  std::unique_ptr<InferenceService> inference;
  std::unique_ptr<AuditService> audit;
  std::unique_ptr<ControlLoop> control;
  std::unique_ptr<grpc::Server> grpc_server;
  std::unique_ptr<HttpServer> http;
  std::string address;

  std::atomic<bool> stopping = false;
  std::thread control_thread;
  std::jthread token_thread;

  absl::Status Open(const std::filesystem::path& storage_root);
  absl::Status ShowWhatWasBefore(const std::vector<JobRecord>& live);
  absl::Status Listen();
  // Counts a call that is not let in, keeps it if it is one of those that are audited, and has it
  // answered.
  void OnRefused(const Refusal& refusal, std::function<void()> answer);
  void RefreshTokens();
  void WatchTokens(const std::stop_token& stop);
  void AfterTick();
  void SweepLogs();
  absl::Status Health();
  std::string MetricsPage();
};

absl::Status Server::Parts::Open(const std::filesystem::path& storage_root) {
  SqliteStore::Observer observer;
  observer.deleted = [this](const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      series.Forget(id);
      logs->Detach(id);
    }
  };
  observer.committed = [this](const std::vector<JobRecord>& records) {
    for (const JobRecord& record : records) {
      LogEnd(cluster.FindLiveJob(JobId(record)).get(), record);
    }
    logs->JobsCommitted(records);
    cluster.JobsCommitted(records);
    series.JobsCommitted(records);
  };
  observer.commit_latency = [this](absl::Duration duration) {
    metrics.commit_seconds.Observe(absl::ToDoubleSeconds(duration));
  };
  WF_ASSIGN_OR_RETURN(logs,
                      LogStore::Open(options.data_dir / "logs", options.logs, Clock::Real().Now()));
  WF_ASSIGN_OR_RETURN(store, SqliteStore::Open(options.data_dir / "coordinator.db", observer));
  std::vector<JobRecord> live;
  std::vector<WorkerRecord> known;
  WF_RETURN_IF_ERROR(store->Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(live, reader.LiveJobs());
    WF_ASSIGN_OR_RETURN(known, reader.ListWorkers());
    return absl::OkStatus();
  }));
  logs->JobsCommitted(live);
  cluster.JobsCommitted(live);
  series.JobsCommitted(live);
  SweepLogs();
  WF_RETURN_IF_ERROR(ShowWhatWasBefore(live));
  for (const WorkerRecord& record : known) {
    if (!record.left()) cluster.PutWorker(record.worker());
  }
  // Whoever holds work has some time to come back and say what still runs.
  for (const JobRecord& record : live) {
    for (const TaskRecord& task : record.tasks()) {
      if (!task.ended()) leases.Expect(task.worker(), task.incarnation());
    }
  }
  WF_RETURN_IF_ERROR(CreateDirectories(storage_root / "datasets"));
  RemoveStagedUploads(storage_root);
  WF_ASSIGN_OR_RETURN(const std::string probe, ReadOrMakeProbe(storage_root));
  cluster_series = std::make_unique<ClusterSeries>(
      table, std::map<std::string, std::filesystem::path>{{"storage", storage_root},
                                                          {"state", options.data_dir}});
  context.reset(new ServiceContext{*store, cluster, leases, metrics, series, Clock::Real(), calls,
                                   reports, streams, storage_root, probe, options.heartbeat,
                                   *logs});
  jobs = std::make_unique<JobService>(*context);
  checkpoints = std::make_unique<CheckpointService>(*context);
  datasets = std::make_unique<DatasetService>(*context);
  workers = std::make_unique<WorkerService>(*context);
  inference = std::make_unique<InferenceService>(*context);
  audit = std::make_unique<AuditService>(*context);
  audit_log = std::make_unique<AuditLog>(*store, Clock::Real());
  control =
      std::make_unique<ControlLoop>(*store, cluster, leases, metrics, Clock::Real(), storage_root);
  return absl::OkStatus();
}

// What the records of live jobs do not say.
absl::Status Server::Parts::ShowWhatWasBefore(const std::vector<JobRecord>& live) {
  return store->Read([&](StoreReader& reader) -> absl::Status {
    for (const JobRecord& record : live) {
      const std::string id = JobId(record);
      WF_ASSIGN_OR_RETURN(const auto checkpoints, reader.ListCheckpoints(id, INT64_MAX, 1));
      for (const auto& [revision, newest] : checkpoints) series.ShowCheckpoint(id, newest);
      WF_ASSIGN_OR_RETURN(const auto health, reader.ListFieldHealth(id, INT64_MAX, 1));
      for (const auto& [revision, newest] : health) series.ShowFieldHealth(id, newest);
    }
    return absl::OkStatus();
  });
}

absl::Status Server::Parts::Listen() {
  std::optional<TlsFiles> tls;
  if (!options.tls_certificate.empty()) {
    tls = TlsFiles{options.tls_certificate, options.tls_key, options.tls_client_ca};
  }
  WF_ASSIGN_OR_RETURN(access, Access::Open(options.token_file, Clock::Real()));
  WF_ASSIGN_OR_RETURN(
      const auto credentials,
      MakeCredentials(tls, *access, [this](const Refusal& refusal, std::function<void()> answer) {
        OnRefused(refusal, std::move(answer));
      }));
  WF_RETURN_IF_ERROR(CheckPortFree(options.listen, "--listen"));
  WF_RETURN_IF_ERROR(CheckPortFree(options.http_listen, "--http-listen"));

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.listen, credentials, &port);
  const int keepalive = static_cast<int>(absl::ToInt64Milliseconds(kKeepaliveInterval));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Clocks of two machines do not agree to the millisecond.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, keepalive / 2);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MakeRpcMetricsInterceptor(metrics));
  interceptors.push_back(MakeStreamInterceptor(open_streams));
  interceptors.push_back(MakeAuditInterceptor(*audit_log, *access));
  interceptors.push_back(MakePathInterceptor(
      {{options.data_dir, "DATA_DIR"}, {context->storage_root, "STORAGE_ROOT"}}));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  for (grpc::Service* service :
       {static_cast<grpc::Service*>(jobs.get()), static_cast<grpc::Service*>(checkpoints.get()),
        static_cast<grpc::Service*>(datasets.get()), static_cast<grpc::Service*>(workers.get()),
        static_cast<grpc::Service*>(inference.get()), static_cast<grpc::Service*>(audit.get())}) {
    builder.RegisterService(service);
  }
  grpc_server = builder.BuildAndStart();
  if (grpc_server == nullptr || port == 0) {
    return absl::UnavailableError(fmt::format(
        "cannot listen on {} (--listen): the port is in use; take another one", options.listen));
  }
  address = fmt::format("{}:{}", options.listen.substr(0, options.listen.rfind(':')), port);
  WF_ASSIGN_OR_RETURN(
      http, HttpServer::Start(options.http_listen,
                              {[this] { return MetricsPage(); }, [this] { return Health(); }}));
  return absl::OkStatus();
}

void Server::Parts::OnRefused(const Refusal& refusal, std::function<void()> answer) {
  if (absl::IsUnauthenticated(refusal.status)) metrics.unauthenticated.Increment();
  const MethodRule* rule = RuleFor(refusal.path);
  if (!absl::IsPermissionDenied(refusal.status) || rule == nullptr) {
    answer();
    return;
  }
  metrics.ObserveRpc(refusal.path.substr(1), absl::StatusCodeToString(refusal.status.code()),
                     absl::ZeroDuration());
  if (!rule->audited) {
    answer();
    return;
  }
  v1::AuditEntry entry = EntryOf(rule->method, refusal.caller);
  DescribeResult(refusal.status, entry);
  audit_log->AppendRefusal(std::move(entry), std::move(answer));
}

void Server::Parts::RefreshTokens() {
  access->Refresh();
  open_streams.EndRefused(*access);
}

void Server::Parts::WatchTokens(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  while (!stopped.wait_for(lock, stop, kTokenInterval, [&] { return stop.stop_requested(); })) {
    RefreshTokens();
  }
}

void Server::Parts::AfterTick() {
  series.Retire();
  if (logs->TakeSweep(Clock::Real().Monotonic())) reports.TryRun([this] { SweepLogs(); });
}

void Server::Parts::SweepLogs() {
  const auto end_of = [this](const std::string& job) -> absl::StatusOr<absl::Time> {
    const auto live = cluster.FindLiveJob(job);
    if (live != nullptr && !HasEnded(live->job().state())) return absl::InfiniteFuture();
    absl::Time end = absl::InfiniteFuture();
    WF_RETURN_IF_ERROR(store->Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(const JobRecord record, reader.GetJob(job));
      if (HasEnded(record.job().state())) end = FromTimestamp(record.job().end_time());
      return absl::OkStatus();
    }));
    return end;
  };
  logs->Sweep(end_of, Clock::Real().Now());
}

absl::Status Server::Parts::Health() {
  return store->Read(
      [](StoreReader& reader) { return reader.AcknowledgedSequence("", "").status(); });
}

std::string Server::Parts::MetricsPage() {
  std::lock_guard lock(scrape);
  std::vector<JobCount> counts;
  const absl::Status counted = store->Read([&](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(counts, reader.CountJobs());
    return absl::OkStatus();
  });
  if (counted.ok()) cluster_series->ShowJobs(counts);
  const std::vector<v1::Worker> known = cluster.Workers();
  worker_series.Show(known);
  cluster_series->ShowWorkers(known);
  cluster_series->ShowItself();
  std::ostringstream page;
  prometheus::TextSerializer().Serialize(page, registry.Collect());
  return table.Text() + page.str();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  // Keeps the library alive until the process ends: its own end may wait ten seconds for a poll of
  // a connection that was left in the middle of a message.
  [[maybe_unused]] static const bool kept = (grpc_init(), true);
  WF_RETURN_IF_ERROR(CheckOptions(options));
  WF_RETURN_IF_ERROR(CreateDirectories(options.data_dir));
  auto lock = FileLock::Acquire(options.data_dir / "lock");
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(fmt::format(
        "the data directory {} is in use by another coordinator; stop it or give another "
        "--data-dir",
        options.data_dir.string()));
  }
  WF_RETURN_IF_ERROR(lock.status());
  const std::filesystem::path storage_root = std::filesystem::absolute(
      options.storage_root.empty() ? options.data_dir / "storage" : options.storage_root);
  auto parts = std::make_unique<Parts>(options, *std::move(lock));
  Parts* p = parts.get();
  // From here on the destructor tidies up.
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  WF_RETURN_IF_ERROR(p->Open(storage_root));
  WF_RETURN_IF_ERROR(p->Listen());
  p->control_thread = std::thread(
      [p] { p->control->Run([p] { return p->stopping.load(); }, [p] { p->AfterTick(); }); });
  if (!options.token_file.empty()) {
    p->token_thread = std::jthread([p](const std::stop_token& stop) { p->WatchTokens(stop); });
  }
  spdlog::info("serves at {}, HTTP at {}:{}, data in {}, storage in {}", p->address,
               HostOf(options.http_listen), p->http->port(), options.data_dir.string(),
               storage_root.string());
  return server;
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() {
  Parts& p = *parts_;
  p.stopping = true;
  p.cluster.signals().Notify(kControlSignal);
  if (p.control_thread.joinable()) p.control_thread.join();
  p.http.reset();
  if (p.grpc_server != nullptr) {
    p.grpc_server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
  }
  p.streams.Drain();
  p.calls.Drain();
  p.reports.Drain();
  p.grpc_server.reset();
}

void Server::RefreshTokens() { parts_->RefreshTokens(); }

const std::string& Server::address() const { return parts_->address; }

int Server::http_port() const { return parts_->http->port(); }

}  // namespace wavefield::coordinator
