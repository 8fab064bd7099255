#include "tests/core/backend/operation_cases.h"

namespace wavefield::testing {
namespace {

using Tensors = std::vector<Tensor>;
using Cases = std::vector<OperationCase>;

Operand In(Shape shape, double low = -1.0, double high = 1.0) {
  return {shape, Role::kInput, low, high};
}
Operand Out(Shape shape) { return {shape, Role::kOutput}; }
Operand Acc(Shape shape, double low = -1.0, double high = 1.0) {
  return {shape, Role::kAccumulated, low, high};
}
Operand Index(Shape shape, int32_t low, int32_t high) {
  return {shape, Role::kInput, 0.0, 0.0, low, high};
}
Operand IndexOut(Shape shape) { return {shape, Role::kOutput, 0.0, 0.0, 0, 1}; }

std::string Dims(std::initializer_list<int64_t> dims) { return Shape(dims).ToString(); }

void AddLinear(Cases& cases) {
  struct Sizes {
    int64_t m, n, k;
  };
  for (const Sizes s : {Sizes{1, 1, 1}, {1, 24, 7}, {5, 3, 0}, {65, 33, 20}, {130, 70, 129}}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        for (const float beta : {0.0f, 1.0f}) {
          const auto transpose = [](bool yes) { return yes ? Transpose::kYes : Transpose::kNo; };
          cases.push_back({"MatMul" + Dims({s.m, s.n, s.k}) + (ta ? "T" : "N") + (tb ? "T" : "N") +
                               (beta == 0.0f ? "=" : "+="),
                           {Activation(In(ta ? Shape{s.k, s.m} : Shape{s.m, s.k})),
                            Activation(In(tb ? Shape{s.n, s.k} : Shape{s.k, s.n})),
                            Activation(beta == 0.0f ? Out({s.m, s.n}) : Acc({s.m, s.n}))},
                           [=](Backend& backend, const Tensors& x) {
                             backend.MatMul(transpose(ta), transpose(tb), x[0], x[1], beta, x[2]);
                           },
                           4e-6,
                           false});
        }
      }
    }
  }
  // A layer's weights, and their gradient, are fp32 whatever the activations are.
  const Shape x{130, 70}, weight{45, 70}, y{130, 45};
  cases.push_back({"MatMul of weights",
                   {Activation(In(x)), In(weight), Activation(Out(y))},
                   [](Backend& backend, const Tensors& t) {
                     backend.MatMul(Transpose::kNo, Transpose::kYes, t[0], t[1], 0, t[2]);
                   },
                   4e-6,
                   false});
  cases.push_back({"MatMul of gradients",
                   {Activation(In(y)), Activation(In(x)), Acc(weight)},
                   [](Backend& backend, const Tensors& t) {
                     backend.MatMul(Transpose::kYes, Transpose::kNo, t[0], t[1], 1, t[2]);
                   },
                   4e-6,
                   false});
  for (const int64_t n : {1, 15, 40000}) {
    cases.push_back({"Add" + Dims({n}),
                     {Activation(In({n})), Activation(Acc({n}))},
                     [](Backend& backend, const Tensors& x) { backend.Add(x[0], x[1]); }});
    cases.push_back({"Fill" + Dims({n}),
                     {Activation(Out({n}))},
                     [](Backend& backend, const Tensors& x) { backend.Fill(x[0], 2.5f); }});
    cases.push_back({"AdamW" + Dims({n}),
                     {In({n}), Acc({n}), Acc({n}, -0.1, 0.1), Acc({n}, 0.001, 0.1)},
                     [](Backend& backend, const Tensors& x) {
                       backend.AdamW({2e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.271f, 0.142625f, 0.7f},
                                     x[0], x[1], x[2], x[3]);
                     }});
  }
  for (const int64_t width : {3, 16, 100, 300}) {
    cases.push_back(
        {"EmbeddingForward" + Dims({width}),
         {In({7, width}), Index({200}, 0, 7), Activation(Out({200, width}))},
         [](Backend& backend, const Tensors& x) { backend.EmbeddingForward(x[0], x[1], x[2]); }});
    cases.push_back(
        {"EmbeddingBackward" + Dims({width}),
         {Index({200}, 0, 7), Activation(In({200, width})), Acc({7, width})},
         [](Backend& backend, const Tensors& x) { backend.EmbeddingBackward(x[0], x[1], x[2]); }});
  }
}

void AddRowwise(Cases& cases) {
  struct Sizes {
    int64_t rows, width;
  };
  for (const Sizes s : {Sizes{1, 1}, {2, 5}, {63, 20}, {129, 64}, {300, 100}}) {
    const Shape matrix{s.rows, s.width}, row{s.width}, column{s.rows};
    const std::string dims = Dims({s.rows, s.width});
    cases.push_back({"RmsNormForward" + dims,
                     {Activation(In(matrix)), In(row), Activation(Out(matrix)), Out(column)},
                     [](Backend& backend, const Tensors& x) {
                       backend.RmsNormForward(x[0], x[1], x[2], x[3]);
                     }});
    for (const bool residual : {false, true}) {
      cases.push_back(
          {"RmsNormBackward" + dims + (residual ? "residual" : ""),
           {Activation(In(matrix)), In(row), In(column, 0.5, 2.0), Activation(In(matrix)),
            Activation(In(matrix)), Activation(Out(matrix)), Acc(row)},
           [=](Backend& backend, const Tensors& x) {
             backend.RmsNormBackward(x[0], x[1], x[2], x[3], residual ? x[4] : Tensor{}, x[5],
                                     x[6]);
           }});
    }
    cases.push_back({"RmsNormBackward" + dims + "in place",
                     {Activation(In(matrix)), In(row), In(column, 0.5, 2.0), Activation(In(matrix)),
                      Activation(Acc(matrix)), Acc(row)},
                     [](Backend& backend, const Tensors& x) {
                       backend.RmsNormBackward(x[0], x[1], x[2], x[3], x[4], x[4], x[5]);
                     }});
    cases.push_back(
        {"DampingForward" + dims,
         {In(matrix, -30.0, 30.0), In(row), Out(matrix)},
         [](Backend& backend, const Tensors& x) { backend.DampingForward(x[0], x[1], x[2]); }});
    cases.push_back(
        {"DampingForward" + dims + "in place",
         {Acc(matrix, -3.0, 3.0), In(row)},
         [](Backend& backend, const Tensors& x) { backend.DampingForward(x[0], x[1], x[0]); }});
    cases.push_back({"DampingBackward" + dims,
                     {In(matrix, 1e-4, 4.0), In(matrix), Out(matrix), Acc(row)},
                     [](Backend& backend, const Tensors& x) {
                       backend.DampingBackward(x[0], x[1], x[2], x[3]);
                     }});
    cases.push_back({"DampingBackward" + dims + "in place",
                     {In(matrix, 1e-4, 4.0), Acc(matrix), Acc(row)},
                     [](Backend& backend, const Tensors& x) {
                       backend.DampingBackward(x[0], x[1], x[1], x[2]);
                     }});
    const Shape pair{s.rows, 2 * s.width};
    cases.push_back(
        {"SwiGluForward" + dims,
         {Activation(In(pair, -9.0, 9.0)), Activation(Out(matrix))},
         [](Backend& backend, const Tensors& x) { backend.SwiGluForward(x[0], x[1]); }});
    cases.push_back(
        {"SwiGluForward extreme" + dims,
         {Activation(In(pair, -200.0, 200.0)), Activation(Out(matrix))},
         [](Backend& backend, const Tensors& x) { backend.SwiGluForward(x[0], x[1]); }});
    cases.push_back(
        {"SwiGluBackward" + dims,
         {Activation(In(pair, -9.0, 9.0)), Activation(In(matrix)), Activation(Out(pair))},
         [](Backend& backend, const Tensors& x) { backend.SwiGluBackward(x[0], x[1], x[2]); }});
    cases.push_back(
        {"SwiGluBackward" + dims + "in place",
         {Activation(Acc(pair, -9.0, 9.0)), Activation(In(matrix))},
         [](Backend& backend, const Tensors& x) { backend.SwiGluBackward(x[0], x[1], x[0]); }});
    const auto targets = Index(column, -1, static_cast<int32_t>(s.width));
    for (const double size : {1.0, 1e4}) {
      const std::string kind = dims + (size > 1.0 ? "large logits" : "");
      cases.push_back(
          {"CrossEntropyForward" + kind,
           {Activation(In(matrix, -size, size)), targets, Out(column), IndexOut(column)},
           [](Backend& backend, const Tensors& x) {
             backend.CrossEntropyForward(x[0], x[1], x[2], x[3]);
           }});
      cases.push_back(
          {"CrossEntropyForwardBackward" + kind,
           {Activation(Acc(matrix, -size, size)), targets, Out(column), IndexOut(column)},
           [](Backend& backend, const Tensors& x) {
             backend.CrossEntropyForwardBackward({}, 0.25f, x[0], x[1], x[2], x[3]);
           }});
    }
  }
}

}  // namespace

std::vector<OperationCase> AllOperationCases() {
  Cases cases;
  AddLinear(cases);
  AddRowwise(cases);
  AddMixerCases(cases);
  AddElementwiseCases(cases);
  AddTrainingCases(cases);
  AddAttentionCases(cases);
  AddClassicCases(cases);
  return cases;
}

}  // namespace wavefield::testing
