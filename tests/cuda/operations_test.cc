// Every operation of the CUDA backend against the scalar reference, in fp32 and bf16, on fresh
// random inputs in memory of the device.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/backend/backend.h"
#include "core/backend/cuda/cuda_backend.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/core/backend/prepared_operands.h"

namespace wavefield {
namespace {

using testing::CopyAll;
using testing::FreshSeed;
using testing::GuardedTensors;
using testing::OperationCase;
using testing::RelativeDifference;
using testing::Role;
using testing::SameBits;

uint16_t RoundToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
float FromBFloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Copies of host tensors in memory of a device, with activations of the given type.
class DeviceOperands {
 public:
  DeviceOperands(Backend& backend, const OperationCase& op, const std::vector<Tensor>& host,
                 DType activations)
      : backend_(backend) {
    for (size_t i = 0; i < host.size(); ++i) {
      Tensor tensor = host[i];
      if (op.operands[i].activation) tensor.dtype = activations;
      if (tensor.elements() > 0) tensor.data = backend.Allocate(tensor.bytes());
      if (tensor.dtype == DType::kBFloat16) {
        std::vector<uint16_t> rounded;
        for (const float value : testing::Values(host[i]))
          rounded.push_back(RoundToBFloat16(value));
        backend.CopyFromHost(rounded.data(), tensor);
      } else {
        backend.CopyFromHost(host[i].data, tensor);
      }
      tensors_.push_back(tensor);
    }
  }
  ~DeviceOperands() {
    for (const Tensor& tensor : tensors_) {
      if (tensor.elements() > 0) backend_.Free(tensor.data);
    }
  }

  const std::vector<Tensor>& tensors() const { return tensors_; }
  void CopyTo(const std::vector<Tensor>& host) const {
    for (size_t i = 0; i < host.size(); ++i) {
      if (tensors_[i].dtype != DType::kBFloat16) {
        backend_.CopyToHost(tensors_[i], host[i].data);
        continue;
      }
      std::vector<uint16_t> values(static_cast<size_t>(host[i].elements()));
      backend_.CopyToHost(tensors_[i], values.data());
      for (size_t k = 0; k < values.size(); ++k) host[i].f32()[k] = FromBFloat16(values[k]);
    }
  }

 private:
  Backend& backend_;
  std::vector<Tensor> tensors_;
};

void RoundActivations(const OperationCase& op, const std::vector<Tensor>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!op.operands[i].activation) continue;
    for (int64_t k = 0; k < tensors[i].elements(); ++k) {
      float& value = tensors[i].f32()[k];
      value = FromBFloat16(RoundToBFloat16(value));
    }
  }
}

// The cases by what stands before the sizes in their names: the operation.
std::map<std::string, std::vector<OperationCase>> CasesByOperation() {
  std::map<std::string, std::vector<OperationCase>> cases;
  for (OperationCase& op : testing::AllOperationCases()) {
    const auto end = std::find_if_not(op.name.begin(), op.name.end(),
                                      [](unsigned char c) { return std::isalpha(c) != 0; });
    cases[std::string(op.name.begin(), end)].push_back(std::move(op));
  }
  return cases;
}

std::vector<std::string> Operations() {
  std::vector<std::string> names;
  for (const auto& [name, cases] : CasesByOperation()) names.push_back(name);
  return names;
}

class CudaOperationsTest : public ::testing::TestWithParam<std::tuple<DType, std::string>> {
 protected:
  const DType activations_ = std::get<0>(GetParam());
  const std::vector<OperationCase> cases_ = CasesByOperation().at(std::get<1>(GetParam()));
  CudaBackend cuda_{0};
};

// fp32: sums of a few thousand terms in another order than the CPU's. bf16: inputs are equal, what
// is stored or multiplied on the way is rounded to 8 bits; attention's gradient, a difference of
// such values, feels it most.
double Tolerance(const OperationCase& op, DType activations) {
  return activations == DType::kBFloat16 ? 5e-2 : 3 * op.tolerance;
}

TEST_P(CudaOperationsTest, AgreeWithTheScalarReferenceAndChangeNoInput) {
  const auto reference = MakeReferenceBackend();
  for (const OperationCase& op : cases_) {
    const uint64_t seed = FreshSeed();
    SCOPED_TRACE(op.name + " seed " + std::to_string(seed));
    GuardedTensors memory;
    const auto original = PrepareOperands(op, seed, memory);
    if (activations_ == DType::kBFloat16) RoundActivations(op, original);
    const auto expected = CopyAll(original, memory), actual = CopyAll(original, memory);
    op.run(*reference, expected);
    DeviceOperands operands(cuda_, op, original, activations_);
    op.run(cuda_, operands.tensors());
    operands.CopyTo(actual);
    for (size_t i = 0; i < actual.size(); ++i) {
      SCOPED_TRACE("operand " + std::to_string(i));
      if (op.operands[i].role == Role::kInput) {
        EXPECT_TRUE(SameBits(actual[i], original[i])) << "an input changed";
      } else if (actual[i].dtype == DType::kInt32) {
        EXPECT_TRUE(SameBits(actual[i], expected[i]));
      } else {
        EXPECT_LE(RelativeDifference(actual[i], expected[i], op.operands[i].scale),
                  Tolerance(op, activations_));
      }
    }
  }
}

TEST_P(CudaOperationsTest, GiveTheSameBitsAgain) {
  for (const OperationCase& op : cases_) {
    const uint64_t seed = FreshSeed();
    SCOPED_TRACE(op.name + " seed " + std::to_string(seed));
    GuardedTensors memory;
    const auto first = PrepareOperands(op, seed, memory);
    if (activations_ == DType::kBFloat16) RoundActivations(op, first);
    const auto again = CopyAll(first, memory);
    for (const auto& host : {first, again}) {
      DeviceOperands operands(cuda_, op, host, activations_);
      op.run(cuda_, operands.tensors());
      operands.CopyTo(host);
    }
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_TRUE(SameBits(first[i], again[i])) << "operand " << i;
    }
  }
}

class CudaMemoryTest : public ::testing::TestWithParam<DType> {
 protected:
  CudaBackend cuda_{0};
};

TEST_P(CudaMemoryTest, FillAndCopyReachEveryElement) {
  for (const int64_t n : {1, 3, 255, 256, 257, 1025}) {
    const Tensor x{cuda_.Allocate(static_cast<size_t>(n) * SizeOf(GetParam())), GetParam(), {n}};
    const Tensor y{cuda_.Allocate(x.bytes()), GetParam(), {n}};
    cuda_.Fill(x, 1.5f);
    cuda_.Copy(x, y);
    std::vector<uint8_t> bytes(y.bytes());
    cuda_.CopyToHost(y, bytes.data());
    for (int64_t i = 0; i < n; ++i) {
      const float value = GetParam() == DType::kFloat32
                              ? reinterpret_cast<const float*>(bytes.data())[i]
                              : FromBFloat16(reinterpret_cast<const uint16_t*>(bytes.data())[i]);
      ASSERT_EQ(value, 1.5f) << "element " << i << " of " << n;
    }
    cuda_.Free(x.data);
    cuda_.Free(y.data);
  }
}

TEST(CudaSumOfSquares, IsThatOfDoubles) {
  CudaBackend cuda(0);
  const auto reference = MakeReferenceBackend();
  for (const int64_t n : {0, 1, 7, 16384, 16385, 100003}) {
    const uint64_t seed = FreshSeed();
    SCOPED_TRACE(std::to_string(n) + " elements, seed " + std::to_string(seed));
    GuardedTensors memory;
    const Tensor host = memory.Uniform({n}, -1.0, 1.0, seed);
    Tensor x = AllocateFloats(cuda, n);
    x.shape = host.shape;
    cuda.CopyFromHost(host.data, x);
    const double sum = cuda.SumOfSquares(x);
    EXPECT_NEAR(sum, reference->SumOfSquares(host), 1e-12 * static_cast<double>(n));
    EXPECT_EQ(sum, cuda.SumOfSquares(x));
    cuda.Free(x.data);
  }
}

const auto kTypes = ::testing::Values(DType::kFloat32, DType::kBFloat16);

INSTANTIATE_TEST_SUITE_P(Types, CudaMemoryTest, kTypes,
                         [](const auto& info) { return NameOf(info.param); });
INSTANTIATE_TEST_SUITE_P(All, CudaOperationsTest,
                         ::testing::Combine(kTypes, ::testing::ValuesIn(Operations())),
                         [](const auto& info) {
                           return std::get<1>(info.param) + "_" + NameOf(std::get<0>(info.param));
                         });

}  // namespace
}  // namespace wavefield
