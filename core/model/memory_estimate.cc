#include <algorithm>
#include <vector>

#include "core/backend/planning/planning_backend.h"
#include "core/model/accounting.h"
#include "core/model/model.h"

namespace wavefield {
namespace {

constexpr int64_t kFloat = 4;
constexpr int64_t kFieldChunk = 64;                       // tokens between stored field states
constexpr int64_t kMatMulRateMatrices = 3 * 2048 * 2048;  // elements, freed before training
constexpr int64_t kProgram = 96 << 20;                    // bytes: code, libraries, packing buffers

// Bytes of the arena of one pass.
int64_t PlanActivations(const ModelConfig& config, const ExecutionOptions& options, int64_t batch,
                        int64_t tokens) {
  PlanningBackend backend;
  Model model(backend, config, options);
  const std::vector<int32_t> ids(static_cast<size_t>(batch * tokens), 0);
  model.ZeroGradients();
  model.Forward(batch, ids);
  model.Backward(ids, 1);
  return static_cast<int64_t>(model.arena().peak_bytes());
}

}  // namespace

MemoryEstimate EstimateMemory(const ModelConfig& config, const TrainingConfig& training,
                              int threads) {
  const ExecutionOptions options = ExecutionOf(training);
  const int64_t batch = training.micro_batch_size, tokens = training.sequence_length;
  MemoryEstimate estimate;
  estimate.parameters = ParameterCount(config) * kFloat;
  estimate.gradients = estimate.parameters;
  estimate.optimizer = (training.ema_decay > 0 ? 3 : 2) * estimate.parameters;
  // Every window takes as much as the next one: two are enough to know.
  const int64_t one = PlanActivations(config, options, 1, tokens);
  estimate.activations = one;
  if (batch > 1) {
    const int64_t two = PlanActivations(config, options, 2, tokens);
    estimate.activations = two + (batch - 2) * (two - one);
  }
  const int64_t piece =
      options.sequence_chunk > 0 ? std::min(options.sequence_chunk, tokens) : tokens;
  const int64_t chunks = (piece + kFieldChunk - 1) / kFieldChunk;
  const int64_t field_states =
      threads * chunks * 2 * config.head_dim() * config.head_dim() * kFloat;
  estimate.workspace = kProgram + field_states;
  const int64_t before_training = kMatMulRateMatrices * kFloat;
  estimate.workspace += std::max<int64_t>(0, before_training - estimate.activations);
  return estimate;
}

}  // namespace wavefield
