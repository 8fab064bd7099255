// Laws of backend.h that hold between calls, for every backend: causality, pieces, special values.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
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

class LawsTest : public ::testing::TestWithParam<testing::BackendMaker> {
 protected:
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }
  Tensor Ints(std::vector<int32_t> values) {
    const Tensor tensor = memory_.Make({static_cast<int64_t>(values.size())}, DType::kInt32);
    std::copy(values.begin(), values.end(), tensor.i32());
    return tensor;
  }
  void TearDown() override {
    EXPECT_TRUE(memory_.Intact());
    if (HasFailure()) std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  const uint64_t seed_ = FreshSeed();
  GuardedTensors memory_;
  std::unique_ptr<Backend> backend_ = GetParam().make();
};

constexpr int64_t kTokens = 140, kHeads = 2, kHeadWidth = 20, kWidth = kHeads * kHeadWidth;

TEST_P(LawsTest, ALaterTokenChangesNoBitOfWhatComesBefore) {
  const Tensor qkvg = Random({kTokens, 4 * kWidth}), weight = Random({3 * kWidth, 4});
  const Tensor bias = Random({3 * kWidth}), damping = Random({kTokens, kHeads}, 0.0, 1.0);
  const Tensor frequency = Random({kHeads}), phase = Random({kHeads});
  const Tensor coupling = Random({kHeads, kHeads}), norm = Random({kWidth});
  const Tensor qkv = Zeros({kTokens, 3 * kWidth}), y = Zeros({kTokens, kWidth});
  const auto run = [&](const Tensor& out) {
    backend_->ShortConvForward(1, qkvg, weight, bias, {}, qkv);
    backend_->FieldOuterForward(Propagation::kChunked, 1, qkv, damping, frequency, phase, {}, y);
    backend_->FieldReadoutForward(y, {}, coupling, norm, qkvg, out);
  };
  const Tensor before = Zeros({kTokens, kWidth}), after = Zeros({kTokens, kWidth});
  run(before);
  for (const int64_t t : {1L, 63L, 64L, 65L, 100L, 139L}) {
    const auto saved = testing::Values(qkvg), saved_damping = testing::Values(damping);
    for (int64_t i = 0; i < 4 * kWidth; ++i) qkvg.f32()[t * 4 * kWidth + i] += 1.5f;
    for (int64_t h = 0; h < kHeads; ++h) damping.f32()[t * kHeads + h] += 0.5f;
    run(after);
    EXPECT_TRUE(SameBits(before.Rows(0, t), after.Rows(0, t))) << "token " << t;
    EXPECT_FALSE(SameBits(before.Rows(t, t + 1), after.Rows(t, t + 1))) << "token " << t;
    std::copy(saved.begin(), saved.end(), qkvg.f32());
    std::copy(saved_damping.begin(), saved_damping.end(), damping.f32());
  }
}

TEST_P(LawsTest, ARowOfAMatrixProductDependsOnItsOwnRowAlone) {
  const Tensor a = Random({70, 33}), b = Random({65, 33});
  const Tensor before = Zeros({70, 65}), after = Zeros({70, 65});
  backend_->MatMul(Transpose::kNo, Transpose::kYes, a, b, 0.0f, before);
  for (int64_t i = 0; i < 33; ++i) a.f32()[40 * 33 + i] += 1.0f;
  backend_->MatMul(Transpose::kNo, Transpose::kYes, a, b, 0.0f, after);
  EXPECT_TRUE(SameBits(before.Rows(0, 40), after.Rows(0, 40)));
  EXPECT_FALSE(SameBits(before.Rows(40, 41), after.Rows(40, 41)));
  EXPECT_TRUE(SameBits(before.Rows(41, 70), after.Rows(41, 70)));
}

TEST_P(LawsTest, PiecesOfASequenceWithCarriedStateAreTheSequence) {
  const Tensor qkvg = Random({kTokens, 4 * kWidth}), weight = Random({3 * kWidth, 4});
  const Tensor bias = Random({3 * kWidth}), damping = Random({kTokens, kHeads}, 0.0, 0.2);
  const Tensor frequency = Random({kHeads}), phase = Random({kHeads});
  const Tensor qkv = Zeros({kTokens, 3 * kWidth}), y = Zeros({kTokens, kWidth});
  backend_->ShortConvForward(1, qkvg, weight, bias, {}, qkv);
  backend_->FieldOuterForward(Propagation::kChunked, 1, qkv, damping, frequency, phase, {}, y);

  const Tensor conv_state = Zeros({1, 3, 3 * kWidth});
  const Tensor field_state = Zeros({1, kHeads, 2 * kHeadWidth, kHeadWidth});
  const Tensor qkv_pieces = Zeros({kTokens, 3 * kWidth}), y_pieces = Zeros({kTokens, kWidth});
  int64_t begin = 0;
  // One token at a time as in generation, pieces shorter than the convolution, whole chunks.
  for (const int64_t length : {1, 1, 2, 1, 64, 1, 3, 65, 1, 1}) {
    const int64_t end = begin + length;
    backend_->ShortConvForward(1, qkvg.Rows(begin, end), weight, bias, conv_state,
                               qkv_pieces.Rows(begin, end));
    backend_->FieldOuterForward(Propagation::kChunked, 1, qkv_pieces.Rows(begin, end),
                                damping.Rows(begin, end), frequency, phase, field_state,
                                y_pieces.Rows(begin, end));
    begin = end;
  }
  ASSERT_EQ(begin, kTokens);
  EXPECT_TRUE(SameBits(qkv_pieces, qkv));
  EXPECT_LE(RelativeDifference(y_pieces, y), 1e-5);
}

TEST_P(LawsTest, SequencesOfABatchDoNotMix) {
  const int64_t tokens = 70;
  const Tensor qkv = Random({2 * tokens, 3 * kWidth}), damping = Random({2 * tokens, kHeads}, 0, 1);
  const Tensor frequency = Random({kHeads}), phase = Random({kHeads});
  const Tensor both = Zeros({2 * tokens, kWidth}), second = Zeros({tokens, kWidth});
  backend_->FieldOuterForward(Propagation::kChunked, 2, qkv, damping, frequency, phase, {}, both);
  backend_->FieldOuterForward(Propagation::kChunked, 1, qkv.Rows(tokens, 2 * tokens),
                              damping.Rows(tokens, 2 * tokens), frequency, phase, {}, second);
  EXPECT_TRUE(SameBits(both.Rows(tokens, 2 * tokens), second));
}

TEST_P(LawsTest, StrongDampingForgetsWithoutOverflowOrNaN) {
  const Tensor qkv = Random({130, 3 * kWidth}), damping = Random({130, kHeads}, 50.0, 5000.0);
  const Tensor frequency = Random({kHeads}), phase = Zeros({kHeads}), y = Zeros({130, kWidth});
  backend_->FieldOuterForward(Propagation::kChunked, 1, qkv, damping, frequency, phase, {}, y);
  for (int64_t t = 0; t < 130; ++t) {
    for (int64_t h = 0; h < kHeads; ++h) {
      const float* q = qkv.f32() + t * 3 * kWidth + h * kHeadWidth;
      double match = 0.0;
      for (int64_t c = 0; c < kHeadWidth; ++c) match += static_cast<double>(q[c]) * q[kWidth + c];
      for (int64_t c = 0; c < kHeadWidth; ++c) {  // only the token itself is left
        EXPECT_NEAR(y.f32()[t * kWidth + h * kHeadWidth + c], match * q[2 * kWidth + c], 1e-5);
      }
    }
  }
}

TEST_P(LawsTest, ATargetOfMinusOneCountsForNothing) {
  const Tensor logits = Random({2, 5}), loss = Zeros({2});
  const Tensor hit = Ints({7, 7});
  backend_->CrossEntropyForwardBackward({}, 1.0f, logits, Ints({-1, 2}), loss, hit);
  EXPECT_EQ(loss.f32()[0], 0.0f);
  EXPECT_EQ(hit.i32()[0], 0);
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(logits.f32()[i], 0.0f);
  EXPECT_GT(loss.f32()[1], 0.0f);
}

TEST_P(LawsTest, OfEqualLargestLogitsTheFirstIsThePrediction) {
  const Tensor logits = Zeros({3, 40}), loss = Zeros({3}), hit = Ints({7, 7, 7});
  for (int64_t n = 0; n < 3; ++n) logits.f32()[n * 40 + 5] = logits.f32()[n * 40 + 37] = 3.0f;
  backend_->CrossEntropyForward(logits, Ints({5, 37, 0}), loss, hit);
  EXPECT_EQ(hit.i32()[0], 1);
  EXPECT_EQ(hit.i32()[1], 0);
  EXPECT_EQ(hit.i32()[2], 0);
}

TEST_P(LawsTest, HugeLogitsGiveAFiniteLoss) {
  const Tensor logits = Zeros({2, 33}), loss = Zeros({2}), hit = Ints({7, 7});
  logits.f32()[3] = 1e30f;
  logits.f32()[33 + 3] = -1e4f;
  backend_->CrossEntropyForward(logits, Ints({3, 3}), loss, hit);
  EXPECT_EQ(loss.f32()[0], 0.0f);
  EXPECT_NEAR(loss.f32()[1], 1e4 + std::log(32.0), 1e-2);
}

TEST_P(LawsTest, ANaNReachesTheLossWhereverItIs) {
  for (const int64_t at : {0, 7, 16, 32}) {
    const Tensor logits = Random({1, 33}), loss = Zeros({1}), hit = Ints({7});
    logits.f32()[at] = std::numeric_limits<float>::quiet_NaN();
    backend_->CrossEntropyForwardBackward({}, 1.0f, logits, Ints({3}), loss, hit);
    EXPECT_TRUE(std::isnan(loss.f32()[0])) << at;
    EXPECT_TRUE(std::isnan(logits.f32()[5])) << at;
  }
}

TEST_P(LawsTest, ANaNPassesThroughTheMixer) {
  const Tensor qkvg = Random({3, 8}), weight = Random({6, 4}), bias = Random({6});
  const Tensor qkv = Zeros({3, 6});
  qkvg.f32()[8] = std::numeric_limits<float>::quiet_NaN();
  backend_->ShortConvForward(1, qkvg, weight, bias, {}, qkv);
  EXPECT_FALSE(std::isnan(qkv.f32()[0]));
  EXPECT_TRUE(std::isnan(qkv.f32()[6]));
  const Tensor damping = Random({3, 1}), out = Zeros({3, 1});
  damping.f32()[1] = std::numeric_limits<float>::quiet_NaN();
  backend_->DampingForward(damping, Zeros({1}), out);
  EXPECT_TRUE(std::isnan(out.f32()[1]));
}

TEST_P(LawsTest, MemoryIsAlignedAndCopiesRoundTrip) {
  Tensor tensor{backend_->Allocate(7 * sizeof(float)), DType::kFloat32, {7}};
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % 64, 0u);
  const std::vector<float> in = {1, 2, 3, 4, 5, 6, 7};
  std::vector<float> out(7);
  backend_->CopyFromHost(in.data(), tensor);
  backend_->CopyToHost(tensor, out.data());
  EXPECT_EQ(in, out);
  backend_->Free(tensor.data);
  void* nothing = backend_->Allocate(0);
  EXPECT_NE(nothing, nullptr);
  backend_->Free(nothing);
  backend_->Free(nullptr);
}

using LawsDeathTest = LawsTest;

TEST_P(LawsDeathTest, AMismatchAbortsWithNameAndShapes) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(backend_->Add(Zeros({3}), Zeros({4})),
               "destination is \\[4\\], required is \\[3\\]");
  EXPECT_DEATH(backend_->EmbeddingForward(Zeros({3, 2}), Ints({3}), Zeros({1, 2})),
               "ids\\[0\\] = 3, allowed is 0 to 2");
  EXPECT_DEATH(backend_->FieldOuterForward(Propagation::kChunked, 2, Zeros({3, 12}), Zeros({3, 1}),
                                           Zeros({1}), Zeros({1}), {}, Zeros({3, 4})),
               "3 rows do not divide into a batch of 2");
}

TEST_P(LawsDeathTest, AnElementTypeThatIsNotAllowedAbortsWithTheOneThatIs) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto bf16 = [this](Shape shape) {
    Tensor tensor = Zeros(shape);
    tensor.dtype = DType::kBFloat16;
    return tensor;
  };
  EXPECT_DEATH(backend_->SwiGluForward(bf16({2, 6}), Zeros({2, 3})),
               "gate_up is \\[2, 6\\] of bf16, required is fp32");
  EXPECT_DEATH(backend_->SwiGluForward(bf16({2, 6}), bf16({2, 3})), "of bf16, required is fp32");
  EXPECT_DEATH(backend_->AddBias(bf16({3}), Zeros({2, 3})),
               "bias is \\[3\\] of bf16, required is fp32");
  EXPECT_DEATH(backend_->GeluForward(Ints({3}), Ints({3})),
               "x is \\[1\\] of int32, required is fp32 or bf16");
}

INSTANTIATE_TEST_SUITE_P(Backends, LawsTest,
                         ::testing::Values(testing::kCpu1, testing::kCpu2, testing::kReference),
                         testing::kBackendName);
INSTANTIATE_TEST_SUITE_P(Backends, LawsDeathTest, ::testing::Values(testing::kCpu1),
                         testing::kBackendName);

TEST(CpuBackend, SaysWhatItIs) {
  const auto backend = MakeCpuBackend(2);
  EXPECT_EQ(backend->name(), "cpu");
  EXPECT_EQ(backend->threads(), 2);
  EXPECT_NE(backend->fingerprint().find("hwy="), std::string::npos);
  EXPECT_NE(backend->fingerprint().find("onednn="), std::string::npos);
}

TEST(CpuBackend, MeasuresAMatMulRateThatAMachineCanHave) {
  const auto backend = MakeCpuBackend(2);
  const double rate = MeasureMatMulRate(*backend, DType::kFloat32);
  EXPECT_GT(rate, 1e8);
  EXPECT_LT(rate, 1e14);
}

}  // namespace
}  // namespace wavefield
