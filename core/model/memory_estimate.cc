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
constexpr int64_t kProgram = 64 << 20;                    // bytes: code, libraries, packing buffers

// What decides how large the arena of a pass is: windows in whole pieces.
struct PassShape {
  int64_t batch, piece, pieces;
};

// Bytes of the arena of one pass.
double Plan(const ModelConfig& config, const ExecutionOptions& options, const PassShape& shape) {
  PlanningBackend backend;
  ExecutionOptions in_pieces = options;
  in_pieces.sequence_chunk = shape.piece;
  Model model(backend, config, in_pieces);
  const std::vector<int32_t> ids(static_cast<size_t>(shape.batch * shape.piece * shape.pieces), 0);
  model.ZeroGradients();
  model.Forward(shape.batch, ids);
  model.Backward(ids, 1);
  return static_cast<double>(model.arena().peak_bytes());
}

// The same for shapes of any size, in bounded time: what one more window, piece or token of a long
// piece takes does not depend on how many there are.
double PlanAny(const ModelConfig& config, const ExecutionOptions& options, const PassShape& shape) {
  const auto extend = [&](int64_t PassShape::*size, int64_t small, int64_t large) {
    PassShape a = shape, b = shape;
    a.*size = small;
    b.*size = large;
    const double first = PlanAny(config, options, a), second = PlanAny(config, options, b);
    const auto steps =
        static_cast<double>(shape.*size - small) / static_cast<double>(large - small);
    return first + steps * (second - first);
  };
  constexpr int64_t kLongPiece = 1 << 16;
  if (shape.batch > 2) return extend(&PassShape::batch, 1, 2);
  if (shape.pieces > 4) return extend(&PassShape::pieces, 3, 4);
  if (shape.piece > 2 * kLongPiece) return extend(&PassShape::piece, kLongPiece, 2 * kLongPiece);
  return Plan(config, options, shape);
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
  const int64_t piece =
      options.sequence_chunk > 0 ? std::min(options.sequence_chunk, tokens) : tokens;
  const double activations = PlanAny(
      config, options, {.batch = batch, .piece = piece, .pieces = (tokens + piece - 1) / piece});
  // More than any machine has, and sums of it still fit.
  constexpr double kMost = 1e18;
  estimate.activations = static_cast<int64_t>(std::min(activations, kMost));
  const int64_t chunks = (piece + kFieldChunk - 1) / kFieldChunk;
  const double field_states = 2.0 * kFloat * threads * static_cast<double>(chunks) *
                              static_cast<double>(config.head_dim() * config.head_dim());
  estimate.workspace = kProgram + static_cast<int64_t>(std::min(field_states, kMost));
  const int64_t before_training = kMatMulRateMatrices * kFloat;
  estimate.workspace += std::max<int64_t>(0, before_training - estimate.activations);
  return estimate;
}

}  // namespace wavefield
