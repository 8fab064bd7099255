#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "core/base/rng.h"
#include "core/tensor/tensor.h"

namespace wavefield::testing {

// A seed that differs from run to run; print it with a failure (SCOPED_TRACE).
uint64_t FreshSeed();

// Host tensors between guard words that an overrun would change.
class GuardedTensors {
 public:
  Tensor Make(Shape shape, DType dtype = DType::kFloat32);
  // [low, high) uniformly, keyed by the seed and the number of tensors made before.
  Tensor Uniform(Shape shape, double low, double high, uint64_t seed);
  // Copies, with guards of their own.
  Tensor Copy(const Tensor& tensor);
  // Whether all guards are as they were.
  bool Intact() const;

 private:
  struct Block {
    std::vector<uint32_t> words;
    size_t end;  // index of the first guard behind the data
  };
  std::vector<std::unique_ptr<Block>> blocks_;
};

std::vector<float> Values(const Tensor& tensor);
bool SameBits(const Tensor& a, const Tensor& b);
// The largest |a − b| / (|b| + rms(b) + scale) over all elements; infinity when a NaN is in one
// alone. scale: a size below which differences do not count as relative, for sums that may cancel.
double RelativeDifference(const Tensor& a, const Tensor& b, double scale = 0.0);

}  // namespace wavefield::testing
