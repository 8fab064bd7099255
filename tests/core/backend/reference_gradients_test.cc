// The backward passes of the scalar reference against central differences of its forward passes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using Tensors = std::vector<Tensor>;

// The loss is Σ loss_weights ⊙ output, so loss_weights is the gradient of the output.
class ReferenceGradients : public ::testing::Test {
 protected:
  // forward writes `output` from `inputs`; gradients[i] is what backward found for inputs[i].
  void Check(const Tensors& inputs, const Tensors& gradients, const Tensor& output,
             const Tensor& loss_weights, const std::function<void()>& forward) {
    const auto loss = [&] {
      forward();
      double sum = 0.0;
      for (int64_t i = 0; i < output.elements(); ++i) {
        sum += static_cast<double>(output.f32()[i]) * loss_weights.f32()[i];
      }
      return sum;
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t step = std::max<int64_t>(1, inputs[i].elements() / kProbes);
      for (int64_t at = 0; at < inputs[i].elements(); at += step) {
        float& x = inputs[i].f32()[at];
        const float saved = x;
        const float above = saved + kStep, below = saved - kStep;
        x = above;
        const double high = loss();
        x = below;
        const double low = loss();
        x = saved;
        const double slope = (high - low) / (static_cast<double>(above) - below);
        // Outputs are rounded to fp32: about 6e-8 · √elements · |output| / kStep of noise, and
        // kStep²/6 of the third derivative; both stay below 2e-3 for values of order one.
        EXPECT_NEAR(gradients[i].f32()[at], slope, 2e-3 * (1.0 + std::fabs(slope)))
            << "input " << i << " element " << at << " seed " << seed_;
      }
    }
  }

  // Part 0 or 1 of two tensors that stand behind each other in `tensor`.
  static Tensor Part(const Tensor& tensor, const Shape (&shapes)[2], int which) {
    float* data = tensor.f32() + (which == 0 ? 0 : shapes[0].elements());
    return {data, DType::kFloat32, shapes[which]};
  }
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }

  static constexpr float kStep = 1e-3f;
  static constexpr int64_t kProbes = 40;
  const uint64_t seed_ = FreshSeed();
  GuardedTensors memory_;
  std::unique_ptr<Backend> backend_ = MakeReferenceBackend();
};

TEST_F(ReferenceGradients, OfRmsNormAreTheSlopes) {
  const Tensor x = Random({5, 12}, 0.2, 1.0), weight = Random({12}), y = Zeros({5, 12}),
               r = Zeros({5});
  const Tensor dy = Random({5, 12}), dx = Zeros({5, 12}), dweight = Zeros({12});
  const auto forward = [&] { backend_->RmsNormForward(x, weight, y, r); };
  forward();
  backend_->RmsNormBackward(x, weight, r, dy, {}, dx, dweight);
  Check({x, weight}, {dx, dweight}, y, dy, forward);
}

TEST_F(ReferenceGradients, OfTheShortConvolutionAreTheSlopes) {
  const Tensor qkvg = Random({2 * 6, 8}), weight = Random({6, 4}), bias = Random({6});
  const Tensor qkv = Zeros({12, 6}), dqkv = Random({12, 6});
  const Tensor dqkvg = Zeros({12, 8}), dweight = Zeros({6, 4}), dbias = Zeros({6});
  const auto forward = [&] { backend_->ShortConvForward(2, qkvg, weight, bias, {}, qkv); };
  backend_->ShortConvBackward(2, qkvg, weight, bias, {}, dqkv, {}, dqkvg, dweight, dbias);
  Check({qkvg, weight, bias}, {dqkvg, dweight, dbias}, qkv, dqkv, forward);
}

TEST_F(ReferenceGradients, OfDampingAreTheSlopes) {
  const Tensor pre = Random({9, 3}, -4.0, 4.0), bias = Random({3}), damping = Zeros({9, 3});
  const Tensor ddamping = Random({9, 3}), dpre = Zeros({9, 3}), dbias = Zeros({3});
  const auto forward = [&] { backend_->DampingForward(pre, bias, damping); };
  forward();
  backend_->DampingBackward(damping, ddamping, dpre, dbias);
  Check({pre, bias}, {dpre, dbias}, damping, ddamping, forward);
}

TEST_F(ReferenceGradients, OfTheFieldAreTheSlopes) {
  const int64_t batch = 2, tokens = 7, heads = 2, d = 4, width = heads * d, rows = batch * tokens;
  const Tensor qkv = Random({rows, 3 * width}), damping = Random({rows, heads}, 0.05, 0.7);
  const Tensor frequency = Random({heads}, 0.1, 1.0), phase = Random({heads});
  const Tensor y = Zeros({rows, width}), dy = Random({rows, width});
  const Tensor dqkv = Zeros({rows, 3 * width}), ddamping = Zeros({rows, heads});
  const Tensor dfrequency = Zeros({heads}), dphase = Zeros({heads});
  backend_->FieldOuterBackward(Propagation::kChunked, batch, qkv, damping, frequency, phase, {}, dy,
                               {}, dqkv, ddamping, dfrequency, dphase);
  Check({qkv, damping, frequency, phase}, {dqkv, ddamping, dfrequency, dphase}, y, dy, [&] {
    backend_->FieldOuterForward(Propagation::kChunked, batch, qkv, damping, frequency, phase, {},
                                y);
  });
}

TEST_F(ReferenceGradients, OfStaticDampingAreTheSlopes) {
  const Tensor bias = Random({5}, -4.0, 4.0), damping = Zeros({1, 5});
  const Tensor ddamping = Random({1, 5}), dbias = Zeros({5});
  const auto forward = [&] { backend_->DampingForward({}, bias, damping); };
  forward();
  backend_->DampingBackward(damping, ddamping, {}, dbias);
  Check({bias}, {dbias}, damping, ddamping, forward);
}

// The output is what the piece gives and the state it leaves; both have weights in the loss.
TEST_F(ReferenceGradients, OfAPieceOfTheConvolutionAreTheSlopes) {
  for (const int64_t tokens : {1, 2, 6}) {
    SCOPED_TRACE(std::to_string(tokens) + " tokens");
    const int64_t batch = 2, rows = batch * tokens;
    const Tensor qkvg = Random({rows, 8}), weight = Random({6, 4}), bias = Random({6});
    const Tensor state = Random({batch, 3, 6});
    const Shape shapes[] = {{rows, 6}, state.shape};
    const Tensor output = Zeros({rows * 6 + state.elements()}), weights = Random(output.shape);
    const auto forward = [&] {
      backend_->Copy(state, Part(output, shapes, 1));
      backend_->ShortConvForward(batch, qkvg, weight, bias, Part(output, shapes, 1),
                                 Part(output, shapes, 0));
    };
    const Tensor dstate = memory_.Copy(Part(weights, shapes, 1));
    const Tensor dqkvg = Zeros({rows, 8}), dweight = Zeros({6, 4}), dbias = Zeros({6});
    backend_->ShortConvBackward(batch, qkvg, weight, bias, state, Part(weights, shapes, 0), dstate,
                                dqkvg, dweight, dbias);
    Check({qkvg, weight, bias, state}, {dqkvg, dweight, dbias, dstate}, output, weights, forward);
  }
}

TEST_F(ReferenceGradients, OfAPieceOfTheFieldAreTheSlopes) {
  const int64_t batch = 2, tokens = 5, heads = 2, d = 3, width = heads * d, rows = batch * tokens;
  for (const bool is_static : {false, true}) {
    SCOPED_TRACE(is_static ? "static" : "selective");
    const Tensor qkv = Random({rows, 3 * width});
    const Tensor damping = Random({is_static ? 1 : rows, heads}, 0.05, 0.7);
    const Tensor frequency = Random({heads}, 0.1, 1.0), phase = Random({heads});
    const Tensor state = Random({batch, heads, 2 * d, d});
    const Shape shapes[] = {{rows, width}, state.shape};
    const Tensor output = Zeros({rows * width + state.elements()}), weights = Random(output.shape);
    const auto forward = [&] {
      backend_->Copy(state, Part(output, shapes, 1));
      backend_->FieldOuterForward(Propagation::kDirect, batch, qkv, damping, frequency, phase,
                                  Part(output, shapes, 1), Part(output, shapes, 0));
    };
    const Tensor dstate = memory_.Copy(Part(weights, shapes, 1));
    const Tensor dqkv = Zeros(qkv.shape), ddamping = Zeros(damping.shape);
    const Tensor dfrequency = Zeros({heads}), dphase = Zeros({heads});
    backend_->FieldOuterBackward(Propagation::kDirect, batch, qkv, damping, frequency, phase, state,
                                 Part(weights, shapes, 0), dstate, dqkv, ddamping, dfrequency,
                                 dphase);
    Check({qkv, damping, frequency, phase, state}, {dqkv, ddamping, dfrequency, dphase, dstate},
          output, weights, forward);
  }
}

TEST_F(ReferenceGradients, OfTheReadoutWithAQueryAreTheSlopes) {
  const int64_t rows = 5, heads = 3, width = 12;
  // Away from 0, where the norm per head has a large curvature.
  const Tensor y = Random({rows, width}, 0.5, 1.5), qkv = Random({rows, 3 * width}, 0.5, 1.5);
  const Tensor coupling = Random({heads, heads}, -2.0, 2.0);
  const Tensor norm = Random({width}), qkvg = Random({rows, 4 * width}, -3.0, 3.0);
  const Tensor out = Zeros({rows, width}), dout = Random({rows, width});
  const Tensor dy = Zeros({rows, width}), dqkv = Zeros(qkv.shape), dqkvg = Zeros(qkvg.shape);
  const Tensor dcoupling = Zeros({heads, heads}), dnorm = Zeros({width});
  backend_->FieldReadoutBackward(y, qkv, coupling, norm, qkvg, dout, dy, dqkv, dqkvg, dcoupling,
                                 dnorm);
  Check({y, qkv, coupling, norm, qkvg}, {dy, dqkv, dcoupling, dnorm, dqkvg}, out, dout,
        [&] { backend_->FieldReadoutForward(y, qkv, coupling, norm, qkvg, out); });
}

TEST_F(ReferenceGradients, OfTheReadoutAreTheSlopes) {
  const int64_t rows = 5, heads = 3, width = 12;
  // Away from 0, where the norm per head has a large curvature.
  const Tensor y = Random({rows, width}, 0.5, 1.5), coupling = Random({heads, heads}, -2.0, 2.0);
  const Tensor norm = Random({width}), qkvg = Random({rows, 4 * width}, -3.0, 3.0);
  const Tensor out = Zeros({rows, width}), dout = Random({rows, width});
  const Tensor dy = Zeros({rows, width}), dqkvg = Zeros({rows, 4 * width});
  const Tensor dcoupling = Zeros({heads, heads}), dnorm = Zeros({width});
  backend_->FieldReadoutBackward(y, {}, coupling, norm, qkvg, dout, dy, {}, dqkvg, dcoupling,
                                 dnorm);
  Check({y, coupling, norm, qkvg}, {dy, dcoupling, dnorm, dqkvg}, out, dout,
        [&] { backend_->FieldReadoutForward(y, {}, coupling, norm, qkvg, out); });
}

TEST_F(ReferenceGradients, OfSwiGluAreTheSlopes) {
  const Tensor gate_up = Random({4, 10}, -3.0, 3.0), y = Zeros({4, 5}), dy = Random({4, 5});
  const Tensor dgate_up = Zeros({4, 10});
  backend_->SwiGluBackward(gate_up, dy, dgate_up);
  Check({gate_up}, {dgate_up}, y, dy, [&] { backend_->SwiGluForward(gate_up, y); });
}

TEST_F(ReferenceGradients, OfTheCrossEntropyAreTheSlopes) {
  const Tensor logits = Random({4, 9}, -3.0, 3.0), loss = Zeros({4}), ones = Random({4}, 1.0, 1.0);
  const Tensor targets = memory_.Make({4}, DType::kInt32), hit = memory_.Make({4}, DType::kInt32);
  const int32_t chosen[] = {0, -1, 8, 3};
  std::copy_n(chosen, 4, targets.i32());
  const Tensor gradient = memory_.Copy(logits);
  backend_->CrossEntropyForwardBackward({}, 1.0f, gradient, targets, loss, hit);
  Check({logits}, {gradient}, loss, ones,
        [&] { backend_->CrossEntropyForward(logits, targets, loss, hit); });
}

TEST_F(ReferenceGradients, OfTheEmbeddingAreTheSlopes) {
  const Tensor table = Random({3, 4}), y = Zeros({5, 4}), dy = Random({5, 4});
  const Tensor dtable = Zeros({3, 4}), ids = memory_.Make({5}, DType::kInt32);
  const int32_t chosen[] = {2, 0, 2, 2, 1};
  std::copy_n(chosen, 5, ids.i32());
  backend_->EmbeddingBackward(ids, dy, dtable);
  Check({table}, {dtable}, y, dy, [&] { backend_->EmbeddingForward(table, ids, y); });
}

}  // namespace
}  // namespace wavefield
