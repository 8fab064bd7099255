#pragma once

// Gradients of a field that every token shares, summed per head of a sequence, then over the batch.

#include "core/backend/contract.h"
#include "core/tensor/tensor.h"

namespace wavefield {

struct WaveSums {
  double omega = 0.0, phi = 0.0;
  double damping = 0.0;  // used where damping is static
};

// sums [B, H], added up over B in order: dfrequency, dphase [H] +=; ddamping = where it is static,
// and is left alone otherwise.
void ReduceWaveSums(const contract::FieldSizes& size, const WaveSums* sums, Tensor ddamping,
                    Tensor dfrequency, Tensor dphase);

}  // namespace wavefield
