#pragma once

#include "core/model/config/model_config.h"
#include "core/model/parameters.h"

namespace wavefield {

// docs/model.md, "Initialisation", of the classic form; its coupling is that of the modern one.

// ω_h = π(2h+1)/(2H)·4^{l/(L−1)−1}, l the layer.
InitialValue InitialClassicFrequency(const ModelConfig& config, int64_t layer);

// A matrix [d, d] that all heads share: the identity, no weight decay, one product a head.
ParameterDescription SharedMatrixParameter(const ModelConfig& config, std::string name);

}  // namespace wavefield
