#pragma once

#include <cstdint>

#include "core/backend/backend.h"
#include "core/model/config/training_config.h"
#include "core/model/parameters.h"

namespace wavefield {

// AdamW with clipping by global norm, over a model's flat buffers. Owns its two moments, laid out
// like the parameters. Not thread-safe.
class AdamWOptimizer {
 public:
  AdamWOptimizer(Backend& backend, const ParameterLayout& layout, const TrainingConfig& config);
  ~AdamWOptimizer();
  AdamWOptimizer(const AdamWOptimizer&) = delete;
  AdamWOptimizer& operator=(const AdamWOptimizer&) = delete;

  Tensor first_moment() const { return m_; }   // flat
  Tensor second_moment() const { return v_; }  // flat

  // Does optimizer step `step` (1-based) and returns the global gradient norm before clipping. When
  // that is not finite, nothing is changed.
  double Step(int64_t step, Tensor gradients, Tensor parameters);

 private:
  Backend& backend_;
  const ParameterLayout& layout_;
  TrainingConfig config_;
  Tensor m_;
  Tensor v_;
};

}  // namespace wavefield
