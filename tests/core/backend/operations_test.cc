// Every operation of the fast backend against the scalar reference, on fresh random inputs.

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "hwy/targets.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/core/backend/operation_cases.h"
#include "tests/core/backend/prepared_operands.h"

namespace wavefield {
namespace {

using testing::AllOperationCases;
using testing::CopyAll;
using testing::FreshSeed;
using testing::GuardedTensors;
using testing::OperationCase;
using testing::PrepareOperands;
using testing::RelativeDifference;
using testing::Role;
using testing::SameBits;

// Runs every operation on `backend` and on the reference with the same random inputs.
void ExpectAgreement(Backend& backend) {
  const auto reference = MakeReferenceBackend();
  for (const OperationCase& op : AllOperationCases()) {
    const uint64_t seed = FreshSeed();
    SCOPED_TRACE(op.name + " seed " + std::to_string(seed));
    GuardedTensors reference_memory, memory, original_memory;
    const auto original = PrepareOperands(op, seed, original_memory);
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
    const auto first = PrepareOperands(op, seed, memory1);
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
