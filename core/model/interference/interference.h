#pragma once

#include "core/model/layer.h"

namespace wavefield {

// What the classic skeleton has after every third layer (docs/model.md, "Classic form"): the stream
// meets the mean of its own past, and lets in as much as the two agree. Reads the stream itself,
// without a norm. Its state is the sum of what it compressed.
const LayerKind& Interference();

}  // namespace wavefield
