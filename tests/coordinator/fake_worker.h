#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield::coordinator {

// Speaks a worker's side of the protocol; runs nothing. Heartbeats go on by themselves while it
// watches.
class FakeWorker {
 public:
  FakeWorker(std::string id, std::string incarnation, int slots, std::string probe)
      : id_(std::move(id)),
        incarnation_(std::move(incarnation)),
        slots_(slots),
        probe_(std::move(probe)) {}
  ~FakeWorker() { Disconnect(); }

  // What it says of its GPUs. Set before Connect(), and changed by SetGpus() afterwards.
  void SetGpus(std::vector<v1::Gpu> gpus);
  // What its heartbeats say of its host, and by how much its clock is ahead.
  void SetHost(v1::HostTelemetry host, absl::Duration clock_difference);

  // Registers over `channel` as running `running`, and watches assignments from then on.
  absl::Status Connect(std::shared_ptr<grpc::Channel> channel,
                       const std::set<std::string>& running = {});
  void Disconnect();
  // Falls silent: no heartbeats any more.
  void Hang();

  absl::Status Heartbeat(int64_t spool_depth = 0, bool draining = false);

  // The newest list; waits up to ten seconds until it has so many assignments.
  v1::AssignmentList WaitForAssignments(int count);

  // One event, reported and acknowledged.
  absl::Status Report(const std::string& task_id,
                      const std::function<void(v1::WorkerEvent&)>& fill);
  absl::Status ReportStarted(const std::string& task_id, int pid = 1);
  absl::Status ReportExit(const std::string& task_id, int code);
  absl::Status ReportSignal(const std::string& task_id, int signal);
  absl::Status ReportTraining(const std::string& task_id, const std::string& resumed_from = "");
  absl::Status ReportStep(const std::string& task_id, int64_t step);
  absl::Status ReportFinished(const std::string& task_id, bool stopped);
  // Writes the files of a checkpoint below `storage_root`, too.
  absl::Status ReportCheckpoint(const std::string& task_id, const std::string& storage_root,
                                const std::string& directory, int64_t step);

  v1::WorkerService::Stub& stub() { return *stub_; }
  int64_t sequence() const { return sequence_; }
  void set_sequence(int64_t sequence) { sequence_ = sequence; }

 private:
  const std::string id_;
  const std::string incarnation_;
  const int slots_;
  const std::string probe_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  int64_t sequence_ = 0;
  std::unique_ptr<grpc::ClientContext> watch_;
  std::thread reader_;
  std::thread heartbeats_;
  std::mutex mutex_;
  v1::AssignmentList list_;
  bool hung_ = false;
  std::vector<v1::Gpu> gpus_;
  v1::HostTelemetry host_;
  absl::Duration clock_difference_;
};

// A GPU that fits, with 8 GiB, in this slot.
inline v1::Gpu FakeGpu(int index, int slot) {
  v1::Gpu gpu;
  gpu.set_index(index);
  gpu.set_slot(slot);
  gpu.set_uuid("GPU-" + std::to_string(index));
  gpu.set_model("Emulated");
  gpu.set_driver_version("580.65.06");
  gpu.set_memory_bytes(int64_t{8} << 30);
  gpu.set_compute_capability(90);
  return gpu;
}

}  // namespace wavefield::coordinator
