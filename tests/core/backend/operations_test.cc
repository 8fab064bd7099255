// Every operation of the fast backend against the scalar reference, on fresh random inputs.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "hwy/targets.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/core/backend/operation_cases.h"

namespace wavefield {
namespace {

using testing::AllOperationCases;
using testing::FreshSeed;
using testing::GuardedTensors;
using testing::Operand;
using testing::OperationCase;
using testing::RelativeDifference;
using testing::Role;
using testing::SameBits;

std::vector<Tensor> Prepare(const OperationCase& op, uint64_t seed, GuardedTensors& memory) {
  std::vector<Tensor> tensors;
  for (const Operand& operand : op.operands) {
    const bool index = operand.int_high > 0;
    Tensor tensor = index ? memory.Make(operand.shape, DType::kInt32)
                          : memory.Uniform(operand.shape, operand.low, operand.high, seed);
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      if (index) {
        const uint64_t span = operand.int_high - operand.int_low;
        const RandomStream stream(seed, "index " + std::to_string(tensors.size()));
        tensor.i32()[i] = operand.int_low + static_cast<int32_t>(stream.Below(i, span));
      } else if (operand.role == Role::kOutput) {
        tensor.f32()[i] = std::numeric_limits<float>::quiet_NaN();
      }
    }
    tensors.push_back(tensor);
  }
  return tensors;
}

std::vector<Tensor> CopyAll(const std::vector<Tensor>& tensors, GuardedTensors& memory) {
  std::vector<Tensor> copies;
  for (const Tensor& tensor : tensors) copies.push_back(memory.Copy(tensor));
  return copies;
}

// Runs every operation on `backend` and on the reference with the same random inputs.
void ExpectAgreement(Backend& backend) {
  const auto reference = MakeReferenceBackend();
  for (const OperationCase& op : AllOperationCases()) {
    const uint64_t seed = FreshSeed();
    SCOPED_TRACE(op.name + " seed " + std::to_string(seed));
    GuardedTensors reference_memory, memory, original_memory;
    const auto original = Prepare(op, seed, original_memory);
    const auto expected = CopyAll(original, reference_memory);
    const auto actual = CopyAll(original, memory);
    op.run(*reference, expected);
    op.run(backend, actual);
    EXPECT_TRUE(reference_memory.Intact()) << "the reference wrote out of bounds";
    EXPECT_TRUE(memory.Intact()) << "wrote out of bounds";
    for (size_t i = 0; i < actual.size(); ++i) {
      SCOPED_TRACE("operand " + std::to_string(i));
      if (op.operands[i].role == Role::kInput) {
        EXPECT_TRUE(SameBits(actual[i], original[i])) << "an input changed";
        EXPECT_TRUE(SameBits(expected[i], original[i])) << "the reference changed an input";
      } else if (actual[i].dtype == DType::kInt32) {
        EXPECT_TRUE(SameBits(actual[i], expected[i]));
      } else {
        for (const float value : testing::Values(expected[i])) {
          ASSERT_FALSE(std::isnan(value)) << "the reference left an output unwritten";
        }
        EXPECT_LE(RelativeDifference(actual[i], expected[i], op.operands[i].scale), op.tolerance);
      }
    }
  }
}

class OperationsTest : public ::testing::TestWithParam<int> {
 protected:
  const int threads_ = GetParam();
  std::unique_ptr<Backend> cpu_ = MakeCpuBackend(threads_);
};

TEST_P(OperationsTest, AgreeWithTheScalarReferenceAndTouchNothingElse) { ExpectAgreement(*cpu_); }

TEST_P(OperationsTest, GiveTheSameBitsAgainAndForAnyNumberOfThreads) {
  const auto single = MakeCpuBackend(1);
  const uint64_t seed = FreshSeed();
  for (const OperationCase& op : AllOperationCases()) {
    SCOPED_TRACE(op.name + " seed " + std::to_string(seed));
    GuardedTensors memory1, memory2, memory3;
    const auto first = Prepare(op, seed, memory1);
    const auto again = CopyAll(first, memory2);
    const auto one_thread = CopyAll(first, memory3);
    op.run(*cpu_, first);
    op.run(*cpu_, again);
    op.run(*single, one_thread);
    for (size_t i = 0; i < first.size(); ++i) {
      SCOPED_TRACE("operand " + std::to_string(i));
      EXPECT_TRUE(SameBits(first[i], again[i]));
      if (op.same_bits_for_any_threads) {
        EXPECT_TRUE(SameBits(first[i], one_thread[i]));
      }
    }
  }
}

TEST_P(OperationsTest, SumOfSquaresIsThatOfDoubles) {
  const auto reference = MakeReferenceBackend();
  for (const int64_t n : {0, 1, 7, 16384, 16385, 100003}) {
    const uint64_t seed = FreshSeed();
    SCOPED_TRACE(std::to_string(n) + " elements, seed " + std::to_string(seed));
    GuardedTensors memory;
    const Tensor x = memory.Uniform({n}, -1.0, 1.0, seed);
    const double sum = cpu_->SumOfSquares(x);
    EXPECT_NEAR(sum, reference->SumOfSquares(x), 1e-12 * static_cast<double>(n));
    EXPECT_EQ(sum, cpu_->SumOfSquares(x));
    EXPECT_EQ(sum, MakeCpuBackend(1)->SumOfSquares(x));
  }
}

TEST(OperationsOnOlderInstructionSets, AgreeWithTheScalarReferenceToo) {
  std::set<std::string> tried = {MakeCpuBackend(1)->fingerprint()};
  for (int64_t targets = hwy::SupportedTargets(); targets != 0; targets &= targets - 1) {
    hwy::SetSupportedTargetsForTest(targets & -targets);
    const auto backend = MakeCpuBackend(1);
    // Instruction sets that are not compiled in fall back on others.
    if (!tried.insert(backend->fingerprint()).second) continue;
    SCOPED_TRACE(backend->fingerprint());
    ExpectAgreement(*backend);
  }
  hwy::SetSupportedTargetsForTest(0);
  EXPECT_EQ(tried.count(MakeCpuBackend(1)->fingerprint()), 1u);
}

INSTANTIATE_TEST_SUITE_P(Threads, OperationsTest, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace wavefield
