#pragma once

#include "core/model/layer.h"

namespace wavefield {

// SwiGLU feed-forward: down(silu(gate(x)) ⊙ up(x)), no biases (Shazeer, arXiv 2002.05202).
const LayerKind& SwiGluFeedForward();

// down(gelu(up(x))), exact erf GELU, with biases: that of the classic skeleton.
const LayerKind& GeluFeedForward();

}  // namespace wavefield
