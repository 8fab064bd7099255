// Short convolution, static damping, the field of outer deposits and its readout.

#include <algorithm>
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
Operand Changed(Shape shape) { return {shape, Role::kAccumulated}; }
struct Sizes {
  int64_t batch, tokens, heads, head_width;
  int64_t rows() const { return batch * tokens; }
  int64_t width() const { return heads * head_width; }
  std::string ToString() const { return Shape{batch, tokens, heads, head_width}.ToString(); }
};

// What stands before a piece and, of a backward pass, what comes after it.
enum class Piece { kWhole, kLast, kMiddle };
constexpr Piece kPieces[] = {Piece::kWhole, Piece::kLast, Piece::kMiddle};

std::string Name(Piece piece) {
  return piece == Piece::kWhole ? "" : piece == Piece::kLast ? " with state" : " with dstate";
}

void AddShortConv(const Sizes& s, Cases& cases) {
  const int64_t batch = s.batch;
  const Shape triple{s.rows(), 3 * s.width()}, quad{s.rows(), 4 * s.width()};
  for (const int64_t taps : {1, 2, 3, 4, 5}) {
    const Shape weight{3 * s.width(), taps}, bias{3 * s.width()};
    const Shape state{batch, taps - 1, 3 * s.width()};
    const std::string name = s.ToString() + "W" + std::to_string(taps);
    cases.push_back(
        {"ShortConvForward" + name,
         {Activation(In(quad, -3.0, 3.0)), In(weight), In(bias), Activation(Out(triple))},
         [=](Backend& backend, const Tensors& x) {
           backend.ShortConvForward(batch, x[0], x[1], x[2], {}, x[3]);
         }});
    if (taps > 1) {
      cases.push_back(
          {"ShortConvForward with state" + name,
           {Activation(In(quad)), In(weight), In(bias), Changed(state), Activation(Out(triple))},
           [=](Backend& backend, const Tensors& x) {
             backend.ShortConvForward(batch, x[0], x[1], x[2], x[3], x[4]);
           }});
    }
    for (const Piece piece : kPieces) {
      cases.push_back(
          {"ShortConvBackward" + Name(piece) + name,
           {Activation(In(quad)), In(weight), In(bias), Activation(In(triple)),
            Activation(Changed(quad)), Changed(weight), Changed(bias), In(state), Changed(state)},
           [=](Backend& backend, const Tensors& x) {
             backend.ShortConvBackward(batch, x[0], x[1], x[2],
                                       piece == Piece::kWhole ? Tensor{} : x[7], x[3],
                                       piece == Piece::kMiddle ? x[8] : Tensor{}, x[4], x[5], x[6]);
           },
           1e-5});
    }
  }
}

void AddField(const Sizes& s, Propagation way, double damping, bool is_static, Cases& cases) {
  const int64_t batch = s.batch;
  const Shape narrow{s.rows(), s.width()}, triple{s.rows(), 3 * s.width()}, heads{s.heads};
  const Shape state{batch, s.heads, 2 * s.head_width, s.head_width};
  const std::string name = s.ToString() + (way == Propagation::kDirect ? "direct " : "") +
                           (is_static ? "static " : "") + "damping" + std::to_string(damping);
  const Shape lambdas{is_static ? 1 : s.rows(), s.heads};
  const Operand lambda = In(lambdas, is_static ? damping / 2 : 1e-4, damping);
  const Operand omega = In(heads, 0.0, 3.0), phi = In(heads, -3.0, 3.0);
  cases.push_back({"FieldOuterForward" + name,
                   {Activation(In(triple)), lambda, omega, phi, Activation(Out(narrow))},
                   [=](Backend& backend, const Tensors& x) {
                     backend.FieldOuterForward(way, batch, x[0], x[1], x[2], x[3], {}, x[4]);
                   },
                   1e-5});
  cases.push_back(
      {"FieldOuterForward with state" + name,
       {Activation(In(triple)), lambda, omega, phi, Changed(state), Activation(Out(narrow))},
       [=](Backend& backend, const Tensors& x) {
         backend.FieldOuterForward(way, batch, x[0], x[1], x[2], x[3], x[4], x[5]);
       },
       1e-5});
  // Gradients of damping, frequency and phase are small differences of long sums: over pairs of
  // tokens that hear each other, of (q·k)(dy·v), for all but the phase times the tokens between.
  const double reach = std::clamp(2.0 / damping, 1.0, static_cast<double>(s.tokens));
  Operand dlambda = Out(lambdas), domega = Changed(heads), dphi = Changed(heads);
  dphi.scale = (1.0 + static_cast<double>(s.head_width) / 20.0) *
               std::sqrt(static_cast<double>(s.rows()) * reach);
  domega.scale = dphi.scale * reach;
  if (is_static) dlambda.scale = domega.scale;
  // A state's own part is a sum of 2d² products of random sign: of it and its gradient.
  const double carried = 0.5 * static_cast<double>(s.head_width);
  for (const Piece piece : kPieces) {
    if (piece != Piece::kWhole) {
      dlambda.scale = std::max(dlambda.scale, carried);
      domega.scale = std::max(domega.scale, carried);
    }
    cases.push_back({"FieldOuterBackward" + Name(piece) + name,
                     {Activation(In(triple)), lambda, omega, phi, Activation(In(narrow)),
                      Activation(Out(triple)), dlambda, domega, dphi, In(state), Changed(state)},
                     [=](Backend& backend, const Tensors& x) {
                       backend.FieldOuterBackward(way, batch, x[0], x[1], x[2], x[3],
                                                  piece == Piece::kWhole ? Tensor{} : x[9], x[4],
                                                  piece == Piece::kMiddle ? x[10] : Tensor{}, x[5],
                                                  x[6], x[7], x[8]);
                     },
                     5e-5});
  }
}

void AddStaticDamping(int64_t heads, Cases& cases) {
  const std::string name = " static" + Shape{heads}.ToString();
  cases.push_back(
      {"DampingForward" + name,
       {In(Shape{heads}, -30.0, 30.0), Out({1, heads})},
       [](Backend& backend, const Tensors& x) { backend.DampingForward({}, x[0], x[1]); }});
  cases.push_back(
      {"DampingBackward" + name,
       {In({1, heads}, 1e-4, 4.0), In({1, heads}), Changed({heads})},
       [](Backend& backend, const Tensors& x) { backend.DampingBackward(x[0], x[1], {}, x[2]); }});
}

void AddReadout(const Sizes& s, bool with_q, double largest, Cases& cases) {
  const Shape narrow{s.rows(), s.width()}, triple{s.rows(), 3 * s.width()};
  const Shape quad{s.rows(), 4 * s.width()}, norm{s.width()};
  const Operand coupling = In({s.heads, s.heads}, -2.0, 2.0),
                gate = Activation(In(quad, -3.0, 3.0));
  const Operand y = Activation(In(narrow, -largest, largest));
  // Away from 0, where 1 / the root mean square per head varies fast.
  const Operand qkv = Activation(In(triple, 0.3, 1.5));
  const std::string name = s.ToString() + "y" + std::to_string(largest) + (with_q ? " with q" : "");
  cases.push_back({"FieldReadoutForward" + name,
                   {y, qkv, coupling, In(norm), gate, Activation(Out(narrow))},
                   [=](Backend& backend, const Tensors& x) {
                     backend.FieldReadoutForward(x[0], with_q ? x[1] : Tensor{}, x[2], x[3], x[4],
                                                 x[5]);
                   }});
  // Sums over all rows and columns, whose terms nearly cancel.
  Operand dcoupling = Changed({s.heads, s.heads});
  dcoupling.scale = std::sqrt(static_cast<double>(s.batch * s.tokens * s.head_width));
  cases.push_back(
      {"FieldReadoutBackward" + name,
       {y, qkv, coupling, In(norm), gate, Activation(In(narrow)), Activation(Out(narrow)),
        Activation(Changed(triple)), Activation(Changed(quad)), dcoupling, Changed(norm)},
       [=](Backend& backend, const Tensors& x) {
         backend.FieldReadoutBackward(x[0], with_q ? x[1] : Tensor{}, x[2], x[3], x[4], x[5], x[6],
                                      with_q ? x[7] : Tensor{}, x[8], x[9], x[10]);
       },
       2e-5});
}

}  // namespace

void AddMixerCases(Cases& cases) {
  for (const Sizes& s : {Sizes{1, 1, 1, 4},
                         {3, 1, 2, 64},
                         {2, 2, 3, 8},
                         {1, 63, 1, 20},
                         {2, 64, 2, 4},
                         {3, 65, 2, 8},
                         {2, 130, 3, 20},
                         {1, 130, 2, 64},
                         {1, 200, 1, 17}}) {
    AddShortConv(s, cases);
    for (const bool is_static : {false, true}) {
      // Slow and fast waves; damping from nearly none to what underflows inside a chunk.
      AddField(s, Propagation::kChunked, 0.05, is_static, cases);
      AddField(s, Propagation::kChunked, 4.0, is_static, cases);
    }
    if (s.tokens <= 2) AddField(s, Propagation::kDirect, 0.5, false, cases);
    for (const bool with_q : {false, true}) AddReadout(s, with_q, 1.0, cases);
  }
  // So small that the epsilon of the norm counts: the gradient has a part along y.
  for (const bool with_q : {false, true}) AddReadout({2, 3, 3, 8}, with_q, 2e-3, cases);
  AddField({2, 70, 2, 8}, Propagation::kDirect, 0.05, true, cases);
  for (const int64_t heads : {1, 5, 33}) AddStaticDamping(heads, cases);
}

}  // namespace wavefield::testing
