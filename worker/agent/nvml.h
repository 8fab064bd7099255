#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

// The GPUs of this host, as NVIDIA's management library tells of them. The library belongs to the
// driver and is loaded at run time; hosts without it have no GPUs. Thread-safe.
class Nvml {
 public:
  // NOT_FOUND when the host has no NVIDIA driver; UNAVAILABLE when it does not answer, with its
  // reason.
  static absl::StatusOr<std::unique_ptr<Nvml>> Open();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // 13020 is 13.2: the newest CUDA that the driver runs.
  int cuda_version() const { return cuda_version_; }
  // In the driver's order, without slots and telemetry. The position is what Read() takes.
  const std::vector<v1::Gpu>& gpus() const { return gpus_; }

  // As of now. What the driver does not tell is left out.
  v1::GpuTelemetry Read(size_t gpu);

 private:
  struct Library;

  explicit Nvml(std::unique_ptr<Library> library);
  absl::Status Describe();
  absl::Status DescribeGpu(unsigned index, const std::string& driver_version);
  void WatchErrors();
  void CollectErrors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<Library> library_;
  int cuda_version_ = 0;
  std::vector<v1::Gpu> gpus_;
  std::vector<void*> handles_;
  void* errors_ = nullptr;  // a set of events; null: the driver tells none

  absl::Mutex mutex_;
  std::vector<int64_t> last_xid_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wavefield
