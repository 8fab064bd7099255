#pragma once

#include <cstdint>

#include "core/backend/backend.h"

namespace wavefield {

struct MuonParameters {
  float learning_rate;
  float weight_decay;    // decoupled, as AdamW's
  float gradient_scale;  // multiplies the gradient first (clipping)
};

// Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon): momentum whose direction is made
// nearly orthogonal, for one matrix [rows, cols] at a time.
//   m = 0.95 m + 0.05 g;   u = 0.95 m + 0.05 g      (Nesterov)
//   o = NewtonSchulz5(u / (‖u‖ + 1e-7))             singular values to about 0.7 … 1.2
//   w = (1 − learning_rate · weight_decay) w − learning_rate · √max(1, rows/cols) · o
// Owns its scratch memory. Not thread-safe.
class Muon {
 public:
  // For matrices of at most `elements` elements whose shorter side is at most `side`.
  Muon(Backend& backend, int64_t elements, int64_t side);
  ~Muon();
  Muon(const Muon&) = delete;
  Muon& operator=(const Muon&) = delete;

  // Gradient, parameter and momentum are [rows, cols].
  void Step(const MuonParameters& parameters, Tensor gradient, Tensor parameter, Tensor momentum);

 private:
  Backend& backend_;
  const int64_t elements_;
  const int64_t side_;
  Tensor scratch_;  // flat: two matrices, two squares of the shorter side
};

}  // namespace wavefield
