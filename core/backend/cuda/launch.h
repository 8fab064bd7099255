#pragma once

// The one way in which kernels are launched.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/backend/cuda/errors.h"

#ifndef __CUDACC__
#include WAVEFIELD_DEVICE_HEADER
#endif

namespace wavefield::cuda {

struct LaunchShape {
  const char* name;         // of the kernel, for messages
  dim3 grid;                // x ≤ 2³¹ − 1; y, z ≤ 65,535. No launch happens when x is 0.
  dim3 block;               // at most 1,024 threads
  size_t shared_bytes = 0;  // dynamic shared memory of a block
};

// Blocks of `threads` for `n` elements, `per_thread` each.
inline unsigned Blocks(int64_t n, int64_t threads, int64_t per_thread = 1) {
  const int64_t per_block = threads * per_thread;
  return static_cast<unsigned>((n + per_block - 1) / per_block);
}

// Runs kernel(arguments…) on `stream`. Aborts, naming the kernel, when the launch is refused.
template <typename... Parameters>
void Launch(const LaunchShape& shape, cudaStream_t stream, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  if (shape.grid.x == 0) return;
  constexpr size_t kWithoutOptIn = 48 << 10;
  if (shape.shared_bytes > kWithoutOptIn) {
    Check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          shape.name, __FILE__, __LINE__);
  }
#ifdef __CUDACC__
  void* pointers[] = {&arguments..., nullptr};
  Check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), shape.grid, shape.block, pointers,
                         shape.shared_bytes, stream),
        shape.name, __FILE__, __LINE__);
#else
  Check(LaunchOnHost(shape.name, reinterpret_cast<const void*>(kernel), shape.grid, shape.block,
                     shape.shared_bytes, stream, [=] { kernel(arguments...); }),
        shape.name, __FILE__, __LINE__);
#endif
}

}  // namespace wavefield::cuda
