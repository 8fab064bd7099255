// Operations on rows at sizes where their kernels work in several stages: sorts and sums across
// tiles, rows that are not aligned, vocabularies of many packets, long sequences in pieces.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/backend/backend.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/base/rng.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using testing::RelativeDifference;
using testing::SameBits;

class CudaRowOperationsTest : public ::testing::Test {
 protected:
  ~CudaRowOperationsTest() override {
    for (const Tensor& tensor : on_device_) cuda_.Free(tensor.data);
  }

  Tensor Uniform(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Empty(Shape shape, DType dtype = DType::kFloat32) { return memory_.Make(shape, dtype); }
  Tensor OnDevice(const Tensor& host) {
    const Tensor tensor{cuda_.Allocate(host.bytes()), host.dtype, host.shape};
    cuda_.CopyFromHost(host.data, tensor);
    on_device_.push_back(tensor);
    return tensor;
  }
  Tensor OnHost(const Tensor& tensor) {
    const Tensor host = Empty(tensor.shape, tensor.dtype);
    cuda_.CopyToHost(tensor, host.data);
    return host;
  }
  double Difference(const Tensor& actual, const Tensor& expected, double scale = 0.1) {
    return RelativeDifference(OnHost(actual), expected, scale);
  }

  const uint64_t seed_ = FreshSeed();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  GuardedTensors memory_;
  CudaBackend cuda_{0};
  const std::unique_ptr<Backend> reference_ = MakeReferenceBackend();
  std::vector<Tensor> on_device_;
};

TEST_F(CudaRowOperationsTest, EmbeddingGradientsAddUpOverManyTilesOfRows) {
  constexpr int64_t kVocabulary = 3000, kWidth = 12;
  // Shares of rows that have the same id: none, some (runs of many tiles beside short ones), all.
  for (const double common : {0.0, 0.4, 1.0}) {
    for (const int64_t rows : {31, 64, 65, 2048, 2049, 5000}) {
      SCOPED_TRACE(std::to_string(rows) + " rows, common " + std::to_string(common));
      const Tensor ids = Empty({rows}, DType::kInt32);
      const RandomStream random(seed_, "ids");
      for (int64_t n = 0; n < rows; ++n) {
        const bool is_common = random.Uniform(2 * n) < common;
        ids.i32()[n] =
            is_common ? 1234 : static_cast<int32_t>(random.Below(2 * n + 1, kVocabulary));
      }
      const Tensor dy = Uniform({rows, kWidth}), table = Uniform({kVocabulary, kWidth});
      const Tensor ids_there = OnDevice(ids), dy_there = OnDevice(dy);
      const Tensor first = OnDevice(table), again = OnDevice(table);
      cuda_.EmbeddingBackward(ids_there, dy_there, first);
      cuda_.EmbeddingBackward(ids_there, dy_there, again);
      reference_->EmbeddingBackward(ids, dy, table);
      EXPECT_LE(Difference(first, table, std::sqrt(static_cast<double>(rows))), 1e-5);
      EXPECT_TRUE(SameBits(OnHost(first), OnHost(again)));
    }
  }
}

TEST_F(CudaRowOperationsTest, CrossEntropyTakesLargeOddVocabularies) {
  for (const int64_t vocabulary : {8193, 50257}) {
    SCOPED_TRACE(vocabulary);
    constexpr int64_t kRows = 9;
    const Tensor logits = Uniform({kRows, vocabulary}, -6.0, 6.0);
    const Tensor targets = Empty({kRows}, DType::kInt32);
    const RandomStream random(seed_, "targets");
    for (int64_t n = 0; n < kRows; ++n) {
      targets.i32()[n] = static_cast<int32_t>(random.Below(n, vocabulary));
      // The target is the largest in every other row, in every fourth only the second of two.
      if (n % 2 == 0) logits.f32()[n * vocabulary + targets.i32()[n]] = 7.0f;
      if (n % 4 == 0) logits.f32()[n * vocabulary + targets.i32()[n] / 2] = 7.0f;
    }
    targets.i32()[3] = -1;
    // Entries that can never be.
    for (int64_t i = 0; i < vocabulary; i += 3) {
      if (i != targets.i32()[5]) {
        logits.f32()[5 * vocabulary + i] = -std::numeric_limits<float>::infinity();
      }
    }
    const Tensor loss = Empty({kRows}), correct = Empty({kRows}, DType::kInt32);
    const Tensor logits_there = OnDevice(logits), targets_there = OnDevice(targets);
    const Tensor loss_there = OnDevice(loss), correct_there = OnDevice(correct);
    const LossOptions options{.label_smoothing = 0.1f, .z_loss = 0.01f};
    cuda_.CrossEntropyForwardBackward(options, 0.5f, logits_there, targets_there, loss_there,
                                      correct_there);
    reference_->CrossEntropyForwardBackward(options, 0.5f, logits, targets, loss, correct);
    EXPECT_LE(Difference(loss_there, loss), 1e-5);
    EXPECT_TRUE(SameBits(OnHost(correct_there), correct));
    EXPECT_LE(Difference(logits_there, logits, 0.0), 1e-4);
  }
}

TEST_F(CudaRowOperationsTest, CrossEntropyDoesNotHideWhatIsNotANumber) {
  const Tensor logits = Uniform({2, 500});
  logits.f32()[313] = std::numeric_limits<float>::quiet_NaN();
  const Tensor targets = Empty({2}, DType::kInt32);
  targets.i32()[0] = targets.i32()[1] = 7;
  const Tensor loss = OnDevice(Empty({2})), correct = OnDevice(Empty({2}, DType::kInt32));
  cuda_.CrossEntropyForward(OnDevice(logits), OnDevice(targets), loss, correct);
  EXPECT_TRUE(std::isnan(OnHost(loss).f32()[0]));
  EXPECT_TRUE(std::isfinite(OnHost(loss).f32()[1]));
}

TEST_F(CudaRowOperationsTest, GradientsOfParametersAddUpOverManyRows) {
  for (const int64_t width : {5, 12}) {
    SCOPED_TRACE(width);
    constexpr int64_t kRows = 9000;
    const double scale = std::sqrt(static_cast<double>(kRows));
    const Tensor x = Uniform({kRows, width}), dy = Uniform({kRows, width});
    const Tensor weight = Uniform({width}), mean = Uniform({kRows});
    const Tensor inverse = Uniform({kRows}, 0.5, 2.0), dx = Empty({kRows, width});
    const Tensor dweight = Uniform({width}), dbias = Uniform({width});
    const Tensor x_there = OnDevice(x), dy_there = OnDevice(dy), weight_there = OnDevice(weight);
    const Tensor mean_there = OnDevice(mean), inverse_there = OnDevice(inverse);
    const Tensor dx_there = OnDevice(dx);
    const Tensor dweight_there = OnDevice(dweight), dbias_there = OnDevice(dbias);

    cuda_.RmsNormBackward(x_there, weight_there, inverse_there, dy_there, {}, dx_there,
                          dweight_there);
    reference_->RmsNormBackward(x, weight, inverse, dy, {}, dx, dweight);
    EXPECT_LE(Difference(dx_there, dx), 1e-5);
    EXPECT_LE(Difference(dweight_there, dweight, scale), 1e-5);

    cuda_.LayerNormBackward(x_there, weight_there, mean_there, inverse_there, dy_there, dx_there,
                            dx_there, dweight_there, dbias_there);
    reference_->LayerNormBackward(x, weight, mean, inverse, dy, dx, dx, dweight, dbias);
    EXPECT_LE(Difference(dx_there, dx), 1e-5);
    EXPECT_LE(Difference(dweight_there, dweight, scale), 1e-5);
    EXPECT_LE(Difference(dbias_there, dbias, scale), 1e-5);

    cuda_.AddBiasBackward(dy_there, dbias_there);
    reference_->AddBiasBackward(dy, dbias);
    EXPECT_LE(Difference(dbias_there, dbias, scale), 1e-5);
  }
}

// Rows that take a block several rounds, and several blocks where each has some columns.
TEST_F(CudaRowOperationsTest, WideRowsAreReachedToTheLastColumn) {
  using Tensors = std::vector<Tensor>;
  const auto agree = [&](const char* name, Tensors operands,
                         void (*run)(Backend&, const Tensors&)) {
    SCOPED_TRACE(name);
    Tensors there;
    for (const Tensor& operand : operands) there.push_back(OnDevice(operand));
    run(cuda_, there);
    run(*reference_, operands);
    for (size_t i = 0; i < operands.size(); ++i) {
      EXPECT_LE(Difference(there[i], operands[i], 10.0), 1e-5) << "operand " << i;
    }
  };
  for (const int64_t width : {1030, 2056}) {
    SCOPED_TRACE(width);
    const auto matrix = [&] { return Uniform({3, width}); };
    const auto row = [&] { return Uniform({width}); };
    const auto column = [&] { return Uniform({3}, 0.5, 2.0); };
    agree("RmsNormForward", {matrix(), row(), matrix(), column()},
          [](Backend& b, const Tensors& x) { b.RmsNormForward(x[0], x[1], x[2], x[3]); });
    agree("RmsNormBackward", {matrix(), row(), column(), matrix(), matrix(), row()},
          [](Backend& b, const Tensors& x) {
            b.RmsNormBackward(x[0], x[1], x[2], x[3], x[4], x[4], x[5]);
          });
    agree("LayerNormForward", {matrix(), row(), row(), matrix(), column(), column()},
          [](Backend& b, const Tensors& x) {
            b.LayerNormForward(x[0], x[1], x[2], x[3], x[4], x[5]);
          });
    agree("LayerNormBackward",
          {matrix(), row(), column(), column(), matrix(), matrix(), row(), row()},
          [](Backend& b, const Tensors& x) {
            b.LayerNormBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[5], x[6], x[7]);
          });
    agree("AddBiasBackward", {matrix(), row()},
          [](Backend& b, const Tensors& x) { b.AddBiasBackward(x[0], x[1]); });
    agree("InterferenceForward", {matrix(), matrix(), matrix(), matrix(), Uniform({1}), matrix()},
          [](Backend& b, const Tensors& x) {
            b.InterferenceForward(x[0], x[1], x[2], x[3], x[4], x[5]);
          });
    agree("InterferenceBackward",
          {matrix(), matrix(), matrix(), matrix(), Uniform({1}), matrix(), Uniform({1})},
          [](Backend& b, const Tensors& x) {
            b.InterferenceBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[0], x[1], x[2], x[3],
                                   x[6]);
          });
    agree("CumulativeMeanForward", {matrix(), matrix()},
          [](Backend& b, const Tensors& x) { b.CumulativeMeanForward(1, 0, x[0], {}, x[1]); });
    agree("CumulativeMeanBackward", {matrix(), matrix()},
          [](Backend& b, const Tensors& x) { b.CumulativeMeanBackward(1, 0, x[0], {}, x[1]); });
    const Tensor ids = Empty({3}, DType::kInt32);
    ids.i32()[0] = ids.i32()[2] = 1, ids.i32()[1] = 0;
    const Tensor dy = matrix(), table = Uniform({2, width}), table_there = OnDevice(table);
    cuda_.EmbeddingBackward(OnDevice(ids), OnDevice(dy), table_there);
    reference_->EmbeddingBackward(ids, dy, table);
    EXPECT_LE(Difference(table_there, table), 1e-6);
    agree("CoupledReadForward",
          {matrix(), Uniform({3, 3 * width}), Uniform({2, 2}), Uniform({1, 2}, 0.5, 1.0), matrix()},
          [](Backend& b, const Tensors& x) { b.CoupledReadForward(x[0], x[1], x[2], x[3], x[4]); });
    agree("CoupledReadBackward",
          {matrix(), Uniform({3, 3 * width}), Uniform({2, 2}), Uniform({1, 2}, 0.5, 1.0), matrix(),
           matrix(), Uniform({3, 3 * width}), Uniform({2, 2}), Uniform({1, 2})},
          [](Backend& b, const Tensors& x) {
            b.CoupledReadBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8]);
          });
  }
}

TEST_F(CudaRowOperationsTest, WhatReluClosedPassesNoGradient) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    SCOPED_TRACE(NameOf(type));
    const auto filled = [&](float value) {
      const Tensor tensor = OnDevice(Empty({4, 24}, type));
      cuda_.Fill(tensor, value);
      return tensor;
    };
    const Tensor y = filled(5.0f), dx = filled(5.0f);
    cuda_.ReluForward(1e-6f, filled(-1.0f), 0, y);
    cuda_.ReluBackward(1e-6f, y, 0, filled(1.0f), dx);
    std::vector<uint8_t> bytes(dx.bytes(), 1);
    cuda_.CopyToHost(dx, bytes.data());
    EXPECT_EQ(bytes, std::vector<uint8_t>(dx.bytes(), 0));
  }
}

TEST_F(CudaRowOperationsTest, CumulativeMeansOfPiecesAreThoseOfTheWhole) {
  constexpr int64_t kBatch = 2, kTokens = 1000, kCut = 417, kWidth = 12;
  const Tensor x = Uniform({kBatch * kTokens, kWidth}, 0.0, 1.0), mean = Empty(x.shape);
  reference_->CumulativeMeanForward(kBatch, 0, x, {}, mean);
  const auto pieces = [&](const Tensor& whole, int64_t begin, int64_t end) {
    const Tensor piece = Empty({kBatch * (end - begin), kWidth});
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t i = 0; i < (end - begin) * kWidth; ++i) {
        piece.f32()[b * (end - begin) * kWidth + i] =
            whole.f32()[(b * kTokens + begin) * kWidth + i];
      }
    }
    return piece;
  };
  const Tensor state = AllocateFloats(cuda_, kBatch * kWidth);
  cuda_.Fill(state, 0);
  for (const auto& [begin, end] : {std::pair{int64_t{0}, kCut}, {kCut, kTokens}}) {
    const Tensor piece = OnDevice(pieces(x, begin, end));
    cuda_.CumulativeMeanForward(kBatch, begin, piece, state, piece);
    EXPECT_LE(Difference(piece, pieces(mean, begin, end)), 1e-6);
  }
  const Tensor dx = Empty(x.shape);
  reference_->CumulativeMeanBackward(kBatch, 0, x, {}, dx);
  cuda_.Fill(state, 0);
  for (const auto& [begin, end] : {std::pair{kCut, kTokens}, {int64_t{0}, kCut}}) {
    const Tensor piece = OnDevice(pieces(x, begin, end));
    cuda_.CumulativeMeanBackward(kBatch, begin, piece, state, piece);
    EXPECT_LE(Difference(piece, pieces(dx, begin, end)), 1e-6);
  }
  cuda_.Free(state.data);
}

TEST_F(CudaRowOperationsTest, CumulativeMeansDependOnEarlierRowsAloneBitForBit) {
  constexpr int64_t kTokens = 100, kWidth = 8, kChanged = 70;
  const Tensor x = Uniform({kTokens, kWidth}), mean = OnDevice(Empty(x.shape));
  cuda_.CumulativeMeanForward(1, 0, OnDevice(x), {}, mean);
  const Tensor before = OnHost(mean);
  for (int64_t i = kChanged * kWidth; i < kTokens * kWidth; ++i) {
    x.f32()[i] = std::numeric_limits<float>::quiet_NaN();
  }
  cuda_.CumulativeMeanForward(1, 0, OnDevice(x), {}, mean);
  EXPECT_TRUE(SameBits(OnHost(mean).Rows(0, kChanged), before.Rows(0, kChanged)));
}

TEST_F(CudaRowOperationsTest, RangesThatAreNotAlignedAreReachedToTheLastElement) {
  constexpr int64_t kElements = 1027;
  const Tensor x = Uniform({kElements}), y = Uniform({kElements});
  const Tensor x_there = OnDevice(x), y_there = OnDevice(y);
  for (const int64_t begin : {0, 1, 3, 4}) {
    for (const int64_t end : {kElements, kElements - 2, kElements - 3}) {
      SCOPED_TRACE(std::to_string(begin) + " to " + std::to_string(end));
      cuda_.Axpby(0.5f, x_there.Rows(begin, end), -0.75f, y_there.Rows(begin, end));
      reference_->Axpby(0.5f, x.Rows(begin, end), -0.75f, y.Rows(begin, end));
      EXPECT_LE(Difference(y_there, y), 1e-6);
      EXPECT_NEAR(cuda_.SumOfSquares(x_there.Rows(begin, end)),
                  reference_->SumOfSquares(x.Rows(begin, end)), 1e-9);
    }
  }
}

using CudaRowOperationsDeathTest = CudaRowOperationsTest;

TEST_F(CudaRowOperationsDeathTest, IdsAndTargetsOutOfRangeStopTheDevice) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Tensor ids = Empty({3}, DType::kInt32);
  ids.i32()[0] = 0, ids.i32()[1] = 4, ids.i32()[2] = 5;
  for (const int32_t wrong : {5, -1}) {
    ids.i32()[2] = wrong;
    EXPECT_DEATH(
        {
          cuda_.EmbeddingForward(OnDevice(Uniform({5, 8})), OnDevice(ids), OnDevice(Empty({3, 8})));
          cuda_.Synchronize();
        },
        "trap|cudaError");
    EXPECT_DEATH(
        {
          cuda_.EmbeddingBackward(OnDevice(ids), OnDevice(Uniform({3, 8})),
                                  OnDevice(Uniform({5, 8})));
          cuda_.Synchronize();
        },
        "trap|cudaError");
  }
  for (const int32_t wrong : {5, -2}) {
    ids.i32()[2] = wrong;
    EXPECT_DEATH(
        {
          cuda_.CrossEntropyForward(OnDevice(Uniform({3, 5})), OnDevice(ids), OnDevice(Empty({3})),
                                    OnDevice(Empty({3}, DType::kInt32)));
          cuda_.Synchronize();
        },
        "trap|cudaError");
  }
}

}  // namespace
}  // namespace wavefield
