#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "wavefield/v1/worker_service.pb.h"
#include "worker/agent/nvml.h"

namespace wavefield {

// What the CUDA module asks of driver and device.
struct CudaRequirements {
  int cuda_version = 0;              // 13020 is 13.2
  int least_compute_capability = 0;  // 80 is 8.0
};

// As `wavefield-trainer cuda` tells them; FAILED_PRECONDITION with its reason when the module is
// not there.
absl::StatusOr<CudaRequirements> AskForCudaRequirements(
    const std::filesystem::path& trainer_program, const std::function<bool()>& cancelled);

// Why ranks can never run on this GPU, or "".
std::string WhyUnfit(const v1::Gpu& gpu, int driver_cuda_version,
                     const absl::StatusOr<CudaRequirements>& requirements);

// Which GPUs `--gpus` means: "all", "none", or indices "0,2". Nullopt: all. INVALID_ARGUMENT.
absl::StatusOr<std::optional<std::set<int>>> ParseGpuSelection(const std::string& text);

// The GPUs of a worker as slots of the device "cuda", each a slot of its own. Thread-safe.
class GpuSlots {
 public:
  // Those of `selection`, in slots `first_slot`, `first_slot` + 1, …; those that do not fit have
  // none. NOT_FOUND for a selected index that the host does not have. `nvml` must not be null
  // unless nothing is selected.
  static absl::StatusOr<std::unique_ptr<GpuSlots>> Make(
      std::unique_ptr<Nvml> nvml, const std::optional<std::set<int>>& selection, int first_slot,
      const absl::StatusOr<CudaRequirements>& requirements);

  // How many slots they are.
  int slots() const { return slots_; }

  // What the coordinator is told: telemetry as of now, and why a slot that no task is in cannot be
  // used.
  std::vector<v1::Gpu> Report();

  // Whether a task may start in the slot, which has no other: OK for one that is no GPU's or whose
  // memory is free; UNAVAILABLE while other processes still use it; FAILED_PRECONDITION, with the
  // reason, when that has lasted for a minute.
  absl::Status CheckFree(int slot);

  // A task starts in the slot; what its process needs in its environment.
  std::vector<std::string> Occupy(int slot);
  void Vacate(int slot);

 private:
  struct Place {
    v1::Gpu gpu;   // as registered
    size_t index;  // in nvml_
    bool occupied = false;
    std::optional<absl::Duration> busy_since;  // a task waits since then
  };

  GpuSlots() = default;
  Place* Find(int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::unique_ptr<Nvml> nvml_;
  int slots_ = 0;
  absl::Mutex mutex_;
  std::vector<Place> places_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wavefield
