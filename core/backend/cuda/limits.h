#pragma once

// What the CUDA backend's kernels can hold: bounds on sizes, and the shared memory that a block of
// each kernel asks for where that grows with the model. Kernels are launched by these functions,
// and models are checked by them before anything runs. Letters as in backend.h.

#include <cstddef>
#include <cstdint>

namespace wavefield::cuda {

// Of attention: wider heads have no kernel.
inline constexpr int64_t kLargestHeadWidth = 128;

// Bytes of a block: 163 KiB, what the A100 (8.0) gives, the least of the devices that the module is
// built for (9.0 and 10.0: 227 KiB; CUDA C++ Programming Guide, "Compute Capabilities").
inline constexpr size_t kMostSharedBytes = size_t{163} << 10;

// Bytes of a block that kernels ask for whatever the model is: what the least of the devices that
// run code for the A100 give (8.6, 8.9). Those below ask for more as a model grows.
inline constexpr size_t kEverySharedBytes = size_t{99} << 10;

inline constexpr int64_t kBlockSums = 2 * 32;  // floats: two of each warp

inline size_t RmsNormBackwardShared(int64_t width) {
  return static_cast<size_t>(kBlockSums + width) * sizeof(float);
}

inline size_t LayerNormBackwardShared(int64_t width) {
  return static_cast<size_t>(kBlockSums + 2 * width) * sizeof(float);
}

// Floats of a row of D columns whose heads lie at odd distances.
inline int64_t OddHeadsRow(int64_t heads, int64_t head_width) { return heads * (head_width | 1); }

inline size_t ReadoutForwardShared(int64_t heads, int64_t head_width) {
  return static_cast<size_t>(heads * heads + 2 * OddHeadsRow(heads, head_width)) * sizeof(float);
}

// More than the forward pass.
inline size_t ReadoutBackwardShared(int64_t heads, int64_t head_width) {
  const int64_t sums = 2 * heads * heads + heads * head_width;
  return static_cast<size_t>(sums + 3 * OddHeadsRow(heads, head_width)) * sizeof(float);
}

inline size_t CoupledReadForwardShared(int64_t heads, int64_t head_width) {
  return static_cast<size_t>(heads * (head_width + 1)) * sizeof(float);
}

// More than the forward pass.
inline size_t CoupledReadBackwardShared(int64_t heads, int64_t head_width) {
  return static_cast<size_t>(heads * heads + 2 * heads * (head_width + 1)) * sizeof(float);
}

}  // namespace wavefield::cuda
