// What holds of the operations that training alone needs, for every backend: dropout and the
// objective beside the cross entropy.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/backend/backend.h"
#include "tests/core/backend/backend_makers.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using testing::SameBits;

class TrainingLawsTest : public ::testing::TestWithParam<testing::BackendMaker> {
 protected:
  Tensor Ones(Shape shape) { return memory_.Uniform(shape, 1.0, 1.0, seed_); }
  void TearDown() override {
    EXPECT_TRUE(memory_.Intact());
    if (HasFailure()) std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  const uint64_t seed_ = FreshSeed();
  GuardedTensors memory_;
  std::unique_ptr<Backend> backend_ = GetParam().make();
};

TEST_P(TrainingLawsTest, DropoutZeroesItsShareAndScalesTheRest) {
  for (const float rate : {0.1f, 0.5f, 0.9f}) {
    const Tensor x = Ones({400, 250});
    backend_->Dropout(seed_, rate, 4, 0, x);
    int64_t zeros = 0;
    for (const float value : testing::Values(x)) {
      if (value == 0) {
        ++zeros;
      } else {
        ASSERT_NEAR(value, 1 / (1 - static_cast<double>(rate)), 1e-5);
      }
    }
    // 100,000 draws: six standard deviations.
    EXPECT_NEAR(static_cast<double>(zeros) / 1e5, rate, 6 * std::sqrt(0.25 / 1e5));
  }
}

TEST_P(TrainingLawsTest, DropoutDoesNotDependOnHowASequenceWasCut) {
  const int64_t tokens = 50, width = 21;
  const Tensor whole = Ones({2 * tokens, width}), pieces = Ones({2 * tokens, width});
  backend_->Dropout(seed_, 0.4f, 2, 7, whole);
  int64_t begin = 0;
  for (const int64_t length : {1, 2, 30, 17}) {
    const Tensor piece = Ones({2 * length, width});
    backend_->Dropout(seed_, 0.4f, 2, 7 + begin, piece);
    for (int64_t b = 0; b < 2; ++b) {
      std::copy_n(piece.f32() + b * length * width, length * width,
                  pieces.f32() + (b * tokens + begin) * width);
    }
    begin += length;
  }
  ASSERT_EQ(begin, tokens);
  EXPECT_TRUE(SameBits(whole, pieces));
}

TEST_P(TrainingLawsTest, DropoutDiffersByKeySequenceAndToken) {
  const Tensor x = Ones({2, 2000}), other_key = Ones({2, 2000}), later = Ones({2, 2000});
  backend_->Dropout(seed_, 0.5f, 2, 0, x);
  backend_->Dropout(seed_ + 1, 0.5f, 2, 0, other_key);
  backend_->Dropout(seed_, 0.5f, 2, 1, later);
  EXPECT_FALSE(SameBits(x, other_key));
  EXPECT_FALSE(SameBits(x, later));
  EXPECT_FALSE(SameBits(x.Rows(0, 1), x.Rows(1, 2)));
}

TEST_P(TrainingLawsTest, WithoutDropoutNothingChanges) {
  const Tensor x = memory_.Uniform({3, 7}, -1, 1, seed_), before = memory_.Copy(x);
  backend_->Dropout(seed_, 0.0f, 1, 0, x);
  EXPECT_TRUE(SameBits(x, before));
}

// Σ over rows of (1 − ε)(−log p_target) + ε mean(−log p) + z (log Σ exp)², in double.
double Objective(const LossOptions& options, const std::vector<double>& logits, int64_t width,
                 const std::vector<int32_t>& targets) {
  double sum = 0;
  for (size_t n = 0; n < targets.size(); ++n) {
    if (targets[n] < 0) continue;
    const double* row = logits.data() + n * static_cast<size_t>(width);
    double partition = 0, mean = 0;
    for (int64_t i = 0; i < width; ++i) {
      partition += std::exp(row[i]);
      mean += row[i] / static_cast<double>(width);
    }
    const double log_sum = std::log(partition), smoothing = options.label_smoothing;
    sum += (1 - smoothing) * (log_sum - row[targets[n]]) + smoothing * (log_sum - mean) +
           options.z_loss * log_sum * log_sum;
  }
  return sum;
}

TEST_P(TrainingLawsTest, TheGradientOfTheObjectiveIsItsSlopeAndTheReportedLossStaysPlain) {
  const int64_t width = 19;
  const std::vector<int32_t> targets = {4, -1, 18, 0};
  const auto rows = static_cast<int64_t>(targets.size());
  for (const LossOptions options :
       {LossOptions{0.15f, 0.0f}, LossOptions{0.0f, 0.05f}, LossOptions{0.15f, 0.05f}}) {
    const Tensor logits = memory_.Uniform({rows, width}, -3, 3, seed_);
    std::vector<double> x;
    for (const float value : testing::Values(logits)) x.push_back(value);
    const Tensor loss = Ones({rows}), hit = memory_.Make({rows}, DType::kInt32);
    const Tensor target_tensor = memory_.Make({rows}, DType::kInt32);
    std::copy(targets.begin(), targets.end(), target_tensor.i32());
    backend_->CrossEntropyForwardBackward(options, 0.5f, logits, target_tensor, loss, hit);

    double reported = 0;
    for (const float value : testing::Values(loss)) reported += value;
    EXPECT_NEAR(reported, Objective({}, x, width, targets), 1e-5);
    for (size_t i = 0; i < x.size(); ++i) {
      constexpr double kStep = 1e-5;
      const double saved = x[i];
      x[i] = saved + kStep;
      const double above = Objective(options, x, width, targets);
      x[i] = saved - kStep;
      const double below = Objective(options, x, width, targets);
      x[i] = saved;
      EXPECT_NEAR(logits.f32()[i], 0.5 * (above - below) / (2 * kStep), 1e-6) << "logit " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, TrainingLawsTest,
                         ::testing::Values(testing::kCpu1, testing::kCpu2, testing::kReference),
                         testing::kBackendName);

}  // namespace
}  // namespace wavefield
