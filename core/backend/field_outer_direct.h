#pragma once

// The wave field of outer deposits as a direct sum over all pairs (t, s), s ≤ t (backend.h,
// Propagation::kDirect): arithmetic in double, results rounded to fp32 once. Host memory.
//
// One call does one item, b·H + h: head h of sequence b. Items touch nothing of each other, so
// different ones may run on different threads.

#include <cstdint>

#include "core/backend/contract.h"
#include "core/backend/wave_sums.h"
#include "core/tensor/tensor.h"

namespace wavefield {

void DirectOuterForward(const contract::FieldSizes& size, int64_t item, Tensor qkv, Tensor damping,
                        Tensor frequency, Tensor phase, Tensor state, Tensor y);

// Returns what is summed over the batch (ReduceWaveSums).
WaveSums DirectOuterBackward(const contract::FieldSizes& size, int64_t item, Tensor qkv,
                             Tensor damping, Tensor frequency, Tensor phase, Tensor state,
                             Tensor dy, Tensor dstate, Tensor dqkv, Tensor ddamping);

}  // namespace wavefield
