// Laws of the field and the short convolution between calls: pieces of a sequence, static damping,
// ways of propagation.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
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

constexpr int64_t kTokens = 140, kHeads = 2, kHeadWidth = 20, kWidth = kHeads * kHeadWidth;
constexpr int64_t kTaps = 4;
// One token, pieces shorter than the convolution, whole chunks and more.
const std::vector<int64_t> kLengths = {1, 1, 2, 64, 1, 3, 65, 2, 1};
const Shape kConvState{1, kTaps - 1, 3 * kWidth};
const Shape kFieldState{1, kHeads, 2 * kHeadWidth, kHeadWidth};

class FieldLawsTest
    : public ::testing::TestWithParam<std::tuple<testing::BackendMaker, Propagation>> {
 protected:
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }
  // [rows, H], each row as the one of `damping` [1, H].
  Tensor Repeated(const Tensor& damping, int64_t rows) {
    const Tensor all = Zeros({rows, kHeads});
    for (int64_t i = 0; i < rows * kHeads; ++i) all.f32()[i] = damping.f32()[i % kHeads];
    return all;
  }
  void TearDown() override {
    EXPECT_TRUE(memory_.Intact());
    if (HasFailure()) std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  // Runs `backward(begin, end, state, dstate)` over the pieces from the last to the first, after
  // `forward(begin, end, state)` over them in order.
  template <class Forward, class Backward>
  void RunPieces(Shape state_shape, const Forward& forward, const Backward& backward) {
    const Tensor state = Zeros(state_shape), dstate = Zeros(state_shape);
    std::vector<Tensor> before;
    int64_t begin = 0;
    for (const int64_t length : kLengths) {
      before.push_back(memory_.Copy(state));
      forward(begin, begin + length, state);
      begin += length;
    }
    ASSERT_EQ(begin, kTokens);
    for (size_t i = kLengths.size(); i-- > 0;) {
      backward(begin - kLengths[i], begin, before[i], dstate);
      begin -= kLengths[i];
    }
  }

  const uint64_t seed_ = FreshSeed();
  GuardedTensors memory_;
  std::unique_ptr<Backend> backend_ = std::get<0>(GetParam()).make();
  const Propagation way_ = std::get<1>(GetParam());
};

TEST_P(FieldLawsTest, PiecesOfASequenceGiveItsGradients) {
  for (const bool is_static : {false, true}) {
    SCOPED_TRACE(is_static ? "static" : "selective");
    const Tensor qkv = Random({kTokens, 3 * kWidth});
    const Tensor damping = Random({is_static ? 1 : kTokens, kHeads}, 0.0, 0.1);
    const Tensor frequency = Random({kHeads}), phase = Random({kHeads});
    const Tensor y = Zeros({kTokens, kWidth}), dy = Random({kTokens, kWidth});
    struct Gradients {
      Tensor dqkv, ddamping, dfrequency, dphase;
    };
    const auto make = [&] {
      return Gradients{Zeros({kTokens, 3 * kWidth}), Zeros(damping.shape), Zeros({kHeads}),
                       Zeros({kHeads})};
    };
    const Gradients whole = make(), pieces = make();
    backend_->FieldOuterBackward(way_, 1, qkv, damping, frequency, phase, {}, dy, {}, whole.dqkv,
                                 whole.ddamping, whole.dfrequency, whole.dphase);
    const auto rows_of = [&](const Tensor& tensor, int64_t begin, int64_t end) {
      return is_static ? tensor : tensor.Rows(begin, end);
    };
    RunPieces(
        kFieldState,
        [&](int64_t begin, int64_t end, const Tensor& state) {
          backend_->FieldOuterForward(way_, 1, qkv.Rows(begin, end), rows_of(damping, begin, end),
                                      frequency, phase, state, y.Rows(begin, end));
        },
        [&](int64_t begin, int64_t end, const Tensor& state, const Tensor& dstate) {
          const Tensor part = is_static ? Zeros({1, kHeads}) : pieces.ddamping.Rows(begin, end);
          backend_->FieldOuterBackward(way_, 1, qkv.Rows(begin, end), rows_of(damping, begin, end),
                                       frequency, phase, state, dy.Rows(begin, end), dstate,
                                       pieces.dqkv.Rows(begin, end), part, pieces.dfrequency,
                                       pieces.dphase);
          if (is_static) backend_->Add(part, pieces.ddamping);
        });
    EXPECT_LE(RelativeDifference(pieces.dqkv, whole.dqkv), 5e-5);
    EXPECT_LE(RelativeDifference(pieces.ddamping, whole.ddamping, 1.0), 1e-4);
    EXPECT_LE(RelativeDifference(pieces.dfrequency, whole.dfrequency, 10.0), 1e-4);
    EXPECT_LE(RelativeDifference(pieces.dphase, whole.dphase, 10.0), 1e-4);
  }
}

TEST_P(FieldLawsTest, PiecesOfAConvolutionGiveItsGradients) {
  const Tensor qkvg = Random({kTokens, 4 * kWidth}), weight = Random({3 * kWidth, kTaps});
  const Tensor bias = Random({3 * kWidth}), qkv = Zeros({kTokens, 3 * kWidth});
  const Tensor dqkv = Random({kTokens, 3 * kWidth});
  const Tensor whole = Zeros({kTokens, 4 * kWidth}), pieces = Zeros({kTokens, 4 * kWidth});
  const Tensor dweight = Zeros(weight.shape), dweight_pieces = Zeros(weight.shape);
  const Tensor dbias = Zeros(bias.shape), dbias_pieces = Zeros(bias.shape);
  backend_->ShortConvBackward(1, qkvg, weight, bias, {}, dqkv, {}, whole, dweight, dbias);
  RunPieces(
      kConvState,
      [&](int64_t begin, int64_t end, const Tensor& state) {
        backend_->ShortConvForward(1, qkvg.Rows(begin, end), weight, bias, state,
                                   qkv.Rows(begin, end));
      },
      [&](int64_t begin, int64_t end, const Tensor& state, const Tensor& dstate) {
        backend_->ShortConvBackward(1, qkvg.Rows(begin, end), weight, bias, state,
                                    dqkv.Rows(begin, end), dstate, pieces.Rows(begin, end),
                                    dweight_pieces, dbias_pieces);
      });
  EXPECT_LE(RelativeDifference(pieces, whole), 4e-6);
  EXPECT_LE(RelativeDifference(dweight_pieces, dweight, 1.0), 1e-5);
  EXPECT_LE(RelativeDifference(dbias_pieces, dbias, 1.0), 1e-5);
}

TEST_P(FieldLawsTest, WithoutAGradientAfterTheLastPieceTheOthersAreTheSame) {
  const int64_t tokens = 70;
  const Tensor qkv = Random({tokens, 3 * kWidth}), damping = Random({tokens, kHeads}, 0.0, 0.1);
  const Tensor frequency = Random({kHeads}), phase = Random({kHeads});
  const Tensor state = Random(kFieldState), dy = Random({tokens, kWidth});
  std::vector<Tensor> given, open;
  for (std::vector<Tensor>* gradients : {&given, &open}) {
    *gradients = {Zeros({tokens, 3 * kWidth}), Zeros({tokens, kHeads}), Zeros({kHeads}),
                  Zeros({kHeads})};
    backend_->FieldOuterBackward(way_, 1, qkv, damping, frequency, phase, state, dy,
                                 gradients == &given ? Zeros(kFieldState) : Tensor{},
                                 (*gradients)[0], (*gradients)[1], (*gradients)[2],
                                 (*gradients)[3]);
  }
  for (size_t i = 0; i < given.size(); ++i) {
    EXPECT_LE(RelativeDifference(open[i], given[i], 1.0), 1e-5) << i;
  }
}

TEST_P(FieldLawsTest, StaticDampingIsTheSameDampingForEveryToken) {
  const int64_t batch = 2, tokens = 70, rows = batch * tokens;
  const Tensor qkv = Random({rows, 3 * kWidth}), row = Random({1, kHeads}, 0.0, 0.2);
  const Tensor all = Repeated(row, rows);
  const Tensor frequency = Random({kHeads}), phase = Random({kHeads}), dy = Random({rows, kWidth});
  struct Results {
    Tensor y, dqkv, ddamping, dfrequency, dphase;
  };
  const auto run = [&](const Tensor& damping) {
    const Results out{Zeros({rows, kWidth}), Zeros({rows, 3 * kWidth}), Zeros(damping.shape),
                      Zeros({kHeads}), Zeros({kHeads})};
    backend_->FieldOuterForward(way_, batch, qkv, damping, frequency, phase, {}, out.y);
    backend_->FieldOuterBackward(way_, batch, qkv, damping, frequency, phase, {}, dy, {}, out.dqkv,
                                 out.ddamping, out.dfrequency, out.dphase);
    return out;
  };
  const Results is_static = run(row), selective = run(all);
  EXPECT_TRUE(SameBits(is_static.y, selective.y));
  EXPECT_TRUE(SameBits(is_static.dqkv, selective.dqkv));
  EXPECT_TRUE(SameBits(is_static.dfrequency, selective.dfrequency));
  EXPECT_TRUE(SameBits(is_static.dphase, selective.dphase));
  for (int64_t h = 0; h < kHeads; ++h) {
    double sum = 0.0;
    for (int64_t n = 0; n < rows; ++n) sum += selective.ddamping.f32()[n * kHeads + h];
    EXPECT_NEAR(is_static.ddamping.f32()[h], sum, 1e-5 * (std::fabs(sum) + 100.0));
  }
}

TEST_P(FieldLawsTest, AnEmptyPieceLeavesStatesAsTheyAre) {
  const Tensor frequency = Random({kHeads}), phase = Random({kHeads}), row = Random({1, kHeads});
  const Tensor state = Random(kFieldState), dstate = Random(kFieldState);
  const Tensor state_before = memory_.Copy(state), dstate_before = memory_.Copy(dstate);
  const Tensor nothing = Zeros({0, kWidth}), qkv = Zeros({0, 3 * kWidth});
  const Tensor ddamping = Random({1, kHeads}), dfrequency = Zeros({kHeads});
  backend_->FieldOuterForward(way_, 1, qkv, row, frequency, phase, state, nothing);
  backend_->FieldOuterBackward(way_, 1, qkv, row, frequency, phase, state, nothing, dstate, qkv,
                               ddamping, dfrequency, dfrequency);
  EXPECT_TRUE(SameBits(state, state_before));
  EXPECT_TRUE(SameBits(dstate, dstate_before));
  for (int64_t h = 0; h < kHeads; ++h) EXPECT_EQ(ddamping.f32()[h], 0.0f);
}

INSTANTIATE_TEST_SUITE_P(
    Backends, FieldLawsTest,
    ::testing::Combine(::testing::Values(testing::kCpu1, testing::kCpu2, testing::kReference),
                       ::testing::Values(Propagation::kChunked, Propagation::kDirect)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) +
             (std::get<1>(info.param) == Propagation::kDirect ? "direct" : "chunked");
    });

}  // namespace
}  // namespace wavefield
