#pragma once

#include <cstdint>
#include <vector>

#include "tests/core/backend/guarded_tensors.h"
#include "tests/core/backend/operation_cases.h"

namespace wavefield::testing {

// The operands of one call, as their roles say, keyed by the seed.
std::vector<Tensor> PrepareOperands(const OperationCase& op, uint64_t seed, GuardedTensors& memory);
std::vector<Tensor> CopyAll(const std::vector<Tensor>& tensors, GuardedTensors& memory);

}  // namespace wavefield::testing
