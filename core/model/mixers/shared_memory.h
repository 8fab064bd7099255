#pragma once

#include <fmt/format.h>

#include <cstddef>

#include "core/backend/cuda/limits.h"
#include "core/model/config/field_violation.h"
#include "core/model/config/model_config.h"

namespace wavefield {

// Adds a violation when a block of a GPU's threads has less shared memory than the bytes that
// `operation` ("the layer norm") needs for this model.
inline void RequireSharedMemory(const ModelConfig& c, const char* operation, size_t bytes,
                                ViolationList& violations) {
  if (bytes <= cuda::kMostSharedBytes) return;
  violations.Add("model.d_model",
                 fmt::format("is {} with {} heads: on device 'cuda' {} needs {} KiB of a block's "
                             "shared memory, and GPUs have {}; make d_model or n_heads smaller, or "
                             "set resources.device to 'cpu'",
                             c.d_model, c.n_heads, operation, (bytes + 1023) / 1024,
                             cuda::kMostSharedBytes / 1024));
}

}  // namespace wavefield
