// What the classic form needs besides the field.

#include <cmath>

#include "tests/core/backend/operation_cases.h"

namespace wavefield::testing {
namespace {

using Tensors = std::vector<Tensor>;
using Cases = std::vector<OperationCase>;

Operand In(Shape shape, double low = -1.0, double high = 1.0) {
  return {shape, Role::kInput, low, high};
}
Operand Out(Shape shape) { return {shape, Role::kOutput}; }
Operand Changed(Shape shape, double low = -1.0, double high = 1.0) {
  return {shape, Role::kAccumulated, low, high};
}
// A sum over `terms` terms of order one and random sign.
Operand Sum(Shape shape, int64_t terms, Role role = Role::kAccumulated) {
  Operand operand{shape, role};
  operand.scale = std::sqrt(static_cast<double>(terms));
  return operand;
}

void AddRows(int64_t rows, int64_t width, Cases& cases) {
  const Shape matrix{rows, width}, row{width}, column{rows};
  const std::string dims = matrix.ToString();
  cases.push_back({"LayerNormForward" + dims,
                   {Activation(In(matrix, -1.0, 3.0)), In(row), In(row), Activation(Out(matrix)),
                    Out(column), Out(column)},
                   [](Backend& backend, const Tensors& x) {
                     backend.LayerNormForward(x[0], x[1], x[2], x[3], x[4], x[5]);
                   },
                   2e-5});
  for (const bool residual : {false, true}) {
    cases.push_back(
        {"LayerNormBackward" + dims + (residual ? "residual" : ""),
         {Activation(In(matrix)), In(row), In(column), In(column, 0.5, 2.0), Activation(In(matrix)),
          Activation(In(matrix)), Activation(Out(matrix)), Sum(row, rows), Sum(row, rows)},
         [=](Backend& backend, const Tensors& x) {
           backend.LayerNormBackward(x[0], x[1], x[2], x[3], x[4], residual ? x[5] : Tensor{}, x[6],
                                     x[7], x[8]);
         }});
  }
  cases.push_back(
      {"LayerNormBackward" + dims + "in place",
       {Activation(In(matrix)), In(row), In(column), In(column, 0.5, 2.0), Activation(In(matrix)),
        Activation(Changed(matrix)), Sum(row, rows), Sum(row, rows)},
       [](Backend& backend, const Tensors& x) {
         backend.LayerNormBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[5], x[6], x[7]);
       }});
  cases.push_back({"AddBias" + dims,
                   {In(row), Activation(Changed(matrix))},
                   [](Backend& backend, auto& x) { backend.AddBias(x[0], x[1]); }});
  cases.push_back({"AddBiasBackward" + dims,
                   {Activation(In(matrix)), Sum(row, rows)},
                   [](Backend& backend, auto& x) { backend.AddBiasBackward(x[0], x[1]); }});
  // Φ is right to 2e-7, but not to so much of itself where it is small.
  Operand gelu = Activation(Out(matrix));
  gelu.scale = 1.0;
  for (const double size : {1.0, 9.0, 1e4}) {
    const std::string name = dims + " to " + std::to_string(size);
    cases.push_back({"GeluForward" + name,
                     {Activation(In(matrix, -size, size)), gelu},
                     [](Backend& backend, const Tensors& x) { backend.GeluForward(x[0], x[1]); }});
    cases.push_back(
        {"GeluBackward" + name,
         {Activation(In(matrix, -size, size)), Activation(In(matrix)), Activation(Out(matrix))},
         [](Backend& backend, const Tensors& x) { backend.GeluBackward(x[0], x[1], x[2]); }});
    cases.push_back(
        {"GeluBackward in place" + name,
         {Activation(In(matrix, -size, size)), Activation(Changed(matrix))},
         [](Backend& backend, const Tensors& x) { backend.GeluBackward(x[0], x[1], x[1]); }});
  }
  const Shape quad{rows, 4 * width};
  cases.push_back(
      {"SigmoidGateForward" + dims,
       {Activation(In(matrix)), Activation(In(quad, -9.0, 9.0)), Activation(Out(matrix))},
       [](Backend& backend, const Tensors& x) { backend.SigmoidGateForward(x[0], x[1], x[2]); }});
  cases.push_back({"SigmoidGateBackward" + dims,
                   {Activation(In(matrix)), Activation(In(quad, -9.0, 9.0)), Activation(In(matrix)),
                    Activation(Out(matrix)), Activation(Changed(quad))},
                   [](Backend& backend, const Tensors& x) {
                     backend.SigmoidGateBackward(x[0], x[1], x[2], x[3], x[4]);
                   }});
  cases.push_back({"SigmoidGateBackward in place" + dims,
                   {Activation(In(matrix)), Activation(In(quad, -9.0, 9.0)),
                    Activation(Changed(matrix)), Activation(Changed(quad))},
                   [](Backend& backend, const Tensors& x) {
                     backend.SigmoidGateBackward(x[0], x[1], x[2], x[2], x[3]);
                   }});
  for (const double temperature : {-20.0, 0.0, 20.0}) {
    const std::string name = dims + " temperature " + std::to_string(temperature);
    // The alignment varies fast where vectors are short.
    const Operand near = Activation(In(matrix, 0.2, 1.0)), far = Activation(In(matrix, -1.0, -0.2));
    const Operand scalar = In({1}, temperature - 0.5, temperature + 0.5);
    cases.push_back({"InterferenceForward" + name,
                     {near, far, Activation(In(matrix)), Activation(In(matrix, -3.0, 3.0)), scalar,
                      Activation(Changed(matrix))},
                     [](Backend& backend, const Tensors& x) {
                       backend.InterferenceForward(x[0], x[1], x[2], x[3], x[4], x[5]);
                     },
                     2e-5});
    cases.push_back({"InterferenceBackward" + name,
                     {near, far, Activation(In(matrix)), Activation(In(matrix, -3.0, 3.0)), scalar,
                      Activation(In(matrix)), Activation(Out(matrix)), Activation(Out(matrix)),
                      Activation(Out(matrix)), Activation(Out(matrix)), Sum({1}, rows * width)},
                     [](Backend& backend, const Tensors& x) {
                       backend.InterferenceBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7],
                                                    x[8], x[9], x[10]);
                     },
                     5e-5});
  }
  cases.push_back({"InterferenceBackward in place" + dims,
                   {Activation(Changed(matrix, 0.2, 1.0)), Activation(Changed(matrix, -1.0, -0.2)),
                    Activation(In(matrix)), Activation(Changed(matrix)), In({1}),
                    Activation(In(matrix)), Activation(Out(matrix)), Sum({1}, rows * width)},
                   [](Backend& backend, const Tensors& x) {
                     backend.InterferenceBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[0], x[1],
                                                  x[6], x[3], x[7]);
                   },
                   5e-5});
}

void AddColumns(int64_t rows, int64_t width, int64_t left, int64_t right, Cases& cases) {
  const Shape part{rows, width}, whole{rows, left + width + right};
  const std::string dims = Shape{rows, left, width, right}.ToString();
  cases.push_back({"CopyColumns in" + dims,
                   {Activation(In(part)), Activation(Changed(whole))},
                   [=](Backend& backend, const Tensors& x) {
                     backend.CopyColumns(x[0], 0, width, x[1], left);
                   }});
  cases.push_back({"CopyColumns out" + dims,
                   {Activation(In(whole)), Activation(Out(part))},
                   [=](Backend& backend, const Tensors& x) {
                     backend.CopyColumns(x[0], left, width, x[1], 0);
                   }});
  cases.push_back(
      {"ReluForward" + dims,
       {Activation(In(part)), Activation(Changed(whole))},
       [=](Backend& backend, const Tensors& x) { backend.ReluForward(1e-6f, x[0], left, x[1]); }});
  cases.push_back({"ReluBackward" + dims,
                   {Activation(In(whole)), Activation(In(whole)), Activation(Out(part))},
                   [=](Backend& backend, const Tensors& x) {
                     backend.ReluBackward(0.125f, x[0], left, x[1], x[2]);
                   }});
}

void AddSequences(int64_t batch, int64_t tokens, int64_t width, Cases& cases) {
  const Shape matrix{batch * tokens, width}, state{batch, width};
  const std::string dims = Shape{batch, tokens, width}.ToString();
  for (const int64_t position : {0, 1, 100000}) {
    const std::string name = dims + " from " + std::to_string(position);
    if (width % 2 == 0) {
      cases.push_back({"AddPositions" + name,
                       {Activation(Changed(matrix))},
                       [=](Backend& backend, const Tensors& x) {
                         backend.AddPositions(batch, position, x[0]);
                       }});
    }
    cases.push_back({"CumulativeMeanForward with state" + name,
                     {Activation(In(matrix)), Changed(state), Activation(Out(matrix))},
                     [=](Backend& backend, const Tensors& x) {
                       backend.CumulativeMeanForward(batch, position, x[0], x[1], x[2]);
                     }});
    for (const bool later : {false, true}) {
      cases.push_back({"CumulativeMeanBackward" + name + (later ? " with dstate" : ""),
                       {Activation(In(matrix)), Changed(state), Activation(Out(matrix))},
                       [=](Backend& backend, const Tensors& x) {
                         backend.CumulativeMeanBackward(batch, position, x[0],
                                                        later ? x[1] : Tensor{}, x[2]);
                       }});
    }
  }
  cases.push_back({"CumulativeMeanForward in place" + dims,
                   {Activation(Changed(matrix))},
                   [=](Backend& backend, const Tensors& x) {
                     backend.CumulativeMeanForward(batch, 0, x[0], {}, x[0]);
                   }});
  cases.push_back({"CumulativeMeanBackward in place" + dims,
                   {Activation(Changed(matrix))},
                   [=](Backend& backend, const Tensors& x) {
                     backend.CumulativeMeanBackward(batch, 0, x[0], {}, x[0]);
                   }});
}

void AddCoupledRead(int64_t rows, int64_t heads, int64_t head_width, Cases& cases) {
  const int64_t width = heads * head_width;
  const Shape narrow{rows, width}, triple{rows, 3 * width}, square{heads, heads};
  const std::string dims = Shape{rows, heads, head_width}.ToString();
  for (const double damping : {1e-4, 3.0}) {
    const std::string name = dims + "damping " + std::to_string(damping);
    const Operand coupling = In(square, -2.0, 2.0), lambda = In({1, heads}, damping / 2, damping);
    cases.push_back({"CoupledReadForward" + name,
                     {Activation(In(narrow)), Activation(In(triple)), coupling, lambda,
                      Activation(Out(narrow))},
                     [](Backend& backend, const Tensors& x) {
                       backend.CoupledReadForward(x[0], x[1], x[2], x[3], x[4]);
                     },
                     1e-5});
    // The slope of √(1 − e^(−2λ)) is about 1/√(2λ).
    Operand ddamping = Sum({1, heads}, rows * width, Role::kOutput);
    ddamping.scale /= std::sqrt(damping);
    cases.push_back({"CoupledReadBackward" + name,
                     {Activation(In(narrow)), Activation(In(triple)), coupling, lambda,
                      Activation(In(narrow)), Activation(Out(narrow)), Activation(Changed(triple)),
                      Sum(square, rows * width), ddamping},
                     [](Backend& backend, const Tensors& x) {
                       backend.CoupledReadBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7],
                                                   x[8]);
                     },
                     1e-5});
  }
}

}  // namespace

void AddClassicCases(Cases& cases) {
  struct Rows {
    int64_t rows, width;
  };
  for (const Rows s : {Rows{1, 1}, {2, 5}, {63, 20}, {129, 64}, {300, 100}}) {
    AddRows(s.rows, s.width, cases);
    AddColumns(s.rows, s.width, 0, 0, cases);
    AddColumns(s.rows, s.width, 3, 17, cases);
  }
  struct Sequences {
    int64_t batch, tokens, width;
  };
  for (const Sequences s :
       {Sequences{1, 1, 1}, {3, 1, 16}, {2, 7, 18}, {2, 130, 33}, {3, 65, 64}}) {
    AddSequences(s.batch, s.tokens, s.width, cases);
  }
  struct Reads {
    int64_t rows, heads, head_width;
  };
  for (const Reads s : {Reads{1, 1, 1}, {5, 3, 4}, {129, 2, 17}, {300, 4, 16}, {64, 5, 64}}) {
    AddCoupledRead(s.rows, s.heads, s.head_width, cases);
  }
}

}  // namespace wavefield::testing
