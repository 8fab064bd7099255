#include <cmath>

#include "tests/core/backend/operation_cases.h"

namespace wavefield::testing {
namespace {

using Tensors = std::vector<Tensor>;

struct Sizes {
  int64_t batch, tokens, heads, head_width;
};

Operand In(Shape shape, double low = -1.0, double high = 1.0) {
  return {shape, Role::kInput, low, high};
}

void AddCases(const Sizes& s, Propagation way, bool static_damping, bool with_state, double damping,
              std::vector<OperationCase>& cases) {
  const int64_t rows = s.batch * s.tokens, width = s.heads * s.head_width, batch = s.batch;
  const bool fft = way == Propagation::kFft;
  const std::string name = std::string(fft ? "by FFT" : "by recurrence") +
                           (static_damping ? " static" : " selective") +
                           (with_state ? " with state" : "") +
                           Shape{s.batch, s.tokens, s.heads, s.head_width}.ToString() + "damping" +
                           std::to_string(damping);
  const Shape narrow{rows, width}, triple{rows, 3 * width}, heads{s.heads};
  const Operand qkv = Activation(In(triple)),
                lambda = In({static_damping ? 1 : rows, s.heads}, 1e-4, damping);
  const Operand omega = In(heads, 0.0, 3.0), phi = In(heads, -3.0, 3.0);
  Operand state{{batch, s.heads, 2, s.head_width}, Role::kAccumulated};
  // Sums over pairs of tokens and channels, of random sign.
  Operand sum{heads, Role::kAccumulated};
  sum.scale = std::sqrt(static_cast<double>(rows * s.head_width));
  Operand slope{lambda.shape, Role::kOutput};
  slope.scale = static_damping ? sum.scale : std::sqrt(static_cast<double>(s.head_width));
  // The error of an FFT is that of the largest values, everywhere.
  const double forward_tolerance = fft ? 2e-5 : 1e-5;
  cases.push_back({"FieldElementwiseForward " + name,
                   {qkv, lambda, omega, phi, state, Activation({narrow, Role::kOutput})},
                   [=](Backend& backend, const Tensors& x) {
                     backend.FieldElementwiseForward(way, batch, x[0], x[1], x[2], x[3],
                                                     with_state ? x[4] : Tensor{}, x[5]);
                   },
                   forward_tolerance});
  Operand before = state;
  before.role = Role::kInput;
  cases.push_back({"FieldElementwiseBackward " + name,
                   {qkv, lambda, omega, phi, before, Activation(In(narrow)), state,
                    Activation({triple, Role::kAccumulated}), slope, sum, sum},
                   [=](Backend& backend, const Tensors& x) {
                     backend.FieldElementwiseBackward(
                         way, batch, x[0], x[1], x[2], x[3], with_state ? x[4] : Tensor{}, x[5],
                         with_state ? x[6] : Tensor{}, x[7], x[8], x[9], x[10]);
                   },
                   5e-5});
}

}  // namespace

void AddElementwiseCases(std::vector<OperationCase>& cases) {
  for (const Sizes s : {Sizes{1, 1, 1, 4},
                        {3, 1, 2, 64},
                        {2, 2, 3, 8},
                        {1, 63, 1, 20},
                        {2, 64, 2, 4},
                        {3, 65, 2, 8},
                        {1, 130, 9, 64},  // more than one group of heads
                        {2, 130, 3, 20},
                        {1, 200, 1, 17},
                        {1, 150, 1, 300}}) {
    for (const double damping : {0.05, 4.0}) {
      for (const bool static_damping : {false, true}) {
        for (const bool with_state : {false, true}) {
          AddCases(s, Propagation::kRecurrence, static_damping, with_state, damping, cases);
        }
      }
      AddCases(s, Propagation::kFft, true, false, damping, cases);
    }
  }
}

}  // namespace wavefield::testing
