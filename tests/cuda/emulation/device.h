#pragma once

// What kernels need from the device, for the host: core/backend/cuda/device.h includes this where
// nvcc would bring CUDA's own. Every thread of a block runs on a fiber of its own.

#include <cuda_runtime_api.h>
#include <math.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>

namespace wavefield::emulation {

// Where the running thread stands; no thread runs while block_dim.x is 0.
struct Running {
  uint3 thread, block;
  dim3 block_dim, grid_dim;
  void* shared;
};
// The TLS model keeps access to it cheap in shared libraries, too.
extern constinit thread_local Running running [[gnu::tls_model("initial-exec")]];

enum class WarpOperation { kBarrier, kShuffle, kBallot };

void BlockBarrier(const std::source_location& place);

// Waits for all lanes of the mask to come to the same place. Shuffle: gives the value of lane
// `source` (0 … 31). Ballot: gives the bits of the lanes whose value is not 0.
uint64_t WarpWait(WarpOperation operation, unsigned mask, uint64_t value, int source,
                  const std::source_location& place);

int Lane();
[[noreturn]] void Trap(const std::source_location& place);

template <typename T>
T Shuffle(unsigned mask, T value, int source, const std::source_location& place) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<T>(static_cast<uint32_t>(
        WarpWait(WarpOperation::kShuffle, mask, std::bit_cast<uint32_t>(value), source, place)));
  } else {
    return std::bit_cast<T>(
        WarpWait(WarpOperation::kShuffle, mask, std::bit_cast<uint64_t>(value), source, place));
  }
}

}  // namespace wavefield::emulation

#define threadIdx (::wavefield::emulation::running.thread)
#define blockIdx (::wavefield::emulation::running.block)
#define blockDim (::wavefield::emulation::running.block_dim)
#define gridDim (::wavefield::emulation::running.grid_dim)
#define __launch_bounds__(...)  // of the compiler for the device

inline void __syncthreads(std::source_location place = std::source_location::current()) {
  ::wavefield::emulation::BlockBarrier(place);
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       std::source_location place = std::source_location::current()) {
  ::wavefield::emulation::WarpWait(::wavefield::emulation::WarpOperation::kBarrier, mask, 0, 0,
                                   place);
}

// Lanes are grouped by `width`, a power of two; a source outside of the group is the lane itself.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location place = std::source_location::current()) {
  const int lane = ::wavefield::emulation::Lane();
  return ::wavefield::emulation::Shuffle(mask, value, (lane & -width) | (source & (width - 1)),
                                         place);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  std::source_location place = std::source_location::current()) {
  const int lane = ::wavefield::emulation::Lane(), source = lane ^ bits;
  return ::wavefield::emulation::Shuffle(mask, value,
                                         source <= (lane | (width - 1)) ? source : lane, place);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location place = std::source_location::current()) {
  const int lane = ::wavefield::emulation::Lane(), source = lane - static_cast<int>(delta);
  return ::wavefield::emulation::Shuffle(mask, value, source >= (lane & -width) ? source : lane,
                                         place);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location place = std::source_location::current()) {
  const int lane = ::wavefield::emulation::Lane(), source = lane + static_cast<int>(delta);
  return ::wavefield::emulation::Shuffle(mask, value,
                                         source <= (lane | (width - 1)) ? source : lane, place);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              std::source_location place = std::source_location::current()) {
  return static_cast<unsigned>(::wavefield::emulation::WarpWait(
      ::wavefield::emulation::WarpOperation::kBallot, mask, predicate != 0, 0, place));
}
inline int __any_sync(unsigned mask, int predicate,
                      std::source_location place = std::source_location::current()) {
  return __ballot_sync(mask, predicate, place) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      std::source_location place = std::source_location::current()) {
  return __ballot_sync(mask, predicate, place) == mask;
}

inline int atomicAdd(int* x, int value) { return __atomic_fetch_add(x, value, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned* x, unsigned value) {
  return __atomic_fetch_add(x, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicAdd(unsigned long long* x, unsigned long long value) {
  return __atomic_fetch_add(x, value, __ATOMIC_RELAXED);
}

namespace wavefield::emulation {
template <typename T>
T AtomicMax(T* x, T value) {
  T old = __atomic_load_n(x, __ATOMIC_RELAXED);
  while (old < value &&
         !__atomic_compare_exchange_n(x, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
}  // namespace wavefield::emulation

inline int atomicMax(int* x, int value) { return ::wavefield::emulation::AtomicMax(x, value); }
inline unsigned atomicMax(unsigned* x, unsigned value) {
  return ::wavefield::emulation::AtomicMax(x, value);
}
inline unsigned long long atomicMax(unsigned long long* x, unsigned long long value) {
  return ::wavefield::emulation::AtomicMax(x, value);
}

template <typename T>
T __ldg(const T* x) {
  return *x;
}
inline void __threadfence() {}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
[[noreturn]] inline void __trap(std::source_location place = std::source_location::current()) {
  ::wavefield::emulation::Trap(place);
}

// The block's shared memory, of the launched size.
inline void* DynamicSharedMemory() { return ::wavefield::emulation::running.shared; }

namespace wavefield::cuda {

// Enqueues the kernel whose thread is `thread_body`. Refuses what a device of compute capability
// 9.0 would refuse and says why on stderr.
cudaError_t LaunchOnHost(const char* name, const void* kernel, dim3 grid, dim3 block,
                         size_t shared_bytes, cudaStream_t stream,
                         std::function<void()> thread_body);

}  // namespace wavefield::cuda
