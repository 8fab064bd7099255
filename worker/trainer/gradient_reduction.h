#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/comm/communicator.h"
#include "core/tensor/tensor.h"

namespace wavefield {

// Sums a step's gradients over the ranks. Where the communicator overlaps, buckets of them are on
// their way while the backward pass goes on; elsewhere all are reduced at the end. The ranks of a
// step have equally many gradients, which become final in the same order. Not thread-safe.
class GradientReduction {
 public:
  // About 25 MB: long enough for the network's rate, short enough to begin early.
  static constexpr int64_t kBucketElements = 25'000'000 / sizeof(float);

  // gradients: flat fp32 memory that the communicator reaches; not owned, as the communicator.
  // bucket: elements that are on their way together, at least.
  GradientReduction(Communicator& communicator, Tensor gradients, int64_t bucket = kBucketElements)
      : communicator_(communicator),
        gradients_(gradients),
        bucket_(bucket),
        rest_(gradients.elements()) {}

  // Elements from `begin` on are final (Model::Backward).
  void Final(int64_t begin);
  // Reduces the rest, and waits for all. The first error, also of Final().
  absl::Status Finish();

 private:
  void Begin(int64_t begin, int64_t end);

  Communicator& communicator_;
  const Tensor gradients_;
  const int64_t bucket_;
  int64_t rest_;  // elements before it are not yet on their way
  absl::Status status_;
};

}  // namespace wavefield
