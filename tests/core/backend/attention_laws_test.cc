// What holds of rotary positions and attention between calls, for every backend.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "core/backend/cpu/attention_blocks.h"
#include "tests/core/backend/backend_makers.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using testing::RelativeDifference;
using testing::SameBits;

constexpr int64_t kHeads = 2, kHeadWidth = 12, kWidth = kHeads * kHeadWidth;

class AttentionLawsTest : public ::testing::TestWithParam<testing::BackendMaker> {
 protected:
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }
  void TearDown() override {
    EXPECT_TRUE(memory_.Intact());
    if (HasFailure()) std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  const uint64_t seed_ = FreshSeed();
  GuardedTensors memory_;
  std::unique_ptr<Backend> backend_ = GetParam().make();
};

TEST_P(AttentionLawsTest, ALaterTokenChangesNoBitOfWhatComesBefore) {
  const int64_t tokens = kKeyBlock + 20;
  const Tensor qkv = Random({tokens, 3 * kWidth}), log_sum = Zeros({tokens, kHeads});
  const Tensor before = Zeros({tokens, kWidth}), after = Zeros({tokens, kWidth});
  backend_->AttentionForward(1, kHeads, 0, qkv, {}, before, log_sum);
  for (const int64_t t :
       {int64_t{1}, kQueryBlock - 1, kQueryBlock, kKeyBlock, kKeyBlock + 1, tokens - 1}) {
    const auto saved = testing::Values(qkv);
    for (int64_t i = 0; i < 3 * kWidth; ++i) qkv.f32()[t * 3 * kWidth + i] += 1.5f;
    backend_->AttentionForward(1, kHeads, 0, qkv, {}, after, log_sum);
    EXPECT_TRUE(SameBits(before.Rows(0, t), after.Rows(0, t))) << "token " << t;
    EXPECT_FALSE(SameBits(before.Rows(t, t + 1), after.Rows(t, t + 1))) << "token " << t;
    std::copy(saved.begin(), saved.end(), qkv.f32());
  }
}

TEST_P(AttentionLawsTest, HowFarASequenceGoesOnChangesNoBitOfItsBeginning) {
  const int64_t tokens = 2 * kKeyBlock + 3;
  const Tensor qkv = Random({tokens, 3 * kWidth});
  const Tensor y = Zeros({tokens, kWidth}), log_sum = Zeros({tokens, kHeads});
  backend_->AttentionForward(1, kHeads, 0, qkv, {}, y, log_sum);
  for (const int64_t t :
       {int64_t{1}, int64_t{2}, int64_t{63}, int64_t{65}, kQueryBlock - 1, kQueryBlock,
        kQueryBlock + 17, kKeyBlock - 1, kKeyBlock, kKeyBlock + 1, 2 * kKeyBlock}) {
    const Tensor short_y = Zeros({t, kWidth}), short_log_sum = Zeros({t, kHeads});
    backend_->AttentionForward(1, kHeads, 0, qkv.Rows(0, t), {}, short_y, short_log_sum);
    EXPECT_TRUE(SameBits(short_y, y.Rows(0, t))) << t << " tokens";
    EXPECT_TRUE(SameBits(short_log_sum, log_sum.Rows(0, t))) << t << " tokens";
  }
}

// One token at a time as in generation, short pieces, pieces across blocks.
const std::vector<int64_t> kPieces = {1, 1, 2, 5, 1, 120, 1, kKeyBlock, 60, 1};

TEST_P(AttentionLawsTest, PiecesWithAHistoryAreTheWholeSequence) {
  const int64_t batch = 2;
  int64_t tokens = 0;
  for (const int64_t length : kPieces) tokens += length;
  const int64_t capacity = tokens + 4, rows = batch * tokens;
  const Tensor original = Random({rows, 3 * kWidth}), whole = memory_.Copy(original);
  const Tensor y = Zeros({rows, kWidth}), log_sum = Zeros({rows, kHeads});
  const Tensor dy = Random({rows, kWidth}), dqkv = Zeros(whole.shape);
  backend_->Rotary(batch, kHeads, 0, false, whole);
  backend_->AttentionForward(batch, kHeads, 0, whole, {}, y, log_sum);
  backend_->AttentionBackward(batch, kHeads, 0, whole, {}, y, log_sum, dy, {}, dqkv);

  struct Piece {
    int64_t position;
    Tensor qkv, y, log_sum;
  };
  // Tokens [position, position + length) of both sequences.
  const auto cut = [&](const Tensor& from, int64_t position, int64_t length) {
    const Tensor piece = Zeros({batch * length, from.shape[1]});
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t row = b * tokens + position;
      backend_->Copy(from.Rows(row, row + length), piece.Rows(b * length, (b + 1) * length));
    }
    return piece;
  };
  const Tensor history = Random({batch, capacity, 2 * kWidth});
  const Tensor dhistory = Zeros(history.shape);
  std::vector<Piece> pieces;
  int64_t position = 0;
  for (const int64_t length : kPieces) {
    SCOPED_TRACE("piece of " + std::to_string(length) + " from " + std::to_string(position));
    const Piece piece{position, cut(original, position, length), Zeros({batch * length, kWidth}),
                      Zeros({batch * length, kHeads})};
    backend_->Rotary(batch, kHeads, position, false, piece.qkv);
    backend_->AttentionForward(batch, kHeads, position, piece.qkv, history, piece.y, piece.log_sum);
    EXPECT_TRUE(SameBits(piece.qkv, cut(whole, position, length)));
    EXPECT_LE(RelativeDifference(piece.y, cut(y, position, length)), 1e-5);
    EXPECT_LE(RelativeDifference(piece.log_sum, cut(log_sum, position, length)), 1e-5);
    pieces.push_back(piece);
    position += length;
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    SCOPED_TRACE("piece from " + std::to_string(piece->position));
    const int64_t length = piece->qkv.shape[0] / batch;
    const Tensor piece_dqkv = Zeros(piece->qkv.shape);
    backend_->AttentionBackward(batch, kHeads, piece->position, piece->qkv, history, piece->y,
                                piece->log_sum, cut(dy, piece->position, length), dhistory,
                                piece_dqkv);
    EXPECT_LE(RelativeDifference(piece_dqkv, cut(dqkv, piece->position, length)), 1e-4);
  }
}

TEST_P(AttentionLawsTest, SequencesOfABatchDoNotMix) {
  const int64_t tokens = kQueryBlock + 5;
  const Tensor qkv = Random({2 * tokens, 3 * kWidth}), dy = Random({2 * tokens, kWidth});
  const Tensor y = Zeros({2 * tokens, kWidth}), log_sum = Zeros({2 * tokens, kHeads});
  const Tensor dqkv = Zeros(qkv.shape);
  backend_->AttentionForward(2, kHeads, 0, qkv, {}, y, log_sum);
  backend_->AttentionBackward(2, kHeads, 0, qkv, {}, y, log_sum, dy, {}, dqkv);
  const auto second = [&](const Tensor& tensor) { return tensor.Rows(tokens, 2 * tokens); };
  const Tensor one_y = Zeros({tokens, kWidth}), one_log_sum = Zeros({tokens, kHeads});
  const Tensor one_dqkv = Zeros({tokens, 3 * kWidth});
  backend_->AttentionForward(1, kHeads, 0, second(qkv), {}, one_y, one_log_sum);
  backend_->AttentionBackward(1, kHeads, 0, second(qkv), {}, one_y, one_log_sum, second(dy), {},
                              one_dqkv);
  EXPECT_TRUE(SameBits(one_y, second(y)));
  EXPECT_TRUE(SameBits(one_dqkv, second(dqkv)));
}

TEST_P(AttentionLawsTest, ExtremeScoresPickTheLargestAndStayFinite) {
  for (const int64_t tokens : {int64_t{1}, int64_t{70}, kKeyBlock + 9}) {
    // q · k / √d is ±1e4 or more: one key takes all, no exponential may overflow.
    const Tensor qkv = Random({tokens, 3 * kWidth}, 180.0, 200.0);
    for (int64_t t = 0; t < tokens; ++t) {
      const float sign = t % 3 == 0 ? 1.0f : -1.0f;
      for (int64_t i = 0; i < kWidth; ++i) qkv.f32()[t * 3 * kWidth + kWidth + i] *= sign;
    }
    const Tensor y = Zeros({tokens, kWidth}), log_sum = Zeros({tokens, kHeads});
    const Tensor dy = Random({tokens, kWidth}), dqkv = Zeros(qkv.shape);
    const Tensor history = Zeros({1, tokens, 2 * kWidth});
    for (const bool keep : {false, true}) {
      const Tensor past = keep ? history : Tensor{};
      backend_->AttentionForward(1, kHeads, 0, qkv, past, y, log_sum);
      backend_->AttentionBackward(1, kHeads, 0, qkv, past, y, log_sum, dy, {}, dqkv);
      for (const Tensor& tensor : {y, log_sum, dqkv}) {
        for (const float value : testing::Values(tensor)) ASSERT_TRUE(std::isfinite(value));
      }
      for (const float value : testing::Values(y)) ASSERT_TRUE(170.0f < value && value < 201.0f);
      for (const float value : testing::Values(log_sum)) ASSERT_GT(value, 1e4f);
    }
  }
}

TEST_P(AttentionLawsTest, ANaNReachesEveryRowThatSeesIt) {
  const int64_t tokens = kQueryBlock + 9, bad = 40;
  for (const int64_t part : {0, 1, 2}) {
    const Tensor qkv = Random({tokens, 3 * kWidth}), log_sum = Zeros({tokens, kHeads});
    const Tensor y = Zeros({tokens, kWidth});
    qkv.f32()[bad * 3 * kWidth + part * kWidth] = std::numeric_limits<float>::quiet_NaN();
    backend_->AttentionForward(1, kHeads, 0, qkv, {}, y, log_sum);
    EXPECT_TRUE(std::isnan(y.f32()[bad * kWidth])) << part;
    if (part != 0) {
      EXPECT_TRUE(std::isnan(y.f32()[(tokens - 1) * kWidth])) << part;
    }
  }
}

TEST_P(AttentionLawsTest, AGenerationStepIsTheRowOfTheWholeSequence) {
  const int64_t tokens = 1100, batch = 2;
  const Tensor qkv = Random({batch * tokens, 3 * kWidth}, -2.0, 2.0);
  const Tensor y = Zeros({batch * tokens, kWidth}), log_sum = Zeros({batch * tokens, kHeads});
  const Tensor history = Zeros({batch, tokens, 2 * kWidth});
  backend_->AttentionForward(batch, kHeads, 0, qkv, history, y, log_sum);
  for (const int64_t t :
       {int64_t{0}, int64_t{31}, int64_t{32}, int64_t{511}, int64_t{512}, tokens - 1}) {
    const Tensor step = Zeros({batch, 3 * kWidth}), step_y = Zeros({batch, kWidth});
    const Tensor step_log_sum = Zeros({batch, kHeads}), expected = Zeros({batch, kWidth});
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t row = b * tokens + t;
      backend_->Copy(qkv.Rows(row, row + 1), step.Rows(b, b + 1));
      backend_->Copy(y.Rows(row, row + 1), expected.Rows(b, b + 1));
    }
    backend_->AttentionForward(batch, kHeads, t, step, history, step_y, step_log_sum);
    EXPECT_LE(RelativeDifference(step_y, expected, 0.01), 1e-5) << "token " << t;
    EXPECT_NEAR(step_log_sum.f32()[0], log_sum.f32()[t * kHeads], 1e-5) << "token " << t;
  }
}

TEST_P(AttentionLawsTest, RotaryTurnsBackAndScoresDependOnDistanceAlone) {
  const Tensor original = Random({3, 3 * kWidth});
  for (const int64_t position : {int64_t{0}, int64_t{61}, (int64_t{1} << 24) - 3}) {
    const Tensor qkv = memory_.Copy(original);
    backend_->Rotary(1, kHeads, position, false, qkv);
    for (int64_t h = 0; h < kHeads; ++h) {
      const auto score = [&](const Tensor& x, int64_t t, int64_t s) {
        double sum = 0.0;
        for (int64_t c = h * kHeadWidth; c < (h + 1) * kHeadWidth; ++c) {
          sum += static_cast<double>(x.f32()[t * 3 * kWidth + c]) *
                 x.f32()[s * 3 * kWidth + kWidth + c];
        }
        return sum;
      };
      const Tensor at_zero = memory_.Copy(original);
      backend_->Rotary(1, kHeads, 0, false, at_zero);
      EXPECT_NEAR(score(qkv, 2, 0), score(at_zero, 2, 0), 1e-5) << position;
      EXPECT_NEAR(score(qkv, 1, 1), score(original, 1, 1), 1e-5) << position;
    }
    backend_->Rotary(1, kHeads, position, true, qkv);
    EXPECT_LE(RelativeDifference(qkv, original), 1e-6) << position;
  }
}

using AttentionLawsDeathTest = AttentionLawsTest;

TEST_P(AttentionLawsDeathTest, AMismatchAbortsWithNameAndShapes) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(backend_->Rotary(1, 2, 0, false, Zeros({3, 18})), "heads of an even width");
  EXPECT_DEATH(
      backend_->AttentionForward(1, 1, 4, Zeros({3, 12}), {}, Zeros({3, 4}), Zeros({3, 1})),
      "position is 4 without a history");
  EXPECT_DEATH(backend_->AttentionForward(1, 1, 4, Zeros({3, 12}), Zeros({1, 6, 8}), Zeros({3, 4}),
                                          Zeros({3, 1})),
               "required are 7 rows");
}

INSTANTIATE_TEST_SUITE_P(Backends, AttentionLawsTest,
                         ::testing::Values(testing::kCpu1, testing::kCpu2, testing::kCpu3,
                                           testing::kReference),
                         testing::kBackendName);
INSTANTIATE_TEST_SUITE_P(Backends, AttentionLawsDeathTest, ::testing::Values(testing::kCpu1),
                         testing::kBackendName);

// The loss is Σ loss_weights ⊙ outputs, and later pieces give the history gradients of their own.
TEST(AttentionGradients, OfTheReferenceAreTheSlopes) {
  const uint64_t seed = FreshSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const int64_t batch = 2, tokens = 5, heads = 2, d = 4, width = heads * d, position = 3;
  const int64_t rows = batch * tokens, capacity = position + tokens + 1;
  const auto backend = MakeReferenceBackend();
  GuardedTensors memory;
  const auto random = [&](Shape shape) { return memory.Uniform(shape, -1.0, 1.0, seed); };
  const Tensor raw = random({rows, 3 * width}), qkv = memory.Make(raw.shape);
  const Tensor past = random({batch, capacity, 2 * width}), history = memory.Make(past.shape);
  const Tensor y = memory.Make({rows, width}), log_sum = memory.Make({rows, heads});
  const Tensor dy = random({rows, width}), later = random(past.shape);
  const auto forward = [&] {
    backend->Copy(raw, qkv);
    backend->Copy(past, history);
    backend->Rotary(batch, heads, position, false, qkv);
    backend->AttentionForward(batch, heads, position, qkv, history, y, log_sum);
  };
  // Rows of the history that the piece reads or writes weigh in the loss.
  const auto loss = [&] {
    forward();
    double sum = 0.0;
    for (int64_t i = 0; i < y.elements(); ++i) {
      sum += static_cast<double>(y.f32()[i]) * dy.f32()[i];
    }
    for (int64_t i = 0; i < history.elements(); ++i) {
      if (i / (2 * width) % capacity < position + tokens) {
        sum += static_cast<double>(history.f32()[i]) * later.f32()[i];
      }
    }
    return sum;
  };
  forward();
  const Tensor dhistory = memory.Copy(later), dqkv = memory.Make(raw.shape);
  backend->AttentionBackward(batch, heads, position, qkv, history, y, log_sum, dy, dhistory, dqkv);
  backend->Rotary(batch, heads, position, true, dqkv);

  const auto check = [&](const char* name, float& x, float gradient) {
    constexpr float kStep = 1e-3f;
    const float saved = x, above = saved + kStep, below = saved - kStep;
    x = above;
    const double high = loss();
    x = below;
    const double low = loss();
    x = saved;
    const double slope = (high - low) / (static_cast<double>(above) - below);
    EXPECT_NEAR(gradient, slope, 2e-3 * (1.0 + std::fabs(slope))) << name;
  };
  for (int64_t i = 0; i < raw.elements(); ++i) check("qkv", raw.f32()[i], dqkv.f32()[i]);
  for (int64_t i = 0; i < past.elements(); ++i) {
    if (i / (2 * width) % capacity < position) {
      check("history", past.f32()[i], dhistory.f32()[i]);
    }
  }
  EXPECT_TRUE(memory.Intact());
}

// Rows of log_sum may be used as a log of a sum by others.
TEST(AttentionLogSum, IsTheLogOfTheSum) {
  const auto backend = MakeCpuBackend(1);
  GuardedTensors memory;
  const Tensor qkv = memory.Uniform({5, 12}, 0.0, 0.0, 1), y = memory.Make({5, 4});
  const Tensor log_sum = memory.Make({5, 2});
  backend->AttentionForward(1, 2, 0, qkv, {}, y, log_sum);
  for (int64_t t = 0; t < 5; ++t) {
    EXPECT_NEAR(log_sum.f32()[2 * t], std::log(static_cast<double>(t + 1)), 1e-6);
  }
}

}  // namespace
}  // namespace wavefield
