#include "core/backend/cpu/attention_blocks.h"
#include "tests/core/backend/operation_cases.h"

namespace wavefield::testing {
namespace {

using Tensors = std::vector<Tensor>;

Operand In(Shape shape, double size = 1.0) { return {shape, Role::kInput, -size, size}; }
Operand Out(Shape shape) { return {shape, Role::kOutput}; }
Operand Changed(Shape shape) { return {shape, Role::kAccumulated}; }

struct Sizes {
  int64_t batch, tokens, heads, head_width, position;

  int64_t rows() const { return batch * tokens; }
  int64_t width() const { return heads * head_width; }
  std::string name() const {
    return Shape{batch, tokens, heads, head_width}.ToString() + " from " + std::to_string(position);
  }
};

void AddRotary(std::vector<OperationCase>& cases) {
  for (const Sizes s : {Sizes{1, 1, 1, 2, 0},
                        {2, 3, 2, 6, 62},
                        {1, 130, 3, 64, 0},
                        {2, 70, 1, 34, 1000},
                        {1, 5, 2, 16, (int64_t{1} << 24) - 3}}) {
    for (const bool inverse : {false, true}) {
      cases.push_back({"Rotary" + s.name() + (inverse ? " inverse" : ""),
                       {Activation(Changed({s.rows(), 3 * s.width()}))},
                       [=](Backend& backend, const Tensors& x) {
                         backend.Rotary(s.batch, s.heads, s.position, inverse, x[0]);
                       }});
    }
  }
}

void AddAttention(std::vector<OperationCase>& cases, const Sizes& s) {
  const Shape triple{s.rows(), 3 * s.width()}, narrow{s.rows(), s.width()};
  const Shape per_head{s.rows(), s.heads};
  // Nearly equal weights, and a few large ones.
  for (const double size : {1.0, 4.0}) {
    const std::string name = s.name() + " to " + std::to_string(size);
    // Gradients of q and k are differences of terms (dy · v) k / √d, each about as large as this,
    // of which little may be left.
    Operand dqkv = Activation(Out(triple));
    dqkv.scale = 0.2 * size * size;
    if (s.position == 0) {
      cases.push_back({"AttentionForward" + name,
                       {Activation(In(triple, size)), Activation(Out(narrow)), Out(per_head)},
                       [=](Backend& backend, const Tensors& x) {
                         backend.AttentionForward(s.batch, s.heads, 0, x[0], {}, x[1], x[2]);
                       },
                       2e-5});
      cases.push_back({"AttentionBackward" + name,
                       {Activation(In(triple, size)), Activation(Out(narrow)), Out(per_head),
                        Activation(In(narrow)), dqkv},
                       [=](Backend& backend, const Tensors& x) {
                         backend.AttentionForward(s.batch, s.heads, 0, x[0], {}, x[1], x[2]);
                         backend.AttentionBackward(s.batch, s.heads, 0, x[0], {}, x[1], x[2], x[3],
                                                   {}, x[4]);
                       },
                       1e-4});
    }
    // More room than is needed, whose rows nobody may touch or trust.
    const Shape history{s.batch, s.position + s.tokens + 3, 2 * s.width()};
    cases.push_back(
        {"AttentionForward with history" + name,
         {Activation(In(triple, size)), Changed(history), Activation(Out(narrow)), Out(per_head)},
         [=](Backend& backend, const Tensors& x) {
           backend.AttentionForward(s.batch, s.heads, s.position, x[0], x[1], x[2], x[3]);
         },
         2e-5});
    for (const bool later : {false, true}) {
      Operand dhistory = Changed(history);
      dhistory.scale = 1.0;
      cases.push_back({"AttentionBackward with history" + name + (later ? " and later" : ""),
                       {Activation(In(triple, size)), Changed(history), Activation(Out(narrow)),
                        Out(per_head), Activation(In(narrow)), dhistory, dqkv},
                       [=](Backend& backend, const Tensors& x) {
                         backend.AttentionForward(s.batch, s.heads, s.position, x[0], x[1], x[2],
                                                  x[3]);
                         backend.AttentionBackward(s.batch, s.heads, s.position, x[0], x[1], x[2],
                                                   x[3], x[4], later ? x[5] : Tensor{}, x[6]);
                       },
                       1e-4});
    }
  }
}

}  // namespace

void AddAttentionCases(std::vector<OperationCase>& cases) {
  AddRotary(cases);
  for (const Sizes& s : {Sizes{1, 1, 1, 2, 0},
                         {2, 1, 3, 8, 5},
                         {2, 2, 1, 64, 0},
                         {1, kQueryBlock - 1, 2, 6, 0},
                         {2, kQueryBlock, 1, 16, 0},
                         {1, kQueryBlock + 1, 3, 20, 0},
                         {1, 2 * kKeyBlock + 1, 1, 4, 0},
                         {1, 10, 2, 64, kKeyBlock - 5},
                         {2, kQueryBlock + 40, 1, 18, kQueryBlock - 20},
                         {2, 1, 3, 10, 3 * kKeyBlock - 1},
                         {1, 1, 2, 64, 530}}) {
    AddAttention(cases, s);
  }
}

}  // namespace wavefield::testing
