#pragma once

#include "core/backend/contract.h"
#include "core/tensor/tensor.h"

namespace wavefield {

// The elementwise field as the direct sum over all pairs (s, t), s ≤ t, in double, rounded to fp32
// once: Propagation::kDirect of every host backend. Arguments as in backend.h, already checked.
// O(T²) time; one sequence's head in double at a time.
void FieldElementwiseDirectForward(const contract::FieldSizes& size, Tensor qkv, Tensor damping,
                                   Tensor frequency, Tensor phase, Tensor state, Tensor field);
void FieldElementwiseDirectBackward(const contract::FieldSizes& size, Tensor qkv, Tensor damping,
                                    Tensor frequency, Tensor phase, Tensor state, Tensor dfield,
                                    Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                    Tensor dphase);

}  // namespace wavefield
