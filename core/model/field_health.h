#pragma once

#include <vector>

#include "core/backend/backend.h"

namespace wavefield {

// The waves of one head.
struct HeadHealth {
  // 1/λ in tokens: percentiles (of nearest rank) over the tokens that were looked at, all equal
  // when damping is static. NaN if any λ is.
  double time_constant_p10 = 0;
  double time_constant_p50 = 0;
  double time_constant_p90 = 0;
  double frequency = 0;  // ω, radians per token
  double phase = 0;      // φ, radians
  double coupling_entropy =
      0;  // of softmax(coupling[h, :]), nats: 0 for one head, ln H for all alike
};

// One layer, mixer and feed-forward together, on some tokens.
struct LayerHealth {
  std::vector<HeadHealth> heads;  // none: its mixer has no waves
  double mixer_rms = 0;           // of what the mixer adds to the residual stream
  double residual_rms = 0;        // of the residual stream after the layer
};

// The heads of a mixer. damping [N, H] or [1, H]: λ; frequency, phase [H]; coupling [H, H].
std::vector<HeadHealth> HealthOfWaves(Backend& backend, Tensor damping, Tensor frequency,
                                      Tensor phase, Tensor coupling);

}  // namespace wavefield
