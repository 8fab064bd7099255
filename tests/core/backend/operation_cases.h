#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/backend/backend.h"

namespace wavefield::testing {

// What an operation does to an argument, and so how a test prepares it.
enum class Role {
  kInput,        // random in [low, high); must not change
  kOutput,       // NaN before: must be written, whatever was there
  kAccumulated,  // random before: += or partly written
};

struct Operand {
  Shape shape;
  Role role = Role::kInput;
  double low = -1.0, high = 1.0;
  // Indices in [int_low, int_high) instead, if int_high > 0.
  int32_t int_low = 0, int_high = 0;
  // What rounding errors are measured against besides the values, which may cancel by chance.
  double scale = 0.1;
  // Whether it may be bf16 instead of fp32: with all other activations of the operation, or, of
  // MatMul, by itself.
  bool activation = false;
};

inline Operand Activation(Operand operand) {
  operand.activation = true;
  return operand;
}

// One call of one operation at one shape.
struct OperationCase {
  std::string name;
  std::vector<Operand> operands;
  std::function<void(Backend&, const std::vector<Tensor>&)> run;
  // Of the relative difference to the reference, see RelativeDifference.
  double tolerance = 4e-6;
  // MatMul's bits may depend on the number of threads.
  bool same_bits_for_any_threads = true;
};

// Every operation at edge shapes: one token, chunk boundaries ± 1, one head, narrow and odd widths.
std::vector<OperationCase> AllOperationCases();

// A part of them: the wave-field mixer.
void AddMixerCases(std::vector<OperationCase>& cases);
// A part of them: what training needs besides the model's layers.
void AddTrainingCases(std::vector<OperationCase>& cases);

// A part of them: the elementwise field.
void AddElementwiseCases(std::vector<OperationCase>& cases);
// A part of them: rotary positions and attention.
void AddAttentionCases(std::vector<OperationCase>& cases);
// A part of them: what the classic form needs besides the field.
void AddClassicCases(std::vector<OperationCase>& cases);

}  // namespace wavefield::testing
