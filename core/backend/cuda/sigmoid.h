#pragma once

#include "core/backend/cuda/device.h"

namespace wavefield::cuda {

__device__ inline float Sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

}  // namespace wavefield::cuda
