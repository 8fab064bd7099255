#pragma once

#include <vector>

#include "core/backend/backend.h"
#include "core/tensor/tensor.h"

namespace wavefield {

// The elements of x, fp32 or bf16, on the host.
std::vector<float> ToHost(Backend& backend, Tensor x);

}  // namespace wavefield
