#pragma once

// What an optimizer needs besides its state, as a function of the layout: planned by the memory
// estimate, taken by core/optim.

#include <cstdint>
#include <string>

#include "core/model/config/training_config.h"
#include "core/model/parameters.h"

namespace wavefield {

// i of "layers.{i}.…", else −1.
int64_t LayerOf(const std::string& name);

// How many matrices of equal size lie stacked in a parameter.
int64_t StackedMatrices(const std::string& name);

// Whether Muon steps this parameter, one stacked matrix at a time.
bool FollowsMuon(const ParameterDescription& parameter, const TrainingConfig& training);

struct OptimizerScratch {
  int64_t muon_elements = 0;  // of the largest matrix that follows Muon
  int64_t muon_side = 0;      // the longest of their shorter sides
  int64_t layer = 0;          // elements of the largest layer, whose update is measured

  // Two matrices and two squares of the shorter side for Muon, a layer as it was before a step.
  int64_t muon_floats() const { return 2 * muon_elements + 2 * muon_side * muon_side; }
  int64_t floats() const { return muon_floats() + layer; }
};

OptimizerScratch OptimizerScratchOf(const ParameterLayout& layout, const TrainingConfig& training);

}  // namespace wavefield
