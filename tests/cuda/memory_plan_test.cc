// What a training pass takes of a GPU's memory, beside its plan.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <tuple>
#include <vector>

#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/planning/cuda_planning_backend.h"
#include "core/model/model.h"
#include "tests/cuda/trained_forms.h"

namespace wavefield {
namespace {

constexpr int64_t kBatch = 2, kTokens = 200;
// Sums over rows are planned for the most blocks that rows are cut into: 512 of the widest rows.
constexpr size_t kSumsOverRows = 512 * 4 * 32 * sizeof(float);
// The arena rounds the parts of an operation's memory to 64 bytes; EstimateMemory() has a margin.
constexpr size_t kRounding = 16 * 64;

struct Bytes {
  size_t arena, workspace;
};

size_t WorkspaceOf(const CudaBackend& backend) { return backend.workspace_peak(); }
size_t WorkspaceOf(const CudaPlanningBackend& backend) { return backend.workspace_bytes(); }

template <typename AnyBackend>
Bytes Train(AnyBackend& backend, const ModelConfig& config, const ExecutionOptions& options) {
  Model model(backend, config, options);
  model.Initialize(1);
  model.ZeroGradients();
  const std::vector<int32_t> ids(kBatch * kTokens, 1);
  model.Forward(kBatch, ids);
  model.Backward(ids, 1);
  return {model.arena().peak_bytes(), WorkspaceOf(backend)};
}

class CudaMemoryPlanTest : public ::testing::TestWithParam<std::tuple<DType, testing::Form>> {};

TEST_P(CudaMemoryPlanTest, IsWhatAPassTakesOrLittleMore) {
  const auto& [activations, form] = GetParam();
  for (const int64_t piece : {0, 80}) {
    SCOPED_TRACE("pieces of " + std::to_string(piece));
    ExecutionOptions options = form.options;
    options.activations = activations;
    options.sequence_chunk = piece;
    CudaPlanningBackend planning;
    CudaBackend cuda(0);
    const Bytes plan = Train(planning, form.config, options);
    const Bytes actual = Train(cuda, form.config, options);
    std::printf("arena %zu of %zu, workspace %zu of %zu\n", actual.arena, plan.arena,
                actual.workspace, plan.workspace);
    EXPECT_EQ(actual.arena, plan.arena);
    EXPECT_LE(actual.workspace, plan.workspace + kRounding);
    EXPECT_LE(plan.workspace, actual.workspace + actual.workspace * 3 / 10 + kSumsOverRows);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, CudaMemoryPlanTest,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::ValuesIn(testing::TrainedForms())),
                         [](const auto& info) {
                           return std::get<1>(info.param).name + "_" +
                                  NameOf(std::get<0>(info.param));
                         });

}  // namespace
}  // namespace wavefield
