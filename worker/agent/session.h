#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "wavefield/v1/worker_service.pb.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/gpu_slots.h"
#include "worker/agent/host_telemetry.h"
#include "worker/agent/spool.h"
#include "worker/agent/task_runner.h"

namespace wavefield {

struct SessionOptions {
  // All but storage_probe, running and GPUs.
  v1::RegisterWorkerRequest identity;
  std::shared_ptr<GpuSlots> gpus;  // null: none
  std::filesystem::path storage_root;
  std::filesystem::path state_directory;  // of the worker
  // Without a sign of the coordinator for so long, all ranks are ended.
  absl::Duration orphan_timeout = absl::Hours(24);
  // After the first registration, with the worker's id. May be empty.
  std::function<void(const std::string& worker_id)> on_ready;
};

// Keeps the worker registered: registers until that works, then sends heartbeats; and registers
// again when the coordinator does not know it any more. On a thread of its own, until link.Stop().
class Session {
 public:
  Session(SessionOptions options, CoordinatorLink& link, TaskRunner& runner, Spool& spool);
  // REQUIRES: link.Stop() was called.
  ~Session();

  // From now on heartbeats say that the worker is about to end; one is sent at once. Thread-safe.
  void Drain();

 private:
  void Loop();
  absl::Status Register(absl::Duration& heartbeat_interval);
  absl::Status Heartbeat(absl::Duration timeout);
  void EndOrphans();
  void AddGpus(google::protobuf::RepeatedPtrField<v1::Gpu>& gpus);

  const SessionOptions options_;
  CoordinatorLink& link_;
  TaskRunner& runner_;
  Spool& spool_;
  HostMeter host_;
  std::atomic<bool> draining_ = false;
  bool ready_ = false;
  bool orphaned_ = false;
  std::thread thread_;
};

}  // namespace wavefield
