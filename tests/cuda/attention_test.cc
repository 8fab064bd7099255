// Attention where its kernels have edges: blocks of tokens, padded heads, pieces, stretches of
// generation, extreme and non-finite numbers; in fp32 and bf16.

#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/backend/backend.h"
#include "core/backend/cuda/cuda_backend.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using testing::RelativeDifference;
using testing::SameBits;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Tensors on the host are fp32; activations on the device have the type of the test.
class CudaAttentionTest : public ::testing::TestWithParam<DType> {
 protected:
  ~CudaAttentionTest() override {
    for (const Tensor& tensor : on_device_) cuda_.Free(tensor.data);
  }

  bool bf16() const { return GetParam() == DType::kBFloat16; }
  // Bits that an activation has on the device.
  float Rounded(float x) const { return bf16() ? __bfloat162float(__float2bfloat16_rn(x)) : x; }
  Tensor RoundAll(const Tensor& tensor) const {
    for (int64_t i = 0; i < tensor.elements(); ++i) tensor.f32()[i] = Rounded(tensor.f32()[i]);
    return tensor;
  }
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return RoundAll(memory_.Uniform(shape, low, high, seed_));
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }

  Tensor ToDevice(const Tensor& host) {
    Tensor tensor{nullptr, DType::kFloat32, host.shape};
    tensor.data = cuda_.Allocate(host.bytes());
    cuda_.CopyFromHost(host.data, tensor);
    on_device_.push_back(tensor);
    return tensor;
  }
  Tensor Activations(const Tensor& host) {
    if (!bf16()) return ToDevice(host);
    std::vector<__nv_bfloat16> values;
    for (const float value : testing::Values(host)) values.push_back(__float2bfloat16_rn(value));
    Tensor tensor{nullptr, DType::kBFloat16, host.shape};
    tensor.data = cuda_.Allocate(tensor.bytes());
    cuda_.CopyFromHost(values.data(), tensor);
    on_device_.push_back(tensor);
    return tensor;
  }
  // Nothing may rely on what is there.
  Tensor Unwritten(Shape shape) {
    const Tensor host = Zeros(shape);
    std::fill_n(host.f32(), host.elements(), kNaN);
    return host;
  }
  Tensor ToHost(const Tensor& tensor) {
    const Tensor host = memory_.Make(tensor.shape);
    if (tensor.dtype == DType::kFloat32) {
      cuda_.CopyToHost(tensor, host.data);
      return host;
    }
    std::vector<__nv_bfloat16> values(static_cast<size_t>(tensor.elements()));
    cuda_.CopyToHost(tensor, values.data());
    for (size_t i = 0; i < values.size(); ++i) host.f32()[i] = __bfloat162float(values[i]);
    return host;
  }
  double Difference(const Tensor& actual, const Tensor& expected, double scale = 0.0) {
    return RelativeDifference(ToHost(actual), expected, scale);
  }
  double tolerance() const { return bf16() ? 2e-2 : 1e-4; }
  // A gradient sums terms of about 1 that cancel; bf16 rounds each of them, not their sum.
  double terms() const { return bf16() ? 1.0 : 0.1; }

  const uint64_t seed_ = FreshSeed();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  GuardedTensors memory_;
  CudaBackend cuda_{0};
  const std::unique_ptr<Backend> reference_ = MakeReferenceBackend();
  std::vector<Tensor> on_device_;
};

TEST_P(CudaAttentionTest, AgreesWithTheReferenceAtEveryEdge) {
  for (const int64_t d : {2, 8, 16, 24, 64, 70, 128}) {
    for (const int64_t tokens : {1, 15, 16, 17, 63, 64, 65, 130}) {
      const int64_t heads = tokens < 63 ? 3 : 1, batch = tokens < 63 ? 2 : 1;
      SCOPED_TRACE(std::to_string(tokens) + " tokens, heads of " + std::to_string(d));
      const int64_t rows = batch * tokens, width = heads * d;
      const Tensor qkv = Random({rows, 3 * width}, -2.0, 2.0), dy = Random({rows, width});
      const Tensor y = Zeros({rows, width}), log_sum = Zeros({rows, heads});
      const Tensor dqkv = Zeros(qkv.shape);
      reference_->AttentionForward(batch, heads, 0, qkv, {}, y, log_sum);

      const Tensor inputs = Activations(qkv), gradient = Activations(dy);
      const Tensor out = Activations(Unwritten(y.shape));
      const Tensor sums = ToDevice(Unwritten(log_sum.shape));
      const Tensor gradients = Activations(Unwritten(qkv.shape));
      cuda_.AttentionForward(batch, heads, 0, inputs, {}, out, sums);
      cuda_.AttentionBackward(batch, heads, 0, inputs, {}, out, sums, gradient, {}, gradients);
      // The device's backward pass takes the y that it rounded.
      reference_->AttentionBackward(batch, heads, 0, qkv, {}, ToHost(out), log_sum, dy, {}, dqkv);
      EXPECT_LE(Difference(out, y), bf16() ? 1e-2 : 1e-5);
      EXPECT_LE(Difference(sums, log_sum, 1.0), 1e-5);
      EXPECT_LE(Difference(gradients, dqkv, terms()), tolerance());
    }
  }
}

TEST_P(CudaAttentionTest, PiecesWithAHistoryAreTheWholeSequence) {
  const std::vector<int64_t> pieces = {1, 1, 15, 1, 64, 33, 1, 70};
  constexpr int64_t kBatch = 2, kHeads = 2, kTokens = 186, kCapacity = kTokens + 5;
  for (const int64_t d : {6, 40}) {
    SCOPED_TRACE("heads of " + std::to_string(d));
    const int64_t width = kHeads * d, rows = kBatch * kTokens;
    const Tensor qkv = Random({rows, 3 * width}, -2.0, 2.0), dy = Random({rows, width});
    const Tensor y = Zeros({rows, width}), log_sum = Zeros({rows, kHeads});
    const Tensor dqkv = Zeros(qkv.shape);
    reference_->AttentionForward(kBatch, kHeads, 0, qkv, {}, y, log_sum);
    reference_->AttentionBackward(kBatch, kHeads, 0, qkv, {}, RoundAll(memory_.Copy(y)), log_sum,
                                  dy, {}, dqkv);
    // Tokens [position, position + length) of both sequences.
    const auto cut = [&](const Tensor& from, int64_t position, int64_t length) {
      const Tensor piece = Zeros({kBatch * length, from.shape[1]});
      for (int64_t b = 0; b < kBatch; ++b) {
        const int64_t row = b * kTokens + position;
        reference_->Copy(from.Rows(row, row + length), piece.Rows(b * length, (b + 1) * length));
      }
      return piece;
    };
    struct Piece {
      int64_t position, length;
      Tensor qkv, y, log_sum;
    };
    const Tensor history = ToDevice(Unwritten({kBatch, kCapacity, 2 * width}));
    const Tensor dhistory = ToDevice(Zeros(history.shape));
    std::vector<Piece> done;
    int64_t position = 0;
    for (const int64_t length : pieces) {
      SCOPED_TRACE("piece of " + std::to_string(length) + " from " + std::to_string(position));
      const Piece piece{position, length, Activations(cut(qkv, position, length)),
                        Activations(Unwritten({kBatch * length, width})),
                        ToDevice(Unwritten({kBatch * length, kHeads}))};
      cuda_.AttentionForward(kBatch, kHeads, position, piece.qkv, history, piece.y, piece.log_sum);
      EXPECT_LE(Difference(piece.y, cut(y, position, length)), bf16() ? 1e-2 : 1e-5);
      EXPECT_LE(Difference(piece.log_sum, cut(log_sum, position, length), 1.0), 1e-5);
      done.push_back(piece);
      position += length;
    }
    ASSERT_EQ(position, kTokens);
    for (auto piece = done.rbegin(); piece != done.rend(); ++piece) {
      SCOPED_TRACE("gradient of the piece from " + std::to_string(piece->position));
      const Tensor gradients = Activations(Unwritten(piece->qkv.shape));
      cuda_.AttentionBackward(kBatch, kHeads, piece->position, piece->qkv, history, piece->y,
                              piece->log_sum, Activations(cut(dy, piece->position, piece->length)),
                              dhistory, gradients);
      EXPECT_LE(Difference(gradients, cut(dqkv, piece->position, piece->length), terms()),
                tolerance());
    }
    const std::vector<float> kept = testing::Values(ToHost(history));
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t i = 0; i < kTokens * 2 * width; ++i) {
        const int64_t row = b * kTokens + i / (2 * width), column = width + i % (2 * width);
        ASSERT_EQ(kept[b * kCapacity * 2 * width + i], qkv.f32()[row * 3 * width + column]);
      }
      EXPECT_TRUE(std::isnan(kept[(b * kCapacity + kTokens) * 2 * width])) << "a row too many";
    }
  }
}

// Rows of a block of keys that a query must not see, even as 0 · NaN or 0 · ∞.
TEST_P(CudaAttentionTest, ALaterTokenChangesNoBitWhateverItIs) {
  constexpr int64_t kTokens = 140, kHeads = 2, kWidth = kHeads * 12;
  const Tensor qkv = Random({kTokens, 3 * kWidth}, -2.0, 2.0);
  const auto forward = [&](const Tensor& inputs, int64_t tokens) {
    const Tensor y = Activations(Unwritten({tokens, kWidth}));
    const Tensor log_sum = ToDevice(Unwritten({tokens, kHeads}));
    cuda_.AttentionForward(1, kHeads, 0, Activations(inputs.Rows(0, tokens)), {}, y, log_sum);
    return std::pair{ToHost(y), ToHost(log_sum)};
  };
  const auto [y, log_sum] = forward(qkv, kTokens);
  for (const int64_t t : {int64_t{1}, int64_t{15}, int64_t{16}, int64_t{63}, int64_t{64},
                          int64_t{65}, int64_t{127}, kTokens - 1}) {
    for (const float value : {1.5f, kNaN, -std::numeric_limits<float>::infinity()}) {
      SCOPED_TRACE("token " + std::to_string(t) + " is " + std::to_string(value));
      const Tensor changed = memory_.Copy(qkv);
      std::fill_n(changed.f32() + t * 3 * kWidth, 3 * kWidth, value);
      const auto [other_y, other_log_sum] = forward(changed, kTokens);
      EXPECT_TRUE(SameBits(other_y.Rows(0, t), y.Rows(0, t)));
      EXPECT_TRUE(SameBits(other_log_sum.Rows(0, t), log_sum.Rows(0, t)));
      EXPECT_FALSE(SameBits(other_y.Rows(t, t + 1), y.Rows(t, t + 1)));
    }
    const auto [short_y, short_log_sum] = forward(qkv, t);
    EXPECT_TRUE(SameBits(short_y, y.Rows(0, t))) << t << " tokens alone";
    EXPECT_TRUE(SameBits(short_log_sum, log_sum.Rows(0, t))) << t << " tokens alone";
  }
}

TEST_P(CudaAttentionTest, ANaNReachesEveryRowThatSeesIt) {
  constexpr int64_t kTokens = 137, kWidth = 16;
  for (const int64_t bad : {int64_t{0}, int64_t{40}, int64_t{64}, kTokens - 1}) {
    for (const int64_t part : {0, 1, 2}) {
      SCOPED_TRACE("part " + std::to_string(part) + " of token " + std::to_string(bad));
      const Tensor qkv = Random({kTokens, 3 * kWidth});
      qkv.f32()[bad * 3 * kWidth + part * kWidth] = kNaN;
      const Tensor y = Activations(Zeros({kTokens, kWidth})),
                   log_sum = ToDevice(Zeros({kTokens, 1}));
      cuda_.AttentionForward(1, 1, 0, Activations(qkv), {}, y, log_sum);
      const Tensor out = ToHost(y);
      for (int64_t t = 0; t < kTokens; ++t) {
        const bool sees = part == 0 ? t == bad : t >= bad;
        ASSERT_EQ(std::isnan(out.f32()[t * kWidth]), sees) << "row " << t;
      }
    }
  }
}

TEST_P(CudaAttentionTest, ExtremeScoresPickTheLargestAndStayFinite) {
  constexpr int64_t kTokens = 75, kWidth = 24;
  // q · k / √d is ±1e4 or more: one key takes all, no exponential may overflow.
  const Tensor qkv = Random({kTokens, 3 * kWidth}, 180.0, 200.0), dy = Random({kTokens, kWidth});
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t i = 0; t % 3 != 0 && i < kWidth; ++i) qkv.f32()[(3 * t + 1) * kWidth + i] *= -1.0f;
  }
  for (const int64_t position : {0, 70}) {
    const Tensor past = Random({1, position + kTokens, 2 * kWidth}, -200.0, -180.0);
    const Tensor history = position == 0 ? Tensor{} : ToDevice(past);
    const Tensor y = Activations(Unwritten(dy.shape)), log_sum = ToDevice(Unwritten({kTokens, 2}));
    const Tensor dqkv = Activations(Unwritten(qkv.shape)), inputs = Activations(qkv);
    cuda_.AttentionForward(1, 2, position, inputs, history, y, log_sum);
    cuda_.AttentionBackward(1, 2, position, inputs, history, y, log_sum, Activations(dy), {}, dqkv);
    for (const float value : testing::Values(ToHost(y))) {
      ASSERT_TRUE(170.0f < value && value < 201.0f) << value;
    }
    for (const float value : testing::Values(ToHost(log_sum))) ASSERT_GT(value, 1e4f);
    for (const float value : testing::Values(ToHost(dqkv))) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST_P(CudaAttentionTest, AGenerationStepIsTheRowOfTheWholeSequence) {
  constexpr int64_t kTokens = 600, kBatch = 2, kHeads = 2;
  for (const int64_t d : {4, 128}) {
    const int64_t width = kHeads * d;
    const Tensor past = Random({kBatch, kTokens, 2 * width}, -2.0, 2.0);
    for (const int64_t t : {0, 3, 31, 255, 256, 257, 599}) {
      SCOPED_TRACE("token " + std::to_string(t) + ", heads of " + std::to_string(d));
      const Tensor qkv = Random({kBatch, 3 * width}, -2.0, 2.0);
      const Tensor y = Zeros({kBatch, width}), log_sum = Zeros({kBatch, kHeads});
      const Tensor out = Activations(Unwritten(y.shape)), sums = ToDevice(Unwritten(log_sum.shape));
      cuda_.AttentionForward(kBatch, kHeads, t, Activations(qkv), ToDevice(past), out, sums);
      reference_->AttentionForward(kBatch, kHeads, t, qkv, memory_.Copy(past), y, log_sum);
      EXPECT_LE(Difference(out, y), bf16() ? 5e-3 : 1e-5);
      EXPECT_LE(Difference(sums, log_sum, 1.0), 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaAttentionTest,
                         ::testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const auto& info) { return NameOf(info.param); });

TEST(CudaAttentionDeathTest, HeadsThatAreTooWideAbortWithTheLimit) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  CudaBackend cuda(0);
  const Tensor qkv{cuda.Allocate(3 * 130 * 4), DType::kFloat32, {1, 3 * 130}};
  const Tensor y{cuda.Allocate(130 * 4), DType::kFloat32, {1, 130}};
  const Tensor log_sum{cuda.Allocate(4), DType::kFloat32, {1, 1}};
  EXPECT_DEATH(cuda.AttentionForward(1, 1, 0, qkv, {}, y, log_sum),
               "heads are 130 wide, the CUDA backend has kernels up to 128; use more heads");
  for (const Tensor& tensor : {qkv, y, log_sum}) cuda.Free(tensor.data);
}

}  // namespace
}  // namespace wavefield
