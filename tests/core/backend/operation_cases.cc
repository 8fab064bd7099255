#include "tests/core/backend/operation_cases.h"

#include <cmath>

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
// A sum over `terms` terms of order one and random sign.
Operand Sum(Shape shape, int64_t terms) {
  Operand operand = Acc(shape);
  operand.scale = std::sqrt(static_cast<double>(terms));
  return operand;
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
                           {In(ta ? Shape{s.k, s.m} : Shape{s.m, s.k}),
                            In(tb ? Shape{s.n, s.k} : Shape{s.k, s.n}),
                            beta == 0.0f ? Out({s.m, s.n}) : Acc({s.m, s.n})},
                           [=](Backend& backend, const Tensors& x) {
                             backend.MatMul(transpose(ta), transpose(tb), x[0], x[1], beta, x[2]);
                           },
                           4e-6,
                           false});
        }
      }
    }
  }
  for (const int64_t n : {1, 15, 40000}) {
    cases.push_back({"Add" + Dims({n}),
                     {In({n}), Acc({n})},
                     [](Backend& backend, const Tensors& x) { backend.Add(x[0], x[1]); }});
    cases.push_back({"Fill" + Dims({n}), {Out({n})}, [](Backend& backend, const Tensors& x) {
                       backend.Fill(x[0], 2.5f);
                     }});
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
         {In({7, width}), Index({200}, 0, 7), Out({200, width})},
         [](Backend& backend, const Tensors& x) { backend.EmbeddingForward(x[0], x[1], x[2]); }});
    cases.push_back(
        {"EmbeddingBackward" + Dims({width}),
         {Index({200}, 0, 7), In({200, width}), Acc({7, width})},
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
                     {In(matrix), In(row), Out(matrix), Out(column)},
                     [](Backend& backend, const Tensors& x) {
                       backend.RmsNormForward(x[0], x[1], x[2], x[3]);
                     }});
    for (const bool residual : {false, true}) {
      cases.push_back({"RmsNormBackward" + dims + (residual ? "residual" : ""),
                       {In(matrix), In(row), In(column, 0.5, 2.0), In(matrix), In(matrix),
                        Out(matrix), Acc(row)},
                       [=](Backend& backend, const Tensors& x) {
                         backend.RmsNormBackward(x[0], x[1], x[2], x[3], residual ? x[4] : Tensor{},
                                                 x[5], x[6]);
                       }});
    }
    cases.push_back({"RmsNormBackward" + dims + "in place",
                     {In(matrix), In(row), In(column, 0.5, 2.0), In(matrix), Acc(matrix), Acc(row)},
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
         {In(pair, -9.0, 9.0), Out(matrix)},
         [](Backend& backend, const Tensors& x) { backend.SwiGluForward(x[0], x[1]); }});
    cases.push_back(
        {"SwiGluForward extreme" + dims,
         {In(pair, -200.0, 200.0), Out(matrix)},
         [](Backend& backend, const Tensors& x) { backend.SwiGluForward(x[0], x[1]); }});
    cases.push_back(
        {"SwiGluBackward" + dims,
         {In(pair, -9.0, 9.0), In(matrix), Out(pair)},
         [](Backend& backend, const Tensors& x) { backend.SwiGluBackward(x[0], x[1], x[2]); }});
    cases.push_back(
        {"SwiGluBackward" + dims + "in place",
         {Acc(pair, -9.0, 9.0), In(matrix)},
         [](Backend& backend, const Tensors& x) { backend.SwiGluBackward(x[0], x[1], x[0]); }});
    const auto targets = Index(column, -1, static_cast<int32_t>(s.width));
    for (const double size : {1.0, 1e4}) {
      const std::string kind = dims + (size > 1.0 ? "large logits" : "");
      cases.push_back({"CrossEntropyForward" + kind,
                       {In(matrix, -size, size), targets, Out(column), IndexOut(column)},
                       [](Backend& backend, const Tensors& x) {
                         backend.CrossEntropyForward(x[0], x[1], x[2], x[3]);
                       }});
      cases.push_back({"CrossEntropyForwardBackward" + kind,
                       {Acc(matrix, -size, size), targets, Out(column), IndexOut(column)},
                       [](Backend& backend, const Tensors& x) {
                         backend.CrossEntropyForwardBackward(0.25f, x[0], x[1], x[2], x[3]);
                       }});
    }
  }
}

void AddMixer(Cases& cases) {
  struct Sizes {
    int64_t batch, tokens, heads, head_width;
  };
  for (const Sizes s : {Sizes{1, 1, 1, 4},
                        {3, 1, 2, 64},
                        {2, 2, 3, 8},
                        {1, 63, 1, 20},
                        {2, 64, 2, 4},
                        {3, 65, 2, 8},
                        {2, 130, 3, 20},
                        {1, 130, 2, 64},
                        {1, 200, 1, 17}}) {
    const int64_t rows = s.batch * s.tokens, width = s.heads * s.head_width, batch = s.batch;
    const std::string dims = Dims({s.batch, s.tokens, s.heads, s.head_width});
    const Shape narrow{rows, width}, triple{rows, 3 * width}, quad{rows, 4 * width};
    const Shape heads{s.heads}, per_head{rows, s.heads}, pairs{s.heads, s.heads};

    for (const int64_t taps : {1, 4, 5}) {
      const Shape weight{3 * width, taps}, bias{3 * width};
      const std::string name = dims + "W" + std::to_string(taps);
      cases.push_back({"ShortConvForward" + name,
                       {In(quad, -3.0, 3.0), In(weight), In(bias), Out(triple)},
                       [=](Backend& backend, const Tensors& x) {
                         backend.ShortConvForward(batch, x[0], x[1], x[2], {}, x[3]);
                       }});
      if (taps > 1) {
        cases.push_back(
            {"ShortConvForward with state" + name,
             {In(quad), In(weight), In(bias), Acc({batch, taps - 1, 3 * width}), Out(triple)},
             [=](Backend& backend, const Tensors& x) {
               backend.ShortConvForward(batch, x[0], x[1], x[2], x[3], x[4]);
             }});
      }
      cases.push_back(
          {"ShortConvBackward" + name,
           {In(quad), In(weight), In(bias), In(triple), Acc(quad), Acc(weight), Acc(bias)},
           [=](Backend& backend, const Tensors& x) {
             backend.ShortConvBackward(batch, x[0], x[1], x[2], x[3], x[4], x[5], x[6]);
           },
           1e-5});
    }

    // Slow and fast waves; damping from nearly none to what underflows inside a chunk.
    for (const double damping : {0.05, 4.0}) {
      const std::string name = dims + "damping" + std::to_string(damping);
      const Operand lambda = In(per_head, 1e-4, damping);
      const Operand omega = In(heads, 0.0, 3.0), phi = In(heads, -3.0, 3.0);
      cases.push_back({"FieldOuterForward" + name,
                       {In(triple), lambda, omega, phi, Out(narrow)},
                       [=](Backend& backend, const Tensors& x) {
                         backend.FieldOuterForward(batch, x[0], x[1], x[2], x[3], {}, x[4]);
                       },
                       1e-5});
      cases.push_back({"FieldOuterForward with state" + name,
                       {In(triple), lambda, omega, phi,
                        Acc({batch, s.heads, 2 * s.head_width, s.head_width}), Out(narrow)},
                       [=](Backend& backend, const Tensors& x) {
                         backend.FieldOuterForward(batch, x[0], x[1], x[2], x[3], x[4], x[5]);
                       },
                       1e-5});
      // Gradients of damping, frequency and phase are small differences of long sums.
      cases.push_back({"FieldOuterBackward" + name,
                       {In(triple), lambda, omega, phi, In(narrow), Out(triple), Out(per_head),
                        Sum(heads, rows), Sum(heads, rows)},
                       [=](Backend& backend, const Tensors& x) {
                         backend.FieldOuterBackward(batch, x[0], x[1], x[2], x[3], x[4], x[5], x[6],
                                                    x[7], x[8]);
                       },
                       5e-5});
    }

    cases.push_back(
        {"FieldReadoutForward" + dims,
         {In(narrow), In(pairs, -2.0, 2.0), In(Shape{width}), In(quad, -3.0, 3.0), Out(narrow)},
         [](Backend& backend, const Tensors& x) {
           backend.FieldReadoutForward(x[0], x[1], x[2], x[3], x[4]);
         }});
    cases.push_back({"FieldReadoutBackward" + dims,
                     {In(narrow), In(pairs, -2.0, 2.0), In(Shape{width}), In(quad, -3.0, 3.0),
                      In(narrow), Out(narrow), Acc(quad), Acc(pairs), Acc(Shape{width})},
                     [](Backend& backend, const Tensors& x) {
                       backend.FieldReadoutBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7],
                                                    x[8]);
                     },
                     2e-5});
  }
}

}  // namespace

std::vector<OperationCase> AllOperationCases() {
  Cases cases;
  AddLinear(cases);
  AddRowwise(cases);
  AddMixer(cases);
  return cases;
}

}  // namespace wavefield::testing
