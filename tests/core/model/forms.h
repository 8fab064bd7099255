#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "core/model/model.h"

namespace wavefield::testing {

// Every form of the model and every way it can be computed.
struct Form {
  std::string name;
  ModelConfig config;
  ExecutionOptions options;
};

// All forms with `heads` heads of width `head_dim`, computed the way they choose themselves.
std::vector<Form> Forms(int64_t heads, int64_t head_dim);
// The same, once for each way of propagation.
std::vector<Form> FormsAndWays(int64_t heads, int64_t head_dim);

// Moves parameters away from their initial values, where several gradients are tiny or zero.
void Perturb(Model& model, std::mt19937_64& random);

void PrintTo(const Form& form, std::ostream* out);

}  // namespace wavefield::testing
