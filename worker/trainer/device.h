#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/backend/backend.h"
#include "core/backend/cuda/module/module.h"
#include "core/model/config/model_config.h"
#include "core/model/config/training_config.h"

namespace wavefield {

// What a rank computes on: ResourceSpec.device.
struct Device {
  std::unique_ptr<Backend> backend;
  const CudaModule* cuda = nullptr;  // null: the CPU
};

// "cpu", with so many threads, or "cuda": the first GPU that this process sees. The errors of
// LoadCudaModule() and CudaModule; INVALID_ARGUMENT for another name.
absl::StatusOr<Device> OpenDevice(const std::string& name, int threads);

// Whether a GPU can hold one of `world_size` ranks of this training: RESOURCE_EXHAUSTED when it has
// less memory free than that will need, with both numbers and what would fit; FAILED_PRECONDITION
// when a block of its threads has less shared memory than a kernel asks for.
absl::Status CheckMemory(const Device& device, const ModelConfig& model,
                         const TrainingConfig& training, int64_t world_size);

}  // namespace wavefield
