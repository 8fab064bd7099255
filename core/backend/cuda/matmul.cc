#include "core/backend/contract.h"
#include "core/backend/cuda/convert.h"
#include "core/backend/cuda/cuda_backend.h"

namespace wavefield {

// In fp32 when all three are, else in bf16: what is fp32 (a parameter, a gradient kept in fp32) is
// rounded first.
void CudaBackend::MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b,
                         float beta, Tensor c) {
  const auto size = contract::MatMul(transpose_a, transpose_b, a, b, beta, c);
  const ArenaScope scope(workspace_);
  const bool fp32 =
      a.dtype == DType::kFloat32 && b.dtype == DType::kFloat32 && c.dtype == DType::kFloat32;
  const auto operand = [&](Tensor x, Transpose transpose) {
    if (!fp32 && x.dtype == DType::kFloat32 && x.elements() > 0) {
      const Tensor rounded = workspace_.Allocate(x.shape, DType::kBFloat16);
      cuda::Convert(x, rounded, stream_);
      x = rounded;
    }
    return cuda::Matrix{.data = x.data,
                        .dtype = x.dtype,
                        .leading = x.shape[1],
                        .transposed = transpose == Transpose::kYes};
  };
  gemms_.Run({.m = size.m,
              .n = size.n,
              .k = size.k,
              .a = operand(a, transpose_a),
              .b = operand(b, transpose_b),
              .c = {.data = c.data, .dtype = c.dtype, .leading = size.n},
              .beta = beta},
             stream_);
}

}  // namespace wavefield
