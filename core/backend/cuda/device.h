#pragma once

// The vocabulary of kernels: the only header through which a .cu file sees the device. nvcc brings
// CUDA's own; tests compile the same kernels for the host with a header of the same names
// (tests/cuda/emulation/device.h), given by WAVEFIELD_DEVICE_HEADER.
//
// Kernels may use: threadIdx, blockIdx, blockDim, gridDim; __syncthreads, __syncwarp,
// __shfl_sync, __shfl_xor_sync, __shfl_up_sync, __shfl_down_sync, __ballot_sync; integer atomicAdd
// and atomicMax (never floating point: order would change bits); the single-precision functions of
// <cmath> by their C names and rsqrtf, __trap. All shared memory is dynamic: SharedMemory<T>().

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <math.h>

#include <cstdint>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include WAVEFIELD_DEVICE_HEADER
#endif

namespace wavefield::cuda {

constexpr int kWarp = 32;
constexpr unsigned kFullMask = 0xffffffffu;

using BFloat16 = __nv_bfloat16;

// Activations are float or BFloat16 in memory and float in registers.
__device__ inline float Load(const float* x) { return *x; }
__device__ inline float Load(const BFloat16* x) { return __bfloat162float(*x); }
__device__ inline void Store(float* x, float value) { *x = value; }
__device__ inline void Store(BFloat16* x, float value) { *x = __float2bfloat16_rn(value); }

// N elements moved at once. A pointer to one is aligned to its size: sizeof(T) · N ≤ 16, a power
// of two.
template <typename T, int N>
struct alignas(sizeof(T) * N) Packet {
  T element[N];
};

// The block's dynamic shared memory, of the size given to Launch(); 128-byte aligned (16 under
// emulation). Undefined at first.
template <typename T>
__device__ T* SharedMemory() {
#ifdef __CUDACC__
  extern __shared__ __align__(128) unsigned char wavefield_shared_memory[];
  return reinterpret_cast<T*>(wavefield_shared_memory);
#else
  return static_cast<T*>(DynamicSharedMemory());
#endif
}

// Sums and maxima over the 32 lanes, in a fixed order; every lane gets the result.
__device__ inline float WarpSum(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kFullMask, x, offset);
  return x;
}
__device__ inline float WarpMax(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kFullMask, x, offset));
  }
  return x;
}

// Over a block of whole warps; every thread gets the result. `shared` has one float per warp and is
// free to be used again after the next barrier.
__device__ inline float BlockSum(float x, float* shared) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int warps = blockDim.x / kWarp;
  x = WarpSum(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < warps; ++w) sum += shared[w];
  return sum;
}
__device__ inline float BlockMax(float x, float* shared) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int warps = blockDim.x / kWarp;
  x = WarpMax(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  float largest = shared[0];
  for (int w = 1; w < warps; ++w) largest = fmaxf(largest, shared[w]);
  return largest;
}

}  // namespace wavefield::cuda
