#include "tests/core/backend/operation_cases.h"

namespace wavefield::testing {
namespace {

using Tensors = std::vector<Tensor>;

Operand Changed(Shape shape, double size = 1.0) { return {shape, Role::kAccumulated, -size, size}; }

void AddObjectives(std::vector<OperationCase>& cases) {
  struct Sizes {
    int64_t rows, width;
  };
  for (const Sizes s : {Sizes{1, 1}, {2, 5}, {63, 20}, {129, 64}, {30, 1001}}) {
    const Operand targets{{s.rows}, Role::kInput, 0, 0, -1, static_cast<int32_t>(s.width)};
    const Operand loss{{s.rows}, Role::kOutput}, hit{{s.rows}, Role::kOutput, 0, 0, 0, 1};
    for (const double size : {1.0, 1e3}) {
      for (const LossOptions options :
           {LossOptions{0.1f, 0.0f}, LossOptions{0.0f, 0.01f}, LossOptions{0.2f, 0.02f}}) {
        cases.push_back(
            {"CrossEntropyForwardBackward" + Shape{s.rows, s.width}.ToString() + " logits to " +
                 std::to_string(size) + " smoothing " + std::to_string(options.label_smoothing) +
                 " z-loss " + std::to_string(options.z_loss),
             {Activation(Changed({s.rows, s.width}, size)), targets, loss, hit},
             [=](Backend& backend, const Tensors& x) {
               backend.CrossEntropyForwardBackward(options, 0.25f, x[0], x[1], x[2], x[3]);
             }});
      }
    }
  }
}

void AddDropout(std::vector<OperationCase>& cases) {
  struct Sizes {
    int64_t batch, tokens, width;
  };
  for (const Sizes s : {Sizes{1, 1, 1}, {2, 3, 5}, {1, 40, 33}, {3, 50, 256}, {2, 17, 1027}}) {
    for (const float rate : {0.0f, 0.1f, 0.9f}) {
      for (const int64_t position : {int64_t{0}, int64_t{1000}, (int64_t{1} << 32) - 2}) {
        cases.push_back({"Dropout" + Shape{s.batch, s.tokens, s.width}.ToString() + " rate " +
                             std::to_string(rate) + " from " + std::to_string(position),
                         {Activation(Changed({s.batch * s.tokens, s.width}))},
                         [=](Backend& backend, const Tensors& x) {
                           backend.Dropout(0x9E3779B97F4A7C15, rate, s.batch, position, x[0]);
                         }});
      }
    }
  }
}

void AddRanges(std::vector<OperationCase>& cases) {
  for (const int64_t n : {0, 1, 15, 40000}) {
    for (const float b : {0.0f, 1.0f, -0.75f}) {
      cases.push_back(
          {"Axpby" + Shape{n}.ToString() + " b " + std::to_string(b),
           {{{n}}, Changed({n})},
           [=](Backend& backend, const Tensors& x) { backend.Axpby(0.3f, x[0], b, x[1]); }});
    }
  }
}

}  // namespace

void AddTrainingCases(std::vector<OperationCase>& cases) {
  AddObjectives(cases);
  AddDropout(cases);
  AddRanges(cases);
}

}  // namespace wavefield::testing
