// How long a scrape of a large cluster takes: a coordinator in this process, simulated workers that
// register, watch their assignments and send heartbeats over gRPC, and jobs that train on them.
// Usage: scrape_bench [WORKERS [JOBS]], default 1000 200.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "absl/synchronization/notification.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/metrics/process_stat.h"
#include "core/base/check.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "tests/coordinator/scrape.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

constexpr int kSlots = 8;
constexpr int kRanks = 8;  // of a job
constexpr int kLayers = 12;
constexpr int kHeads = 12;
constexpr int kSteps = 50;
constexpr int kScrapes = 20;
constexpr int kHeartbeatThreads = 4;

void Require(const absl::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "scrape_bench: {}\n", std::string(status.message()));
  std::exit(1);
}

// An open watch of a worker's assignments.
class Watch final : public grpc::ClientReadReactor<v1::AssignmentList> {
 public:
  Watch(v1::WorkerService::Stub& stub, const v1::WatchAssignmentsRequest& request)
      : request_(request) {
    stub.async()->WatchAssignments(&context_, &request_, this);
    StartRead(&list_);
    StartCall();
  }
  ~Watch() override {
    context_.TryCancel();
    done_.WaitForNotification();
  }
  void OnReadDone(bool ok) override {
    if (ok) StartRead(&list_);
  }
  void OnDone(const grpc::Status&) override { done_.Notify(); }

 private:
  grpc::ClientContext context_;
  const v1::WatchAssignmentsRequest request_;
  v1::AssignmentList list_;
  absl::Notification done_;
};

// A worker with a connection of its own.
class SimulatedWorker {
 public:
  SimulatedWorker(const std::string& id, std::shared_ptr<grpc::Channel> channel,
                  const std::string& probe)
      : name_("workers/" + id), stub_(v1::WorkerService::NewStub(channel)) {
    v1::RegisterWorkerRequest request;
    request.set_worker_id(id);
    request.set_incarnation(id);
    request.set_address("10.0.0.1");
    request.set_device("cpu");
    request.set_slots(kSlots);
    request.set_threads_per_slot(4);
    request.set_memory_per_slot(int64_t{8} << 30);
    request.set_storage_probe(probe);
    v1::RegisterWorkerResponse response;
    Require(Call(*stub_, &v1::WorkerService::Stub::RegisterWorker, request, response));
    v1::WatchAssignmentsRequest watch;
    watch.set_name(name_);
    watch.set_incarnation(id);
    watch_ = std::make_unique<Watch>(*stub_, watch);
    Heartbeat();
  }

  void Heartbeat() {
    v1::HeartbeatRequest request;
    request.set_name(name_);
    request.set_incarnation(name_.substr(8));
    *request.mutable_worker_time() = ToTimestamp(absl::Now());
    v1::HostTelemetry& host = *request.mutable_host();
    host.set_cpu_utilization(0.8125);
    host.set_memory_bytes(int64_t{256} << 30);
    host.set_memory_used_bytes(123'456'789'012);
    host.set_disk_bytes(int64_t{2} << 40);
    host.set_disk_free_bytes(987'654'321'098);
    host.set_spool_bytes(12'345);
    v1::HeartbeatResponse response;
    Require(Call(*stub_, &v1::WorkerService::Stub::Heartbeat, request, response));
  }

  // All events at once; each has its contents already.
  void Report(v1::ReportEventsRequest request) {
    request.set_name(name_);
    request.set_incarnation(name_.substr(8));
    for (v1::WorkerEvent& event : *request.mutable_events()) event.set_sequence(++sequence_);
    v1::ReportEventsResponse response;
    Require(Call(*stub_, &v1::WorkerService::Stub::ReportEvents, request, response));
  }

 private:
  const std::string name_;
  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  std::unique_ptr<Watch> watch_;
  int64_t sequence_ = 0;
};

void FillStep(int64_t number, v1::StepMetrics& step) {
  step.set_step(number);
  step.set_loss(3.0 + 1.0 / static_cast<double>(number));
  step.set_perplexity(20.7);
  step.set_accuracy(0.3127);
  step.set_grad_norm(0.4321);
  step.set_learning_rate(0.00173);
  step.set_total_tokens(number * 131'072);
  step.set_tokens_per_second(123'456.7);
  step.set_matmul_rate_ratio(0.5432);
  step.set_rank_skew_seconds(0.0123);
  step.set_step_seconds(0.173);
  step.mutable_phase_seconds()->set_forward(0.0571);
  step.mutable_phase_seconds()->set_backward(0.0913);
}

void FillHealth(v1::FieldHealth& health) {
  health.set_step(kSteps);
  for (int i = 0; i < kLayers; ++i) {
    v1::LayerHealth& layer = *health.add_layers();
    for (int h = 0; h < kHeads; ++h) {
      v1::HeadHealth& head = *layer.add_heads();
      head.set_time_constant_p10(3.21 * (h + 1));
      head.set_time_constant_p50(17.3 * (h + 1));
      head.set_time_constant_p90(97.1 * (h + 1));
      head.set_frequency(0.123 * (h + 1));
      head.set_coupling_entropy(1.23);
    }
    layer.set_residual_rms(1.0987);
    layer.set_mixer_rms(0.3456);
    layer.set_gradient_rms(0.000123);
    layer.set_update_ratio(0.00213);
  }
}

// What rank 0 says of `task` from its start on.
v1::ReportEventsRequest Training(const std::string& task) {
  v1::ReportEventsRequest request;
  const auto add = [&]() -> v1::WorkerEvent& {
    v1::WorkerEvent& event = *request.add_events();
    event.set_task_id(task);
    return event;
  };
  add().mutable_started()->set_pid(1);
  add().mutable_trainer()->mutable_training_started()->set_first_step(1);
  for (int step = 1; step <= kSteps; ++step) {
    FillStep(step, *add().mutable_trainer()->mutable_step());
  }
  v1::EvaluationResult& evaluation = *add().mutable_trainer()->mutable_evaluation();
  evaluation.set_step(kSteps);
  evaluation.set_loss(3.0417);
  evaluation.set_perplexity(20.94);
  evaluation.set_bits_per_byte(1.6173);
  evaluation.set_accuracy(0.4101);
  evaluation.set_ema_loss(3.0213);
  evaluation.set_seconds(2.75);
  FillHealth(*add().mutable_trainer()->mutable_field_health());
  return request;
}

class ScrapeBench final : public ServerFixture {
 public:
  ScrapeBench(int workers, int jobs) : worker_count_(workers), job_count_(jobs) {}

  void Run() {
    const int64_t before = Resident();
    SetUp();
    options_.lease = absl::Seconds(60);
    Restart();
    AddWorkers();
    std::atomic<bool> stopped = false;
    std::vector<std::thread> heartbeats;
    for (int i = 0; i < kHeartbeatThreads; ++i) {
      heartbeats.emplace_back([&, i] {
        while (!stopped) {
          for (size_t w = static_cast<size_t>(i); w < workers_.size() && !stopped;
               w += kHeartbeatThreads) {
            workers_[w]->Heartbeat();
          }
          std::this_thread::sleep_for(std::chrono::seconds(2));
        }
      });
    }
    StartJobs();
    Measure(before);
    stopped = true;
    for (std::thread& thread : heartbeats) thread.join();
    workers_.clear();
  }

 private:
  void TestBody() override {}

  static int64_t Resident() {
    const auto stat = ReadProcessStat();
    Require(stat.status());
    return stat->resident_bytes;
  }

  void AddWorkers() {
    const auto probe = ReadFile(StorageRoot() / "probe");
    Require(probe.status());
    for (int i = 0; i < worker_count_; ++i) {
      workers_.push_back(
          std::make_unique<SimulatedWorker>(fmt::format("node-{:04}", i), Connect(), *probe));
    }
  }

  void StartJobs() {
    for (int i = 0; i < job_count_; ++i) {
      v1::CreateJobRequest request = ValidRequest(Id(i), kRanks);
      request.mutable_spec()->mutable_training()->set_max_steps(100'000);
      Require(CreateJob(request).status());
    }
    for (int i = 0; i < job_count_; ++i) {
      const v1::Job job = WaitForState(Id(i), v1::JOB_STATE_STARTING);
      const std::string worker = job.placements(0).worker();
      workers_[static_cast<size_t>(std::stoi(worker.substr(worker.rfind('-') + 1)))]->Report(
          Training(Id(i) + "/1/0"));
    }
  }

  static std::string Id(int i) { return fmt::format("wave-field-30m-{:06x}", i); }

  void Measure(int64_t resident_before) {
    std::vector<double> milliseconds;
    std::string page;
    for (int i = 0; i < kScrapes; ++i) {
      const absl::Duration start = Clock::Real().Monotonic();
      page = HttpGet(server_->http_port(), "/metrics").body;
      milliseconds.push_back(absl::ToDoubleMilliseconds(Clock::Real().Monotonic() - start));
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    std::sort(milliseconds.begin(), milliseconds.end());
    const auto value = [&](const char* series) { return ValueOf(page, series).value_or(-1); };
    fmt::print("workers ready      {} of {}, {} slots each\n",
               value("wavefield_workers{state=\"ready\"}"), worker_count_, kSlots);
    fmt::print("jobs running       {} of {}, {} ranks and {} layers each\n",
               value("wavefield_jobs{state=\"running\",reason=\"none\"}"), job_count_, kRanks,
               kLayers);
    fmt::print("open watches       {}\n", value("wavefield_watches"));
    fmt::print("scrape over HTTP   median {:.1f} ms, {:.1f} to {:.1f} ({} scrapes)\n",
               (milliseconds[kScrapes / 2 - 1] + milliseconds[kScrapes / 2]) / 2,
               milliseconds.front(), milliseconds.back(), kScrapes);
    fmt::print("page               {:.2f} MB\n", static_cast<double>(page.size()) / 1e6);
    fmt::print("series             {} lines, {} of jobs and workers, {} refused\n",
               std::count(page.begin(), page.end(), '\n') - std::ssize(FamiliesOfPage(page)) * 2,
               value("wavefield_metrics_series"), value("wavefield_metrics_series_dropped_total"));
    fmt::print(
        "resident memory    {:.0f} MB, {:.0f} MB before the coordinator was started; the "
        "simulated workers and their connections are in it\n",
        static_cast<double>(Resident()) / 1e6, static_cast<double>(resident_before) / 1e6);
  }

  const int worker_count_;
  const int job_count_;
  std::vector<std::unique_ptr<SimulatedWorker>> workers_;
};

}  // namespace
}  // namespace wavefield::coordinator

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  wavefield::coordinator::ScrapeBench bench(argc > 1 ? std::atoi(argv[1]) : 1000,
                                            argc > 2 ? std::atoi(argv[2]) : 200);
  bench.Run();
  return 0;
}
