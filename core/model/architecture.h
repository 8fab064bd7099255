#pragma once

#include <string>
#include <vector>

#include "core/model/layer.h"
#include "core/model/mixers/mixer.h"
#include "core/model/parameters.h"

namespace wavefield {

// One residual branch of a model: stream += layer(norm(stream)).
struct BranchDescription {
  const LayerKind* kind;
  const MixerKind* mixer;  // `kind` if the branch is a mixer, else null
  int64_t layer;           // 0-based block it belongs to
  std::string norm;        // prefix of the norm's parameters; empty: the layer reads the stream
  std::string prefix;      // of the layer's parameters
};

// What comes after what (docs/model.md, "Skeleton"). REQUIRES a valid configuration, all of these.
std::vector<BranchDescription> Branches(const ModelConfig& config);

// All parameters with their whole names, in the order of the forward pass.
std::vector<ParameterDescription> DescribeParameters(const ModelConfig& config);

// What surrounds the mixers. REQUIRES: the form is known.
Skeleton SkeletonOf(const ModelConfig& config);

// The kind of the mixer of layer `layer`. REQUIRES: the form is known.
const MixerKind& MixerOf(const ModelConfig& config, int64_t layer);

}  // namespace wavefield
