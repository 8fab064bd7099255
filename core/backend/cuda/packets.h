#pragma once

// How kernels over rows and ranges move their elements: sixteen bytes at once where pointers and
// widths allow, else one by one.

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/device.h"

namespace wavefield::cuda {

// Threads of a block where nothing else is said.
constexpr int kThreads = 256;

// Elements of T in 16 bytes.
template <typename T>
constexpr int kPacket = static_cast<int>(16 / sizeof(T));

// N neighbouring elements, in registers.
template <int N>
struct Values {
  float at[N];
};

// x is aligned to N elements or to 16 bytes, whichever is less.
template <int N, typename T>
__device__ inline Values<N> LoadValues(const T* x) {
  constexpr int kPart = N < kPacket<T> ? N : kPacket<T>;
  Values<N> values;
#pragma unroll
  for (int i = 0; i < N; i += kPart) {
    const auto packet = *reinterpret_cast<const Packet<T, kPart>*>(x + i);
#pragma unroll
    for (int j = 0; j < kPart; ++j) values.at[i + j] = Load(&packet.element[j]);
  }
  return values;
}

template <int N, typename T>
__device__ inline void StoreValues(T* x, const Values<N>& values) {
  constexpr int kPart = N < kPacket<T> ? N : kPacket<T>;
#pragma unroll
  for (int i = 0; i < N; i += kPart) {
    Packet<T, kPart> packet;
#pragma unroll
    for (int j = 0; j < kPart; ++j) Store(&packet.element[j], values.at[i + j]);
    *reinterpret_cast<Packet<T, kPart>*>(x + i) = packet;
  }
}

// The thread's place in a grid of one dimension.
__device__ inline int64_t GridIndex() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// A number of elements as a type.
template <int N>
struct Count {};

// body(Count<N>, i) if elements i … i+N−1 are all among the n of a range, else body(Count<1>, ·)
// for each of those that are.
template <int N, typename Body>
__device__ inline void ForPacket(int64_t i, int64_t n, Body body) {
  if (i + N <= n) {
    body(Count<N>{}, i);
    return;
  }
  for (; i < n; ++i) body(Count<1>{}, i);
}

// Calls body<N>() with how many elements of T a thread moves at once: kPacket<T> if all pointers
// are aligned to 16 bytes and all counts (row widths, strides, first columns) are multiples of it,
// else 1.
template <typename T, typename Body>
void DispatchPacket(std::initializer_list<const void*> pointers,
                    std::initializer_list<int64_t> counts, Body body) {
  const bool whole =
      std::all_of(pointers.begin(), pointers.end(),
                  [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }) &&
      std::all_of(counts.begin(), counts.end(),
                  [](int64_t count) { return count % kPacket<T> == 0; });
  if (whole) {
    body.template operator()<kPacket<T>>();
  } else {
    body.template operator()<1>();
  }
}

// The same with T the element type of activations of this dtype: body<T, N>().
template <typename Body>
void DispatchPackets(DType dtype, std::initializer_list<const void*> pointers,
                     std::initializer_list<int64_t> counts, Body body) {
  DispatchActivation(dtype, [&]<typename T>(T) {
    DispatchPacket<T>(pointers, counts, [&]<int N>() { body.template operator()<T, N>(); });
  });
}

// Threads of a block that shares a row of so many packets: whole warps, at most `most`.
inline unsigned RowThreads(int64_t packets, int64_t most = kThreads) {
  return static_cast<unsigned>(
      std::clamp<int64_t>((packets + kWarp - 1) / kWarp * kWarp, kWarp, most));
}

}  // namespace wavefield::cuda
