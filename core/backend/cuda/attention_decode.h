#pragma once

// Attention of one token to a history: what generation does.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "core/backend/cuda/attention_rows.h"

namespace wavefield::cuda {

// How many floats DecodeToken needs for partial results.
int64_t DecodeFloats(int64_t batch, const AttentionShape& shape);

// y [B, D] and log_sum [B, H] of the one token of qkv [B, 3D] per sequence. The history [B,
// capacity, 2D] is read once, in stretches of fixed length. All in device memory. T: float or
// BFloat16. REQUIRES: shape.tokens is 1 and its row is in the history.
template <typename T>
void DecodeToken(int64_t batch, const AttentionShape& shape, const T* qkv, const float* history,
                 float* partials, T* y, float* log_sum, cudaStream_t stream);

}  // namespace wavefield::cuda
