#pragma once

// Attention of one token to a history: what generation does. Reads the history once, row by row, in
// stretches of fixed length, so that the bits do not depend on the number of threads.

#include <cstdint>

#include "core/backend/contract.h"

namespace wavefield {

// REQUIRES of both: size.tokens is 1 and its row is in the history. scratch: DecodeFloats, aligned
// to 64 bytes.
int64_t DecodeFloats(int threads, const contract::AttentionSizes& size, int64_t position);
void DecodeToken(int threads, const contract::AttentionSizes& size, int64_t position,
                 const Tensor& qkv, const Tensor& history, float* scratch, const Tensor& y,
                 const Tensor& log_sum);

}  // namespace wavefield
