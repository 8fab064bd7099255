// The coupled read of the classic form.

#include "core/backend/contract.h"
#include "core/backend/cuda/column_sums.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/limits.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

// One warp per head i. share [H, H] = softmax of the coupling's rows, scale [H] = √(1 − e^(−2
// damping)). Reads and writes 4 · H bytes a head, some 10 FLOPs per pair of heads.
__global__ void CouplingSharesKernel(int heads, const float* coupling, const float* damping,
                                     float* share, float* scale) {
  const int i = blockIdx.x, lane = threadIdx.x;
  const float* row = coupling + i * heads;
  float largest = -INFINITY, sum = 0;
  for (int j = lane; j < heads; j += kWarp) largest = fmaxf(largest, row[j]);
  largest = WarpMax(largest);
  for (int j = lane; j < heads; j += kWarp) sum += expf(row[j] - largest);
  sum = WarpSum(sum);
  for (int j = lane; j < heads; j += kWarp) share[i * heads + j] = expf(row[j] - largest) / sum;
  if (lane == 0) scale[i] = sqrtf(-expm1f(-2.0f * damping[i]));
}

// A row in shared memory, its heads one element further apart than their width: threads at the same
// column of neighbouring heads read different banks.
struct HeadRow {
  float* data;
  int stride;
  __device__ float& At(int head, int column) const { return data[head * stride + column]; }
};

// A block per row. Reads two rows and writes one; 2 · H FLOPs per element. The shares stay in the
// L1 cache.
template <typename T>
__global__ void CoupledReadForwardKernel(const T* field, const T* qkv, const float* share,
                                         const float* scale, int heads, int head_width, T* y) {
  const int width = heads * head_width;
  const HeadRow scaled{SharedMemory<float>(), head_width + 1};
  const int64_t row = static_cast<int64_t>(blockIdx.x) * width;
  for (int c = threadIdx.x; c < width; c += blockDim.x) {
    const int j = c / head_width;
    scaled.At(j, c % head_width) = scale[j] * Load(field + row + c);
  }
  __syncthreads();
  for (int c = threadIdx.x; c < width; c += blockDim.x) {
    const float* shares = share + c / head_width * heads;
    float heard = 0;
    for (int j = 0; j < heads; ++j) heard += shares[j] * scaled.At(j, c % head_width);
    Store(y + row + c, Load(qkv + 3 * row + c) * heard);
  }
}

// A block takes its rows one after another. Reads three rows and writes two; 6 · H FLOPs per
// element. products [blocks, H, H] = Σ_n q_i dy_i · (scale_j field_j) over the block's rows.
template <typename T>
__global__ void CoupledReadBackwardKernel(const T* field, const T* qkv, const float* share,
                                          const float* scale, const T* dy, int64_t rows, int heads,
                                          int head_width, int64_t rows_per_block, T* dfield,
                                          T* dqkv, float* products) {
  const int width = heads * head_width, pairs = heads * heads, stride = head_width + 1;
  float* sums = SharedMemory<float>();  // [H, H], each one thread's own
  const HeadRow scaled{sums + pairs, stride}, dheard{scaled.data + heads * stride, stride};
  for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x) sums[pair] = 0;
  const int64_t begin = blockIdx.x * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  for (int64_t n = begin; n < end; ++n) {
    const int64_t row = n * width;
    __syncthreads();
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
      const int j = c / head_width;
      scaled.At(j, c % head_width) = scale[j] * Load(field + row + c);
      dheard.At(j, c % head_width) = Load(dy + row + c) * Load(qkv + 3 * row + c);
    }
    __syncthreads();
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
      const int head = c / head_width, column = c % head_width;
      float heard = 0, gradient = 0;
      for (int other = 0; other < heads; ++other) {
        heard += share[head * heads + other] * scaled.At(other, column);
        gradient += share[other * heads + head] * dheard.At(other, column);
      }
      Store(dqkv + 3 * row + c, Load(dy + row + c) * heard);
      Store(dfield + row + c, scale[head] * gradient);
    }
    for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
      float product = 0;
      for (int c = 0; c < head_width; ++c) {
        product += dheard.At(pair / heads, c) * scaled.At(pair % heads, c);
      }
      sums[pair] += product;
    }
  }
  for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
    products[static_cast<int64_t>(blockIdx.x) * pairs + pair] = sums[pair];
  }
}

// One warp per head: row i of dcoupling, and ddamping of head i. Reads 20 · H bytes a head and
// writes 4 · H; some 8 FLOPs per pair of heads. products [H, H] as above, of all rows.
__global__ void CoupledReadGradientKernel(int heads, const float* share, const float* scale,
                                          const float* damping, const float* products,
                                          float* dcoupling, float* ddamping) {
  const int i = blockIdx.x, lane = threadIdx.x;
  float mean = 0, dscale = 0;
  for (int j = lane; j < heads; j += kWarp) {
    mean += share[i * heads + j] * products[i * heads + j];
    dscale += share[j * heads + i] * products[j * heads + i];
  }
  mean = WarpSum(mean);
  for (int j = lane; j < heads; j += kWarp) {
    const int pair = i * heads + j;
    dcoupling[pair] += share[pair] * (products[pair] - mean);
  }
  // Products have a factor of scale too many for dscale, and its slope is e^(−2 damping) / scale.
  dscale = WarpSum(dscale);
  const float s = scale[i];
  if (lane == 0) ddamping[i] = s > 0 ? dscale / s * expf(-2.0f * damping[i]) / s : 0;
}

void MakeShares(const Tensor& coupling, const Tensor& damping, float* share, float* scale,
                cudaStream_t stream) {
  const auto heads = static_cast<int>(coupling.shape[0]);
  Launch({"CouplingSharesKernel", static_cast<unsigned>(heads), kWarp}, stream,
         CouplingSharesKernel, heads, coupling.f32(), damping.f32(), share, scale);
}

}  // namespace
}  // namespace cuda

void CudaBackend::CoupledReadForward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                     Tensor y) {
  const auto size = contract::CoupledRead(field, qkv, coupling, damping, y);
  const ArenaScope scope(workspace_);
  float* share = workspace_.Allocate(coupling.shape).f32();
  float* scale = workspace_.Allocate({size.heads}).f32();
  cuda::MakeShares(coupling, damping, share, scale, stream_);
  cuda::DispatchActivation(field.dtype, [&]<typename T>(T) {
    const size_t shared = cuda::CoupledReadForwardShared(size.heads, size.head_width);
    cuda::Launch({"CoupledReadForwardKernel", static_cast<unsigned>(size.rows),
                  cuda::RowThreads(size.width()), shared},
                 stream_, cuda::CoupledReadForwardKernel<T>, cuda::Data<T>(field),
                 cuda::Data<T>(qkv), share, scale, static_cast<int>(size.heads),
                 static_cast<int>(size.head_width), cuda::Data<T>(y));
  });
}

void CudaBackend::CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                      Tensor dy, Tensor dfield, Tensor dqkv, Tensor dcoupling,
                                      Tensor ddamping) {
  const auto size = contract::CoupledReadBackward(field, qkv, coupling, damping, dy, dfield, dqkv,
                                                  dcoupling, ddamping);
  const auto heads = static_cast<int>(size.heads);
  const int64_t pairs = size.heads * size.heads;
  const auto [blocks, rows_per_block] = cuda::SplitRows(size.rows);
  const ArenaScope scope(workspace_);
  float* share = workspace_.Allocate(coupling.shape).f32();
  float* scale = workspace_.Allocate({size.heads}).f32();
  const Tensor products = workspace_.Allocate({pairs});
  float* sums = workspace_.Allocate({blocks, pairs}).f32();
  cuda::MakeShares(coupling, damping, share, scale, stream_);
  cuda::DispatchActivation(field.dtype, [&]<typename T>(T) {
    const size_t shared = cuda::CoupledReadBackwardShared(size.heads, size.head_width);
    cuda::Launch({"CoupledReadBackwardKernel", static_cast<unsigned>(blocks),
                  cuda::RowThreads(size.width()), shared},
                 stream_, cuda::CoupledReadBackwardKernel<T>, cuda::Data<T>(field),
                 cuda::Data<T>(qkv), share, scale, cuda::Data<T>(dy), size.rows, heads,
                 static_cast<int>(size.head_width), rows_per_block, cuda::Data<T>(dfield),
                 cuda::Data<T>(dqkv), sums);
  });
  Fill(products, 0);
  cuda::AddPartialSums(sums, blocks, pairs, products.f32(), stream_);
  cuda::Launch({"CoupledReadGradientKernel", static_cast<unsigned>(heads), cuda::kWarp}, stream_,
               cuda::CoupledReadGradientKernel, heads, share, scale, damping.f32(), products.f32(),
               dcoupling.f32(), ddamping.f32());
}

}  // namespace wavefield
