#include "tests/coordinator/fake_worker.h"

#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "coordinator/jobs/timestamps.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {
namespace {

constexpr std::chrono::seconds kTimeout{10};

template <typename Request, typename Response>
absl::Status CallStub(v1::WorkerService::Stub& stub,
                      grpc::Status (v1::WorkerService::Stub::*method)(grpc::ClientContext*,
                                                                      const Request&, Response*),
                      const Request& request, Response& response) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  return FromGrpcStatus((stub.*method)(&context, request, &response));
}

}  // namespace

void FakeWorker::SetGpus(std::vector<v1::Gpu> gpus) {
  std::lock_guard lock(mutex_);
  gpus_ = std::move(gpus);
}

void FakeWorker::SetHost(v1::HostTelemetry host, absl::Duration clock_difference) {
  std::lock_guard lock(mutex_);
  host_ = std::move(host);
  clock_difference_ = clock_difference;
}

absl::Status FakeWorker::Connect(std::shared_ptr<grpc::Channel> channel,
                                 const std::set<std::string>& running) {
  Disconnect();
  stub_ = v1::WorkerService::NewStub(channel);
  v1::RegisterWorkerRequest request;
  request.set_worker_id(id_);
  request.set_incarnation(incarnation_);
  request.set_address("127.0.0.1");
  request.set_device("cpu");
  request.set_slots(slots_);
  request.set_threads_per_slot(1);
  request.set_memory_per_slot(int64_t{4} << 30);
  request.set_storage_probe(probe_);
  request.mutable_gpus()->Assign(gpus_.begin(), gpus_.end());
  for (const std::string& task : running) request.add_running()->set_task_id(task);
  v1::RegisterWorkerResponse response;
  WF_RETURN_IF_ERROR(CallStub(*stub_, &v1::WorkerService::Stub::RegisterWorker, request, response));
  sequence_ = std::max(sequence_, response.acknowledged_sequence());

  hung_ = false;
  watch_ = std::make_unique<grpc::ClientContext>();
  reader_ = std::thread([this] {
    v1::WatchAssignmentsRequest watch;
    watch.set_name("workers/" + id_);
    watch.set_incarnation(incarnation_);
    const auto stream = stub_->WatchAssignments(watch_.get(), watch);
    v1::AssignmentList list;
    while (stream->Read(&list)) {
      std::lock_guard lock(mutex_);
      list_ = list;
    }
    stream->Finish();
  });
  heartbeats_ = std::thread([this] {
    while (true) {
      {
        std::lock_guard lock(mutex_);
        if (hung_) return;
      }
      Heartbeat().IgnoreError();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  return absl::OkStatus();
}

void FakeWorker::Hang() {
  {
    std::lock_guard lock(mutex_);
    hung_ = true;
  }
  if (heartbeats_.joinable()) heartbeats_.join();
}

void FakeWorker::Disconnect() {
  Hang();
  if (watch_ != nullptr) watch_->TryCancel();
  if (reader_.joinable()) reader_.join();
  watch_.reset();
}

absl::Status FakeWorker::Heartbeat(int64_t spool_depth, bool draining) {
  v1::HeartbeatRequest request;
  request.set_name("workers/" + id_);
  request.set_incarnation(incarnation_);
  request.set_spool_depth(spool_depth);
  request.set_draining(draining);
  {
    std::lock_guard lock(mutex_);
    request.mutable_gpus()->Assign(gpus_.begin(), gpus_.end());
    *request.mutable_host() = host_;
    *request.mutable_worker_time() = ToTimestamp(absl::Now() + clock_difference_);
  }
  v1::HeartbeatResponse response;
  return CallStub(*stub_, &v1::WorkerService::Stub::Heartbeat, request, response);
}

v1::AssignmentList FakeWorker::WaitForAssignments(int count) {
  const auto deadline = std::chrono::steady_clock::now() + kTimeout;
  while (true) {
    {
      std::lock_guard lock(mutex_);
      const bool ready = list_.revision() > 0 && list_.assignments_size() == count;
      if (ready || std::chrono::steady_clock::now() > deadline) return list_;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

absl::Status FakeWorker::Report(const std::string& task_id,
                                const std::function<void(v1::WorkerEvent&)>& fill) {
  v1::ReportEventsRequest request;
  request.set_name("workers/" + id_);
  request.set_incarnation(incarnation_);
  v1::WorkerEvent& event = *request.add_events();
  event.set_sequence(sequence_ + 1);
  event.set_task_id(task_id);
  fill(event);
  v1::ReportEventsResponse response;
  WF_RETURN_IF_ERROR(CallStub(*stub_, &v1::WorkerService::Stub::ReportEvents, request, response));
  sequence_ = response.acknowledged_sequence();
  return absl::OkStatus();
}

absl::Status FakeWorker::ReportStarted(const std::string& task_id, int pid) {
  return Report(task_id, [&](v1::WorkerEvent& event) { event.mutable_started()->set_pid(pid); });
}

absl::Status FakeWorker::ReportExit(const std::string& task_id, int code) {
  return Report(task_id, [&](v1::WorkerEvent& event) { event.mutable_exited()->set_code(code); });
}

absl::Status FakeWorker::ReportSignal(const std::string& task_id, int signal) {
  return Report(task_id,
                [&](v1::WorkerEvent& event) { event.mutable_exited()->set_signal(signal); });
}

absl::Status FakeWorker::ReportTraining(const std::string& task_id,
                                        const std::string& resumed_from) {
  return Report(task_id, [&](v1::WorkerEvent& event) {
    auto& started = *event.mutable_trainer()->mutable_training_started();
    started.set_first_step(1);
    started.set_exact(true);
    started.set_resumed_from(resumed_from);
  });
}

absl::Status FakeWorker::ReportStep(const std::string& task_id, int64_t step) {
  return Report(task_id, [&](v1::WorkerEvent& event) {
    auto& metrics = *event.mutable_trainer()->mutable_step();
    metrics.set_step(step);
    metrics.set_loss(1.0 / static_cast<double>(step));
    metrics.set_total_tokens(step * 100);
  });
}

absl::Status FakeWorker::ReportFinished(const std::string& task_id, bool stopped) {
  return Report(task_id, [&](v1::WorkerEvent& event) {
    event.mutable_trainer()->mutable_finished()->set_stopped(stopped);
  });
}

absl::Status FakeWorker::ReportCheckpoint(const std::string& task_id,
                                          const std::string& storage_root,
                                          const std::string& directory, int64_t step) {
  std::string weights;
  for (int i = 0; i < 300'000; ++i) weights += static_cast<char>('a' + (i * 7 + step) % 26);
  const nlohmann::json manifest = {{"step", step},
                                   {"tokens", step * 100},
                                   {"metrics", {{"loss", 1.5}}},
                                   {"files",
                                    {{{"name", "model.safetensors"},
                                      {"bytes", weights.size()},
                                      {"sha256", Sha256Hex(weights)}}}}};
  const std::filesystem::path path = std::filesystem::path(storage_root) / directory;
  WF_RETURN_IF_ERROR(CreateDirectories(path));
  WF_RETURN_IF_ERROR(WriteFileAtomically(path / "model.safetensors", weights));
  WF_RETURN_IF_ERROR(WriteFileAtomically(path / "manifest.json", manifest.dump()));
  return Report(task_id, [&](v1::WorkerEvent& event) {
    auto& saved = *event.mutable_trainer()->mutable_checkpoint_saved();
    saved.set_step(step);
    saved.set_directory(directory);
    saved.set_manifest(manifest.dump());
  });
}

}  // namespace wavefield::coordinator
