// Memory of a device: reserved once, and what is said when there is none left.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/errors.h"
#include "core/model/accounting.h"
#include "core/model/model.h"
#include "core/optim/optimizer.h"
#include "tests/cuda/trained_forms.h"

namespace wavefield {
namespace {

size_t FreeBytes() {
  size_t free = 0, total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  return free;
}

class ReservedMemoryTest : public ::testing::TestWithParam<std::tuple<DType, testing::Form>> {};

TEST_P(ReservedMemoryTest, IsAllThatStepsTake) {
  const auto& [activations, form] = GetParam();
  for (const int64_t piece : {0, 48}) {
    SCOPED_TRACE("pieces of " + std::to_string(piece));
    TrainingConfig training;
    training.sequence_length = 100;
    training.batch_size = training.micro_batch_size = 2;
    training.max_steps = 2;
    training.precision = activations == DType::kBFloat16 ? "bf16" : "fp32";
    training.sequence_chunk = piece;
    if (form.options.propagation) training.propagation = NameOf(*form.options.propagation);
    FillDefaults(training, 1);
    const MemoryEstimate plan = EstimateMemory(form.config, training, 1, "cuda");
    CudaBackend cuda(0);
    Model model(cuda, form.config, ExecutionOf(training));
    Optimizer optimizer(cuda, model.layout(), training);
    model.arena().Reserve(static_cast<size_t>(plan.activations));
    cuda.ReserveWorkspace(static_cast<size_t>(plan.reserved));
    model.ZeroGradients();
    model.Initialize(1);
    const size_t before = FreeBytes();
    const std::vector<int32_t> ids(200, 1);
    for (int64_t step = 1; step <= 2; ++step) {
      model.ZeroGradients();
      model.Forward(2, ids);
      model.Backward(ids, 1.0f / 200);
      EXPECT_EQ(FreeBytes(), before) << "after the passes of step " << step;
      optimizer.Step(step, model.gradients(), model.parameters());
      EXPECT_EQ(FreeBytes(), before) << "after step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, ReservedMemoryTest,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::ValuesIn(testing::TrainedForms())),
                         [](const auto& info) {
                           return std::get<1>(info.param).name + "_" +
                                  NameOf(std::get<0>(info.param));
                         });

TEST(CudaMemory, NoBytesHaveAnAddress) {
  CudaBackend cuda(0);
  void* const data = cuda.Allocate(0);
  EXPECT_NE(data, nullptr);
  cuda.Free(data);
}

TEST(CudaMemoryDeathTest, TooMuchAbortsWithWhatIsNeededAndWhatIsFree) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  CudaBackend cuda(0);
  EXPECT_DEATH(cuda.Allocate(size_t{1} << 45),
               "cudaMalloc of 35184372088832 bytes.*cudaErrorMemoryAllocation.*the device has "
               "[0-9]+ of [0-9]+ MiB free: end what else uses it.*micro_batch_size");
}

TEST(CudaErrorsDeathTest, APlanOfCuFftThatFindsNoMemorySaysWhatIsFree) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(cuda::Check(CUFFT_ALLOC_FAILED, "a plan", __FILE__, __LINE__),
               "a plan.*CUFFT_ALLOC_FAILED.*MiB free");
}

TEST(CudaErrorsDeathTest, AKernelThatStoppedItselfIsExplained) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const cudaError_t error :
       {cudaErrorLaunchFailure, cudaErrorIllegalInstruction, cudaErrorAssert}) {
    EXPECT_DEATH(cuda::Check(error, "a call", __FILE__, __LINE__),
                 "a token id or a target that is not below the model's vocab_size");
  }
}

}  // namespace
}  // namespace wavefield
