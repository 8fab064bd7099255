// Laws of the elementwise field between calls and between ways, and the slopes of the reference.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "tests/core/backend/backend_makers.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using testing::RelativeDifference;
using testing::SameBits;

constexpr int64_t kHeads = 2, kHeadWidth = 20, kWidth = kHeads * kHeadWidth;

// One sequence and everything that goes in and comes out.
struct Call {
  Tensor qkv, damping, frequency, phase, state, field, dfield, dstate, dqkv, ddamping, dfrequency,
      dphase;

  void Forward(Backend& backend, Propagation way) const {
    backend.FieldElementwiseForward(way, 1, qkv, damping, frequency, phase, state, field);
  }
  void Backward(Backend& backend, Propagation way) const {
    backend.FieldElementwiseBackward(way, 1, qkv, damping, frequency, phase, state, dfield, dstate,
                                     dqkv, ddamping, dfrequency, dphase);
  }
};

class ElementwiseField : public ::testing::Test {
 protected:
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }
  Call MakeCall(int64_t tokens, bool static_damping, bool with_state) {
    const int64_t rows = static_damping ? 1 : tokens;
    const Shape state{1, kHeads, 2, kHeadWidth};
    return {Random({tokens, 3 * kWidth}),
            Random({rows, kHeads}, 1e-3, 0.2),
            Random({kHeads}, 0.1, 1.5),
            Random({kHeads}, -3.0, 3.0),
            with_state ? Random(state) : Tensor{},
            Zeros({tokens, kWidth}),
            Random({tokens, kWidth}),
            with_state ? Random(state) : Tensor{},
            Zeros({tokens, 3 * kWidth}),
            Zeros({rows, kHeads}),
            Zeros({kHeads}),
            Zeros({kHeads})};
  }
  // The same inputs, outputs of its own.
  Call Again(const Call& call) {
    Call again = call;
    for (Tensor* tensor : {&again.state, &again.dstate}) {
      if (!tensor->empty()) *tensor = memory_.Copy(*tensor);
    }
    for (Tensor* tensor :
         {&again.field, &again.dqkv, &again.ddamping, &again.dfrequency, &again.dphase}) {
      *tensor = Zeros(tensor->shape);
    }
    return again;
  }
  void ExpectSameGradients(const Call& actual, const Call& expected, double tolerance) {
    const double scale = std::sqrt(static_cast<double>(expected.qkv.shape[0] * kHeadWidth));
    EXPECT_LE(RelativeDifference(actual.dqkv, expected.dqkv), tolerance);
    EXPECT_LE(RelativeDifference(actual.ddamping, expected.ddamping, scale), tolerance);
    EXPECT_LE(RelativeDifference(actual.dfrequency, expected.dfrequency, scale), tolerance);
    EXPECT_LE(RelativeDifference(actual.dphase, expected.dphase, scale), tolerance);
  }
  void TearDown() override {
    EXPECT_TRUE(memory_.Intact());
    if (HasFailure()) std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  const uint64_t seed_ = FreshSeed();
  GuardedTensors memory_;
};

class ElementwiseFieldLaws : public ElementwiseField,
                             public ::testing::WithParamInterface<testing::BackendMaker> {
 protected:
  std::unique_ptr<Backend> backend_ = GetParam().make();
};

TEST_P(ElementwiseFieldLaws, ALaterTokenChangesNoBitOfWhatComesBefore) {
  const Call call = MakeCall(200, false, false);
  call.Forward(*backend_, Propagation::kRecurrence);
  for (const int64_t t : {1, 63, 64, 65, 127, 128, 199}) {
    Call changed = Again(call);
    changed.qkv = memory_.Copy(call.qkv);
    changed.damping = memory_.Copy(call.damping);
    for (int64_t c = 0; c < 3 * kWidth; ++c) changed.qkv.f32()[t * 3 * kWidth + c] += 1.5f;
    for (int64_t h = 0; h < kHeads; ++h) changed.damping.f32()[t * kHeads + h] += 0.5f;
    changed.Forward(*backend_, Propagation::kRecurrence);
    EXPECT_TRUE(SameBits(changed.field.Rows(0, t), call.field.Rows(0, t))) << "token " << t;
    EXPECT_FALSE(SameBits(changed.field.Rows(t, t + 1), call.field.Rows(t, t + 1)))
        << "token " << t;
  }
}

TEST_P(ElementwiseFieldLaws, PiecesWithCarriedStateAndItsGradientAreTheSequence) {
  for (const bool static_damping : {false, true}) {
    SCOPED_TRACE(static_damping ? "static" : "selective");
    const Call whole = MakeCall(200, static_damping, true);
    const Call pieces = Again(whole);
    std::vector<int64_t> ends;
    int64_t end = 0;
    // As in generation, around a chunk, and longer than one.
    for (const int64_t length : {1, 1, 2, 63, 1, 64, 65, 3}) ends.push_back(end += length);
    ASSERT_EQ(end, 200);
    const auto piece = [&](size_t i) {
      const int64_t from = i == 0 ? 0 : ends[i - 1], to = ends[i];
      Call part = pieces;
      part.qkv = pieces.qkv.Rows(from, to);
      part.field = pieces.field.Rows(from, to);
      part.dfield = pieces.dfield.Rows(from, to);
      part.dqkv = pieces.dqkv.Rows(from, to);
      if (static_damping) {
        part.ddamping = Zeros({1, kHeads});
      } else {
        part.damping = pieces.damping.Rows(from, to);
        part.ddamping = pieces.ddamping.Rows(from, to);
      }
      return part;
    };
    std::vector<Tensor> states;
    for (size_t i = 0; i < ends.size(); ++i) {
      states.push_back(memory_.Copy(pieces.state));
      piece(i).Forward(*backend_, Propagation::kRecurrence);
    }
    for (size_t i = ends.size(); i-- > 0;) {
      Call part = piece(i);
      part.state = states[i];
      part.Backward(*backend_, Propagation::kRecurrence);
      if (static_damping) backend_->Add(part.ddamping, pieces.ddamping);
    }
    whole.Backward(*backend_, Propagation::kRecurrence);
    whole.Forward(*backend_, Propagation::kRecurrence);
    EXPECT_LE(RelativeDifference(pieces.field, whole.field), 1e-5);
    EXPECT_LE(RelativeDifference(pieces.state, whole.state), 1e-5);
    EXPECT_LE(RelativeDifference(pieces.dstate, whole.dstate), 1e-5);
    ExpectSameGradients(pieces, whole, 5e-5);
  }
}

TEST_P(ElementwiseFieldLaws, AllWaysAgree) {
  const Call direct = MakeCall(301, true, false);
  direct.Forward(*backend_, Propagation::kDirect);
  direct.Backward(*backend_, Propagation::kDirect);
  for (const Propagation way : {Propagation::kRecurrence, Propagation::kFft}) {
    SCOPED_TRACE(way == Propagation::kFft ? "FFT" : "recurrence");
    const Call call = Again(direct);
    call.Forward(*backend_, way);
    call.Backward(*backend_, way);
    EXPECT_LE(RelativeDifference(call.field, direct.field), 2e-5);
    ExpectSameGradients(call, direct, 5e-5);
  }
}

TEST_P(ElementwiseFieldLaws, ANaNReachesWhatComesAfterItAndNothingElse) {
  const Call call = MakeCall(130, false, false);
  call.qkv.f32()[70 * 3 * kWidth + kWidth + 3] = std::numeric_limits<float>::quiet_NaN();
  call.Forward(*backend_, Propagation::kRecurrence);
  for (int64_t t = 0; t < 130; ++t) {
    for (int64_t c = 0; c < kWidth; ++c) {
      EXPECT_EQ(std::isnan(call.field.f32()[t * kWidth + c]), t >= 70 && c == 3) << t << " " << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, ElementwiseFieldLaws,
                         ::testing::Values(testing::kCpu1, testing::kCpu2, testing::kReference),
                         testing::kBackendName);

class FastElementwiseField : public ElementwiseField {
 protected:
  // Deposits 1 at token `at` and nothing else.
  Call Impulse(int64_t tokens, int64_t at, float damping) {
    Call call = MakeCall(tokens, true, false);
    std::fill_n(call.qkv.f32(), call.qkv.elements(), 0.0f);
    std::fill_n(call.qkv.f32() + at * 3 * kWidth, 3 * kWidth, 1.0f);
    std::fill_n(call.damping.f32(), kHeads, damping);
    return call;
  }
};

TEST_F(FastElementwiseField, AWaveIsExactAfterAHundredThousandTokens) {
  const int64_t tokens = 100000;
  const Call call = Impulse(tokens, 0, 1e-5f);
  const auto backend = MakeCpuBackend(2);
  for (const Propagation way : {Propagation::kRecurrence, Propagation::kFft}) {
    call.Forward(*backend, way);
    for (const int64_t t : {0L, 1000L, 30000L, tokens - 1}) {
      for (int64_t h = 0; h < kHeads; ++h) {
        const double distance = static_cast<double>(t), omega = call.frequency.f32()[h];
        const double expected = std::exp(-static_cast<double>(call.damping.f32()[h]) * distance) *
                                std::cos(omega * distance + call.phase.f32()[h]);
        EXPECT_NEAR(call.field.f32()[t * kWidth + h * kHeadWidth], expected,
                    1e-4)  // fp32 phases of ω·t
            << "token " << t << " head " << h;
      }
    }
  }
}

TEST_F(FastElementwiseField, WhatDecayedToNothingIsZeroAndNeverDenormal) {
  const auto backend = MakeCpuBackend(1);
  for (const float damping : {0.3f, 1.3f, 2.0f, 9.0f, 80.0f, 1000.0f}) {
    const Call call = Impulse(600, 10, damping);
    call.Forward(*backend, Propagation::kRecurrence);
    std::fill_n(call.dfield.f32(), call.dfield.elements(), 0.0f);
    std::fill_n(call.dfield.f32() + 500 * kWidth, kWidth, 1.0f);
    std::copy_n(std::vector<float>(call.qkv.elements(), 1.0f).data(), call.qkv.elements(),
                call.qkv.f32());
    call.Backward(*backend, Propagation::kRecurrence);
    EXPECT_EQ(call.field.f32()[599 * kWidth], 0.0f) << damping;
    EXPECT_EQ(call.dqkv.f32()[kWidth], 0.0f) << damping;
    for (const Tensor& tensor : {call.field, call.dqkv}) {
      for (const float value : testing::Values(tensor)) {
        EXPECT_NE(std::fpclassify(value), FP_SUBNORMAL) << damping;
      }
    }
  }
}

TEST_F(FastElementwiseField, BitsDoNotDependOnHowTilesAreDealtToThreads) {
  for (const bool static_damping : {false, true}) {
    const Call one = MakeCall(900, static_damping, true);
    const auto run = [](const Call& call, int threads) {
      const auto backend = MakeCpuBackend(threads);
      call.Backward(*backend, Propagation::kRecurrence);
      call.Forward(*backend, Propagation::kRecurrence);
    };
    const Call original = Again(one);
    run(one, 1);
    for (const int threads : {2, 5, 16}) {
      const Call many = Again(original);
      run(many, threads);
      const std::pair<Tensor, Tensor> pairs[] = {
          {many.field, one.field},       {many.state, one.state},
          {many.dstate, one.dstate},     {many.dqkv, one.dqkv},
          {many.ddamping, one.ddamping}, {many.dfrequency, one.dfrequency},
          {many.dphase, one.dphase}};
      for (const auto& [actual, expected] : pairs) EXPECT_TRUE(SameBits(actual, expected));
    }
  }
}

// The loss is Σ dfield ⊙ field + Σ dstate ⊙ state after the piece.
class ElementwiseFieldSlopes : public ElementwiseField,
                               public ::testing::WithParamInterface<bool> {};

TEST_P(ElementwiseFieldSlopes, OfTheReferenceAreItsGradients) {
  const auto backend = MakeReferenceBackend();
  const Call call = MakeCall(7, GetParam(), true);
  const Tensor state = memory_.Copy(call.state), weights = memory_.Copy(call.dstate);
  call.Backward(*backend, Propagation::kDirect);
  const auto loss = [&] {
    Call probe = call;
    probe.state = memory_.Copy(state);
    probe.Forward(*backend, Propagation::kDirect);
    double sum = 0.0;
    for (int64_t i = 0; i < probe.field.elements(); ++i) {
      sum += static_cast<double>(probe.field.f32()[i]) * probe.dfield.f32()[i];
    }
    for (int64_t i = 0; i < weights.elements(); ++i) {
      sum += static_cast<double>(probe.state.f32()[i]) * weights.f32()[i];
    }
    return sum;
  };
  const std::pair<Tensor, Tensor> checks[] = {{call.qkv, call.dqkv},
                                              {call.damping, call.ddamping},
                                              {call.frequency, call.dfrequency},
                                              {call.phase, call.dphase},
                                              {state, call.dstate}};
  constexpr float kStep = 1e-3f;
  for (const auto& [input, gradient] : checks) {
    const int64_t step = std::max<int64_t>(1, input.elements() / 40);
    for (int64_t at = 0; at < input.elements(); at += step) {
      float& x = input.f32()[at];
      const float saved = x, above = saved + kStep, below = saved - kStep;
      x = above;
      const double high = loss();
      x = below;
      const double low = loss();
      x = saved;
      const double slope = (high - low) / (static_cast<double>(above) - below);
      EXPECT_NEAR(gradient.f32()[at], slope, 2e-3 * (1.0 + std::fabs(slope)))
          << "element " << at << " of " << input.shape.ToString();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Damping, ElementwiseFieldSlopes, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Static" : "Selective"; });

}  // namespace
}  // namespace wavefield
