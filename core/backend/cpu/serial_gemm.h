#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstdint>

#include "core/base/check.h"

namespace wavefield {

// c = op(a) · op(b) + beta · c on the calling thread alone, which must be inside a parallel region
// or have OpenMP's default set to one thread. transpose_*: 'N' or 'T'; row-major; c [m, n]; k is
// the inner dimension; ld*: distance between stored rows.
inline void SerialGemm(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k,
                       const float* a, int64_t lda, const float* b, int64_t ldb, float beta,
                       float* c, int64_t ldc) {
  WF_CHECK(dnnl_sgemm(transpose_a, transpose_b, m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc) ==
           dnnl_success);
}

}  // namespace wavefield
