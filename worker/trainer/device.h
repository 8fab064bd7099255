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

// RESOURCE_EXHAUSTED when a GPU has less memory free than one of `world_size` ranks of this
// training will need: with both numbers, and what would fit.
absl::Status CheckFreeMemory(const Device& device, const ModelConfig& model,
                             const TrainingConfig& training, int64_t world_size);

}  // namespace wavefield
