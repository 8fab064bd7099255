#pragma once

#include <cstdint>
#include <vector>

#include "core/model/config/training_config.h"
#include "core/model/parameters.h"

namespace wavefield::testing {

// The optimizer's formulas (docs/training.md) in double precision and the plainest code, with a
// state of their own: what a step is tested against.
class DoubleStep {
 public:
  DoubleStep(const ParameterLayout& layout, const TrainingConfig& config,
             const std::vector<float>& parameters);

  // Optimizer step `step` at a schedule factor that the test knows. Returns the gradient norm.
  double Step(int64_t step, double schedule_factor, const std::vector<float>& gradients);

  const std::vector<double>& parameters() const { return p_; }
  const std::vector<double>& average() const { return average_; }

 private:
  void AdamW(const ParameterInfo& info, int64_t step, double rate, double scale,
             const std::vector<float>& gradients);
  // One of the matrices that lie stacked in a parameter.
  void Muon(int64_t begin, int64_t rows, int64_t cols, double rate, double scale,
            const std::vector<float>& gradients);

  const ParameterLayout& layout_;
  const TrainingConfig config_;
  std::vector<double> p_, m_, v_, average_;
};

}  // namespace wavefield::testing
