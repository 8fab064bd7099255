#include "worker/trainer/device.h"

#include <fmt/format.h>

#include "core/backend/cuda/limits.h"
#include "core/base/status_macros.h"
#include "core/model/accounting.h"
#include "core/model/memory_savings.h"
#include "worker/trainer/cuda_module.h"

namespace wavefield {

absl::StatusOr<Device> OpenDevice(const std::string& name, int threads) {
  if (name == "cpu") return Device{MakeCpuBackend(threads)};
  if (name != "cuda") {
    return absl::InvalidArgumentError(
        fmt::format("this trainer does not know the device '{}'; it knows cpu and cuda", name));
  }
  Device device;
  WF_ASSIGN_OR_RETURN(device.cuda, LoadCudaModule());
  WF_ASSIGN_OR_RETURN(device.backend, device.cuda->make_backend(0));
  return device;
}

absl::Status CheckMemory(const Device& device, const ModelConfig& model,
                         const TrainingConfig& training, int64_t world_size) {
  if (device.cuda == nullptr) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const CudaDevice gpu, device.cuda->describe(0));
  const MemoryEstimate estimate = EstimateMemory(model, training, 1, "cuda", world_size);
  if (estimate.shared > gpu.shared_memory) {
    return absl::FailedPreconditionError(fmt::format(
        "a kernel for this model asks for {} KiB of a block's shared memory, and {} (compute "
        "capability {}.{}) has {}; take a GPU that has {} (8.0, 9.0, 10.0), or make d_model or "
        "n_heads smaller",
        (estimate.shared + 1023) / 1024, gpu.name, gpu.compute_capability / 10,
        gpu.compute_capability % 10, gpu.shared_memory / 1024, cuda::kMostSharedBytes / 1024));
  }
  const int64_t needed = estimate.total();
  if (needed <= gpu.free_memory) return absl::OkStatus();
  const auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  return absl::ResourceExhaustedError(fmt::format(
      "this rank needs about {:.2f} GiB, and {} has {:.2f} of {:.2f} GiB free; end what else uses "
      "it (nvidia-smi), or {}",
      gib(needed), gpu.name, gib(gpu.free_memory), gib(gpu.total_memory),
      Advice(CheapestSavings(model, training, 1, "cuda", gpu.free_memory, world_size))));
}

}  // namespace wavefield
