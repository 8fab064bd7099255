#pragma once

#include <cstdint>

#include "core/model/parameters.h"

namespace wavefield {

// docs/model.md, "Initialisation".

// index / (count − 1); 0 when count is 1.
double Ratio(int64_t index, int64_t count);
// softplus⁻¹(1/τ_h), τ_h = 2 … 1024 tokens, log-spaced over the heads.
InitialValue InitialDampingBias(int64_t heads);
// ω_h = ((h+½)/H)·½/√τ_{H−1−h}.
InitialValue InitialFrequency(int64_t heads);
// ln(9(H−1))·I: own weight 0.9 (0 if H = 1).
InitialValue InitialCoupling(int64_t heads);

}  // namespace wavefield
