#pragma once

#include <cuda_runtime_api.h>

#include "core/tensor/tensor.h"

namespace wavefield::cuda {

// destination = source rounded to nearest even; one is fp32 and the other bf16, of equal shapes.
void Convert(Tensor source, Tensor destination, cudaStream_t stream);

}  // namespace wavefield::cuda
