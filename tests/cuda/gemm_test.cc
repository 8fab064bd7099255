// Products of matrices on the device against sums in double, on fresh random inputs.

#include "core/backend/cuda/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/backend/cuda/convert.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/stream.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/cuda/device_vector.h"

namespace wavefield {
namespace {

using cuda::Gemm;
using cuda::Matrix;
using testing::DeviceVector;
using testing::FreshSeed;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

float Rounded(float x, DType dtype) {
  return dtype == DType::kFloat32 ? x : __bfloat162float(__float2bfloat16_rn(x));
}

// Numbers of a type on the device, and the same numbers on the host.
class Numbers {
 public:
  Numbers(std::vector<float> values, DType dtype) : dtype_(dtype), values_(std::move(values)) {
    for (float& value : values_) value = Rounded(value, dtype);
    if (dtype == DType::kFloat32) {
      fp32_ = std::make_unique<DeviceVector<float>>(values_);
    } else {
      std::vector<__nv_bfloat16> rounded;
      for (const float value : values_) rounded.push_back(__float2bfloat16_rn(value));
      bf16_ = std::make_unique<DeviceVector<__nv_bfloat16>>(rounded);
    }
  }

  const std::vector<float>& at_first() const { return values_; }
  DType dtype() const { return dtype_; }
  char* data(int64_t offset = 0) const {
    void* start = fp32_ ? static_cast<void*>(fp32_->data()) : static_cast<void*>(bf16_->data());
    return static_cast<char*>(start) + offset * static_cast<int64_t>(SizeOf(dtype_));
  }
  Tensor tensor(Shape shape) const { return {data(), dtype_, shape}; }
  std::vector<float> Now() const {
    if (fp32_) return fp32_->Values();
    std::vector<float> values;
    for (const auto value : bf16_->Values()) values.push_back(__bfloat162float(value));
    return values;
  }

 private:
  DType dtype_;
  std::vector<float> values_;
  std::unique_ptr<DeviceVector<float>> fp32_;
  std::unique_ptr<DeviceVector<__nv_bfloat16>> bf16_;
};

class GemmTest : public ::testing::Test {
 protected:
  GemmTest() : random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}

  int64_t Below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  bool Coin() { return Below(2) == 1; }
  std::vector<float> Uniform(int64_t n) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = uniform(random_);
    return values;
  }

  const uint64_t seed_ = FreshSeed();
  std::mt19937_64 random_;
  ::testing::ScopedTrace trace_;
  cuda::Gemms gemms_;
  cuda::Stream stream_;
};

struct Types {
  DType operands, result;
};
constexpr Types kTypes[] = {{DType::kFloat32, DType::kFloat32},
                            {DType::kBFloat16, DType::kFloat32},
                            {DType::kBFloat16, DType::kBFloat16}};

// An operand of a product within a larger range of numbers.
struct Placed {
  Numbers numbers;
  int64_t offset, leading, stride;
  bool transposed;

  Matrix matrix() const {
    return {numbers.data(offset), numbers.dtype(), leading, stride, transposed};
  }
  // Where element (i, j) of op(matrix) number `b` lies.
  int64_t at(int64_t b, int64_t i, int64_t j) const {
    return offset + b * stride + (transposed ? j * leading + i : i * leading + j);
  }
};

// |result − expected| ≤ roundings of the sum and of the result.
double Tolerance(double magnitude, int64_t k, DType result) {
  const double sum = 1e-6 * std::sqrt(static_cast<double>(k)) + 1e-7 * static_cast<double>(k);
  return magnitude * (sum + (result == DType::kBFloat16 ? 4.1e-3 : 0)) + 1e-12;
}

TEST_F(GemmTest, AgreesWithSumsInDouble) {
  for (int round = 0; round < 60; ++round) {
    const Types types = kTypes[round % 3];
    const int64_t batch = Coin() ? 1 : 1 + Below(4), m = 1 + Below(37), n = 1 + Below(41);
    const int64_t k = round % 10 == 0 ? 256 + Below(300) : 1 + Below(70);
    const auto place = [&](int64_t rows, int64_t columns, DType dtype, bool transposed,
                           bool shared) {
      if (transposed) std::swap(rows, columns);
      const int64_t leading = columns + Below(8), offset = Below(9);
      const int64_t stride = shared ? 0 : rows * leading + Below(5);
      return Placed{Numbers(Uniform(offset + (batch - 1) * stride + rows * leading), dtype), offset,
                    leading, stride, transposed};
    };
    const Placed a = place(m, k, types.operands, Coin(), Below(4) == 0);
    const Placed b = place(k, n, types.operands, Coin(), Below(4) == 0);
    const Placed c = place(m, n, types.result, false, false);
    const float alpha = Coin() ? 1 : 0.25f, beta = static_cast<float>(Below(3)) / 2;
    SCOPED_TRACE(::testing::Message()
                 << "round " << round << ": batch " << batch << " m " << m << " n " << n << " k "
                 << k << " transposed " << a.transposed << b.transposed << " beta " << beta);
    gemms_.Run({m, n, k, a.matrix(), b.matrix(), c.matrix(), batch, alpha, beta}, stream_);

    std::vector<double> expected(c.numbers.at_first().begin(), c.numbers.at_first().end());
    std::vector<double> tolerance(expected.size(), 0);
    for (int64_t s = 0; s < batch; ++s) {
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0, magnitude = 0;
          for (int64_t p = 0; p < k; ++p) {
            const double term = static_cast<double>(a.numbers.at_first()[a.at(s, i, p)]) *
                                b.numbers.at_first()[b.at(s, p, j)];
            sum += term;
            magnitude += std::abs(term);
          }
          double& element = expected[c.at(s, i, j)];
          magnitude += std::abs(element);
          element = alpha * sum + beta * element;
          tolerance[c.at(s, i, j)] = Tolerance(magnitude, k, types.result);
        }
      }
    }
    const std::vector<float> result = c.numbers.Now();
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(result[i], expected[i], tolerance[i]) << "at " << i;
    }
  }
}

TEST_F(GemmTest, RepeatsItsBits) {
  for (const Types types : kTypes) {
    const int64_t m = 9 + Below(40), n = 9 + Below(40), k = 700 + Below(100);
    const Numbers a(Uniform(m * k), types.operands), b(Uniform(k * n), types.operands);
    std::vector<float> first;
    for (int run = 0; run < 4; ++run) {
      const Numbers c(std::vector<float>(static_cast<size_t>(m * n), kNaN), types.result);
      gemms_.Run(
          {m, n, k, {a.data(), a.dtype(), k}, {b.data(), b.dtype(), n}, {c.data(), c.dtype(), n}},
          stream_);
      if (run == 0) first = c.Now();
      EXPECT_EQ(c.Now(), first);
    }
  }
}

TEST_F(GemmTest, RowsDependOnTheirOwnRowAlone) {
  const int64_t m = 24, n = 31, k = 300;
  for (const Types types : kTypes) {
    std::vector<float> values = Uniform(m * k);
    const Numbers b(Uniform(k * n), types.operands);
    const auto multiply = [&] {
      const Numbers a(values, types.operands);
      const Numbers c(std::vector<float>(m * n, kNaN), types.result);
      gemms_.Run(
          {m, n, k, {a.data(), a.dtype(), k}, {b.data(), b.dtype(), n}, {c.data(), c.dtype(), n}},
          stream_);
      return c.Now();
    };
    const std::vector<float> before = multiply();
    for (int64_t i = 10 * k; i < m * k; ++i) values[i] = kNaN;
    const std::vector<float> after = multiply();
    for (int64_t i = 0; i < 10 * n; ++i) ASSERT_EQ(after[i], before[i]);
    EXPECT_TRUE(std::isnan(after[10 * n]));
  }
}

TEST_F(GemmTest, BatchesHaveNoLimit) {
  const int64_t batch = 65'536 + Below(100), k = 1 + Below(3);
  const Numbers a(Uniform(batch * k), DType::kFloat32), b(Uniform(batch * k), DType::kFloat32);
  const Numbers c(Uniform(batch), DType::kFloat32);
  gemms_.Run({1,
              1,
              k,
              {a.data(), a.dtype(), k, k},
              {b.data(), b.dtype(), 1, k},
              {c.data(), c.dtype(), 1, 1},
              batch},
             stream_);
  const std::vector<float> result = c.Now();
  for (int64_t s = 0; s < batch; ++s) {
    double sum = 0;
    for (int64_t p = 0; p < k; ++p) {
      sum += static_cast<double>(a.at_first()[s * k + p]) * b.at_first()[s * k + p];
    }
    ASSERT_NEAR(result[s], sum, 1e-6) << "at " << s;
  }
}

TEST_F(GemmTest, EmptySumsAreZeroAndEmptyResultsNothing) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const int64_t m = 3, n = 4, leading = 6, stride = 20;
    const Numbers c(Uniform(2 * stride), dtype);
    const Matrix none{nullptr, dtype, n}, result{c.data(), dtype, leading, stride};
    gemms_.Run({0, n, 5, none, none, result, 2}, stream_);
    gemms_.Run({m, 0, 5, none, none, result, 2}, stream_);
    gemms_.Run({m, n, 0, none, none, result, 2, 1, 1}, stream_);
    EXPECT_EQ(c.Now(), c.at_first());
    gemms_.Run({m, n, 0, none, none, result, 2}, stream_);
    std::vector<float> expected = c.at_first();
    for (int64_t s = 0; s < 2; ++s) {
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) expected[s * stride + i * leading + j] = 0;
      }
    }
    EXPECT_EQ(c.Now(), expected);
  }
}

TEST_F(GemmTest, OtherTypesAndTooShortRowsAreProgrammersErrors) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Numbers x(Uniform(16), DType::kFloat32);
  const Matrix good{x.data(), DType::kFloat32, 4}, short_rows{x.data(), DType::kFloat32, 3},
      integers{x.data(), DType::kInt32, 4};
  const Numbers y(Uniform(16), DType::kFloat32);
  const Matrix result{y.data(), DType::kFloat32, 4};
  EXPECT_DEATH(gemms_.Run({4, 4, 4, short_rows, good, result}, stream_), "leading dimension 3");
  EXPECT_DEATH(gemms_.Run({4, 4, 4, good, integers, result}, stream_), "element type");
  const Matrix rounded{y.data(), DType::kBFloat16, 4};
  EXPECT_DEATH(gemms_.Run({4, 4, 4, good, good, rounded}, stream_), "no algorithm");
}

TEST_F(GemmTest, ConversionsRoundToNearestEven) {
  for (const int64_t n : {int64_t{1}, 2 + Below(6), 1000 + Below(600)}) {
    for (const int64_t skip : {0, 1}) {
      std::vector<float> values = Uniform(n + skip);
      values.back() = 1.00390625f;  // halfway between 1 and 1.0078125
      const Numbers source(values, DType::kFloat32);
      const Numbers rounded(std::vector<float>(n + skip, 7), DType::kBFloat16);
      const Numbers back(std::vector<float>(n + skip, 7), DType::kFloat32);
      const auto part = [&](const Numbers& x) { return Tensor{x.data(skip), x.dtype(), {n}}; };
      cuda::Convert(part(source), part(rounded), stream_);
      cuda::Convert(part(rounded), part(back), stream_);
      for (float& value : values) value = Rounded(value, DType::kBFloat16);
      if (skip == 1) values[0] = 7;
      EXPECT_EQ(rounded.Now(), values);
      EXPECT_EQ(back.Now(), values);
      EXPECT_EQ(values.back(), 1.0f);
    }
  }
}

TEST_F(GemmTest, MatMulTakesEveryMixOfTypes) {
  CudaBackend backend(0);
  constexpr DType kBoth[] = {DType::kFloat32, DType::kBFloat16};
  for (int mix = 0; mix < 32; ++mix) {
    const DType type_a = kBoth[mix & 1], type_b = kBoth[mix >> 1 & 1], type_c = kBoth[mix >> 2 & 1];
    const auto ta = mix & 8 ? Transpose::kYes : Transpose::kNo;
    const auto tb = mix & 8 ? Transpose::kNo : Transpose::kYes;
    const float beta = mix & 16 ? 1 : 0;
    const int64_t m = 1 + Below(20), n = 1 + Below(20), k = 1 + Below(20);
    SCOPED_TRACE(::testing::Message() << "mix " << mix << " m " << m << " n " << n << " k " << k);
    const Numbers a(Uniform(m * k), type_a), b(Uniform(k * n), type_b);
    const Numbers c(
        beta == 0 ? std::vector<float>(static_cast<size_t>(m * n), kNaN) : Uniform(m * n), type_c);
    backend.MatMul(ta, tb, a.tensor(ta == Transpose::kYes ? Shape{k, m} : Shape{m, k}),
                   b.tensor(tb == Transpose::kYes ? Shape{n, k} : Shape{k, n}), beta,
                   c.tensor({m, n}));
    const bool fp32 = type_a == type_b && type_b == type_c && type_c == DType::kFloat32;
    const DType product = fp32 ? DType::kFloat32 : DType::kBFloat16;
    backend.Synchronize();
    const std::vector<float> result = c.Now();
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t p = 0; p < k; ++p) {
          const float x = a.at_first()[ta == Transpose::kYes ? p * m + i : i * k + p];
          const float y = b.at_first()[tb == Transpose::kYes ? j * k + p : p * n + j];
          const double term = static_cast<double>(Rounded(x, product)) * Rounded(y, product);
          sum += term;
          magnitude += std::abs(term);
        }
        if (beta == 1) sum += c.at_first()[i * n + j];
        ASSERT_NEAR(result[i * n + j], sum, Tolerance(magnitude + std::abs(sum), k, type_c))
            << i << ", " << j;
      }
    }
  }
}

}  // namespace
}  // namespace wavefield
