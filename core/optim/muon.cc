#include "core/optim/muon.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/check.h"

namespace wavefield {
namespace {

constexpr float kMomentum = 0.95f;
constexpr int kIterations = 5;
// x ↦ a x + b x³ + c x⁵, applied to the singular values.
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

}  // namespace

Muon::Muon(Backend& backend, int64_t elements, int64_t side)
    : backend_(backend),
      elements_(elements),
      side_(side),
      scratch_(AllocateFloats(backend, 2 * elements + 2 * side * side)) {}

Muon::~Muon() { backend_.Free(scratch_.data); }

void Muon::Step(const MuonParameters& p, Tensor gradient, Tensor parameter, Tensor momentum) {
  const int64_t rows = gradient.shape[0], cols = gradient.shape[1];
  const int64_t elements = rows * cols, side = std::min(rows, cols);
  WF_CHECK(elements <= elements_ && side <= side_);
  const auto piece = [&](int64_t begin, Shape shape) {
    return scratch_.Rows(begin, begin + shape.elements()).Reshape(shape);
  };
  Tensor x = piece(0, {rows, cols}), next = piece(elements, {rows, cols});
  const Tensor gram = piece(2 * elements, {side, side});
  const Tensor polynomial = piece(2 * elements + side * side, {side, side});

  const float fresh = (1 - kMomentum) * p.gradient_scale;
  backend_.Axpby(fresh, gradient, kMomentum, momentum);
  backend_.Copy(momentum, x);
  backend_.Axpby(fresh, gradient, kMomentum, x);
  const double norm = std::sqrt(backend_.SumOfSquares(x));
  backend_.Axpby(0, momentum, static_cast<float>(1.0 / (norm + 1e-7)), x);

  const bool wide = rows <= cols;
  for (int i = 0; i < kIterations; ++i) {
    // The Gram matrix of the shorter side; next = a x + (b gram + c gram²) x, or its mirror image.
    backend_.MatMul(wide ? Transpose::kNo : Transpose::kYes,
                    wide ? Transpose::kYes : Transpose::kNo, x, x, 0, gram);
    backend_.MatMul(Transpose::kNo, Transpose::kNo, gram, gram, 0, polynomial);
    backend_.Axpby(kB, gram, kC, polynomial);
    backend_.MatMul(Transpose::kNo, Transpose::kNo, wide ? polynomial : x, wide ? x : polynomial, 0,
                    next);
    backend_.Axpby(kA, x, 1, next);
    std::swap(x, next);
  }
  const double tall = std::max(1.0, static_cast<double>(rows) / static_cast<double>(cols));
  backend_.Axpby(-p.learning_rate * static_cast<float>(std::sqrt(tall)), x,
                 1 - p.learning_rate * p.weight_decay, parameter);
}

}  // namespace wavefield
