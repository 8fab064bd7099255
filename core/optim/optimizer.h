#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "core/backend/backend.h"
#include "core/model/config/training_config.h"
#include "core/model/optimizer_scratch.h"
#include "core/model/parameters.h"
#include "core/optim/muon.h"

namespace wavefield {

// What one step did to one layer: its norms, mixer and feed-forward together.
struct LayerUpdate {
  double update_ratio = 0;  // ‖w after − w before‖ / ‖w before‖; 0 where w is 0
  double gradient_rms = 0;  // before clipping
};

// Clipping by global norm, then AdamW or Muon, over a model's flat buffers; and the moving average
// of the weights, if there is to be one. docs/training.md says what each setting does. Owns its
// state, laid out like the parameters. Not thread-safe.
//
// With Muon the matrices of the layers (ParameterGroup::kMatrix) follow Muon, one matrix at a time,
// where qkvg and qkv count as their 4 or 3 parts; everything else follows AdamW. Their momentum is
// in first_moment(); their part of second_moment() stays 0.
class Optimizer {
 public:
  Optimizer(Backend& backend, const ParameterLayout& layout, const TrainingConfig& config);
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  Tensor first_moment() const { return m_; }   // flat
  Tensor second_moment() const { return v_; }  // flat
  // Flat; empty when ema_decay is 0.
  Tensor average() const { return average_; }

  // The average begins here; of no effect when there is none. Call before the first step of a run
  // that restores no average.
  void BeginAverage(Tensor parameters);

  // Does optimizer step `step` (1-based) and returns the global gradient norm before clipping. When
  // that is not finite, nothing is changed. `updates`, if given, gets an entry for each layer (none
  // when nothing was changed); that costs about one more pass over the parameters.
  double Step(int64_t step, Tensor gradients, Tensor parameters,
              std::vector<LayerUpdate>* updates = nullptr);

 private:
  // Consecutive elements that are treated alike.
  struct Range {
    int64_t begin, end;
    int64_t layer;  // −1: of no layer
    bool decays;
    double multiplier;   // of the learning rate
    int64_t muon_width;  // columns of the matrix it is, 0: follows AdamW
  };

  static std::vector<Range> Ranges(const ParameterLayout& layout, const TrainingConfig& config);
  // Runs `apply`, which changes one layer's `parameters`, and says what it did.
  LayerUpdate Measure(Tensor gradients, Tensor parameters, absl::FunctionRef<void()> apply);
  void Apply(const Range& range, int64_t step, float gradient_scale, Tensor gradients,
             Tensor parameters);
  void Average(int64_t step, Tensor parameters);

  Backend& backend_;
  const TrainingConfig config_;
  const std::vector<Range> ranges_;
  const OptimizerScratch scratch_;
  Tensor m_;
  Tensor v_;
  Tensor average_;
  Tensor before_;  // room for a layer's parameters, from when updates are first asked for
  std::unique_ptr<Muon> muon_;
};

}  // namespace wavefield
