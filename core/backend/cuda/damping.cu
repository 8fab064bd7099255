#include "core/backend/contract.h"
#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kGroups = kThreads / kWarp;  // of rows in a block

// Reads 4 bytes, or none when static, and writes 4 per row and head; some 30 FLOPs. pre may be
// null.
__global__ void DampingForwardKernel(const float* pre, const float* bias, int64_t n, int64_t heads,
                                     float* damping) {
  const int64_t i = GridIndex();
  if (i >= n) return;
  const float x = (pre != nullptr ? pre[i] : 0.0f) + bias[i % heads];
  damping[i] = fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

// A lane has a head, a warp every kGroups-th of the block's rows. Reads 8 bytes and writes 4 per
// row and head; some 15 FLOPs. dpre may be ddamping, or null; partials [blocks, heads].
__global__ void DampingBackwardKernel(const float* damping, const float* ddamping, int64_t rows,
                                      int64_t rows_per_block, int64_t heads, float* dpre,
                                      float* partials) {
  float* groups = SharedMemory<float>();  // [kGroups, kWarp]
  const int lane = threadIdx.x % kWarp, group = threadIdx.x / kWarp;
  const int64_t head = static_cast<int64_t>(blockIdx.y) * kWarp + lane;
  const int64_t begin = blockIdx.x * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  float sum = 0;
  if (head < heads) {
    for (int64_t row = begin + group; row < end; row += kGroups) {
      // The derivative of softplus is the sigmoid, which is 1 − e^(−softplus).
      const int64_t at = row * heads + head;
      const float gradient = ddamping[at] * -expm1f(-damping[at]);
      if (dpre != nullptr) dpre[at] = gradient;
      sum += gradient;
    }
  }
  groups[threadIdx.x] = sum;
  __syncthreads();
  if (group > 0 || head >= heads) return;
  for (int g = 1; g < kGroups; ++g) sum += groups[g * kWarp + lane];
  partials[blockIdx.x * heads + head] = sum;
}

}  // namespace
}  // namespace cuda

void CudaBackend::DampingForward(Tensor pre, Tensor bias, Tensor damping) {
  const auto size = contract::Damping(pre, damping, bias);
  const int64_t n = size.rows * size.width;
  cuda::Launch({"DampingForwardKernel", cuda::Blocks(n, cuda::kThreads), cuda::kThreads}, stream_,
               cuda::DampingForwardKernel, cuda::Data<float>(pre), bias.f32(), n, size.width,
               damping.f32());
}

void CudaBackend::DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) {
  const auto size = contract::Damping(damping, ddamping, dbias);
  contract::Damping(dpre, ddamping, dbias);
  const auto [blocks, rows_per_block] = cuda::SplitRows(size.rows);
  if (blocks == 0) return;
  const ArenaScope scope(workspace_);
  const Tensor partials = workspace_.Allocate({blocks, size.width});
  const dim3 grid(static_cast<unsigned>(blocks), cuda::Blocks(size.width, cuda::kWarp));
  cuda::Launch({"DampingBackwardKernel", grid, cuda::kThreads, cuda::kThreads * sizeof(float)},
               stream_, cuda::DampingBackwardKernel, damping.f32(), ddamping.f32(), size.rows,
               rows_per_block, size.width, cuda::Data<float>(dpre), partials.f32());
  cuda::AddPartialSums(partials.f32(), blocks, size.width, dbias.f32(), stream_);
}

}  // namespace wavefield
