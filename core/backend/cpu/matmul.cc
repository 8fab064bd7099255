#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <string>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"

namespace wavefield {

void CpuBackend::MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b,
                        float beta, Tensor c) {
  const auto size = contract::MatMul(transpose_a, transpose_b, a, b, beta, c);
  if (size.m == 0 || size.n == 0) return;
  if (size.k == 0) {
    if (beta == 0.0f) Fill(c, 0.0f);
    return;
  }
  omp_set_num_threads(threads_);  // oneDNN takes the default of the calling thread
  const dnnl_status_t status =
      dnnl_sgemm(transpose_a == Transpose::kYes ? 'T' : 'N',
                 transpose_b == Transpose::kYes ? 'T' : 'N', size.m, size.n, size.k, 1.0f, a.f32(),
                 a.shape[1], b.f32(), b.shape[1], beta, c.f32(), size.n);
  WF_CHECK_MSG(status == dnnl_success, "dnnl_sgemm: status " + std::to_string(status));
}

}  // namespace wavefield
