#include <algorithm>
#include <string>
#include <vector>

#include "core/backend/cuda/limits.h"
#include "core/backend/cuda/workspace.h"
#include "core/backend/matmul_rate.h"
#include "core/backend/planning/cuda_planning_backend.h"
#include "core/backend/planning/planning_backend.h"
#include "core/model/accounting.h"
#include "core/model/model.h"
#include "core/model/optimizer_scratch.h"

namespace wavefield {
namespace {

constexpr int64_t kFloat = 4;
constexpr int64_t kFieldChunk = 64;     // tokens between stored field states
constexpr int64_t kProgram = 64 << 20;  // bytes: code, libraries, packing buffers
// Bytes of a GPU that a process takes before it asks for any: the driver's context, the kernels of
// this program and of cuBLASLt and cuFFT, loaded as they are first used.
constexpr int64_t kCudaContext = 500 << 20;
// What a plan of the operations' scratch memory leaves out: the rounding of its parts to 64 bytes,
// and sums that take a few KiB whatever the model is.
constexpr int64_t kScratchMargin = 1 << 20;
// Of NCCL, where there are peers: for each of at most 32 channels, for the ring and for the tree, a
// buffer of 10 MiB and one of 2 (as it logs them on eight H100, NVIDIA/nccl#1685).
constexpr int64_t kNcclBuffers = int64_t{32 * 2 * (10 + 2)} << 20;
// More than any machine has, and sums of it still fit.
constexpr double kMost = 1e18;

// What decides how much a pass needs: windows in whole pieces.
struct PassShape {
  int64_t batch, piece, pieces;
};

// Bytes.
struct PassNeeds {
  double arena;
  double workspace;  // of the device's operations
  size_t shared;     // of a block
};

// A training pass on a backend that only plans.
double PlanArena(Backend& backend, const ModelConfig& config, const ExecutionOptions& options,
                 const PassShape& shape) {
  ExecutionOptions in_pieces = options;
  in_pieces.sequence_chunk = shape.piece;
  Model model(backend, config, in_pieces);
  const std::vector<int32_t> ids(static_cast<size_t>(shape.batch * shape.piece * shape.pieces), 0);
  model.ZeroGradients();
  model.Forward(shape.batch, ids);
  model.Backward(ids, 1);
  return static_cast<double>(model.arena().peak_bytes());
}

class Planner {
 public:
  Planner(const ModelConfig& config, const ExecutionOptions& options, bool cuda)
      : config_(config), options_(options), cuda_(cuda) {}

  // For shapes of any size, in bounded time: what one more window, piece or token of a long piece
  // takes does not depend on how many there are.
  PassNeeds Plan(const PassShape& shape) const {
    constexpr int64_t kLongPiece = 1 << 16, kManyTokens = 1 << 20;
    const bool many = shape.batch > kManyTokens / shape.piece;
    if (many && shape.batch > 2) return Extend(shape, &PassShape::batch, 1, 2);
    if (shape.pieces > 4) return Extend(shape, &PassShape::pieces, 3, 4);
    if (shape.piece > 2 * kLongPiece) {
      return Extend(shape, &PassShape::piece, kLongPiece, 2 * kLongPiece);
    }
    if (cuda_) {
      CudaPlanningBackend backend;
      const double arena = PlanArena(backend, config_, options_, shape);
      return {arena, static_cast<double>(backend.workspace_bytes()),
              std::max(backend.shared_bytes(), cuda::kEverySharedBytes)};
    }
    PlanningBackend backend;
    return {PlanArena(backend, config_, options_, shape), 0, 0};
  }

 private:
  PassNeeds Extend(const PassShape& shape, int64_t PassShape::*size, int64_t small,
                   int64_t large) const {
    PassShape a = shape, b = shape;
    a.*size = small;
    b.*size = large;
    const PassNeeds first = Plan(a), second = Plan(b);
    const auto steps =
        static_cast<double>(shape.*size - small) / static_cast<double>(large - small);
    // Scratch memory that is bounded by cutting the work may be less for more of it.
    return {first.arena + steps * (second.arena - first.arena),
            std::max({first.workspace, second.workspace,
                      first.workspace + steps * (second.workspace - first.workspace)}),
            second.shared};
  }

  const ModelConfig& config_;
  const ExecutionOptions& options_;
  const bool cuda_;
};

// Of threads that each have the field's states of one head.
double CpuWorkspace(const ModelConfig& config, int64_t piece, int threads) {
  const int64_t chunks = (piece + kFieldChunk - 1) / kFieldChunk;
  return static_cast<double>(kProgram) +
         2.0 * kFloat * threads * static_cast<double>(chunks) *
             static_cast<double>(config.head_dim() * config.head_dim());
}

// What one rank writes of a checkpoint, at most: ranks are dealt whole tensors, the largest first,
// each to the one with the fewest bytes so far, of the model and of the optimizer's state by
// itself.
int64_t SnapshotBytes(const ParameterLayout& layout, const TrainingConfig& training,
                      int64_t world_size) {
  if (!WritesCheckpointsBehind(training)) return 0;
  int64_t largest = 0;
  for (const ParameterInfo& info : layout.parameters()) {
    largest = std::max(largest, info.shape.elements());
  }
  const auto share = [&](int64_t lists) {
    return (lists * layout.elements() + (world_size - 1) * largest) / world_size;
  };
  return (share(1) + share(training.ema_decay > 0 ? 3 : 2)) * kFloat;
}

// Bytes that MeasureMatMulRate() takes before training.
int64_t MatMulRateMatrices(const ExecutionOptions& options, bool cuda) {
  const int64_t size = cuda ? kLargeMatMulRateSize : kMatMulRateSize;
  return 3 * size * size * static_cast<int64_t>(SizeOf(options.activations));
}

}  // namespace

MemoryEstimate EstimateMemory(const ModelConfig& config, const TrainingConfig& training,
                              int threads, const std::string& device, int64_t world_size) {
  const ExecutionOptions options = ExecutionOf(training);
  const bool cuda = device == "cuda";
  const int64_t batch = training.micro_batch_size, tokens = training.sequence_length;
  MemoryEstimate estimate;
  estimate.parameters = ParameterCount(config) * kFloat;
  estimate.gradients = estimate.parameters;
  const ParameterLayout layout(config);
  estimate.optimizer = (training.ema_decay > 0 ? 3 : 2) * estimate.parameters +
                       OptimizerScratchOf(layout, training).floats() * kFloat;
  if (!cuda) estimate.snapshot = SnapshotBytes(layout, training, world_size);
  const int64_t piece =
      options.sequence_chunk > 0 ? std::min(options.sequence_chunk, tokens) : tokens;
  const PassNeeds needs =
      Planner(config, options, cuda)
          .Plan({.batch = batch, .piece = piece, .pieces = (tokens + piece - 1) / piece});
  estimate.activations = static_cast<int64_t>(std::min(needs.arena, kMost));
  estimate.shared = static_cast<int64_t>(needs.shared);
  const int64_t before_training = MatMulRateMatrices(options, cuda) - estimate.total();
  if (cuda) {
    estimate.reserved = static_cast<int64_t>(std::min(needs.workspace, kMost)) + kScratchMargin;
    estimate.workspace = kCudaContext + static_cast<int64_t>(cuda::kGemmWorkspaceBytes) +
                         estimate.reserved + (world_size > 1 ? kNcclBuffers : 0);
  } else {
    estimate.workspace =
        static_cast<int64_t>(std::min(CpuWorkspace(config, piece, threads), kMost));
  }
  estimate.workspace += std::max<int64_t>(0, before_training);
  return estimate;
}

}  // namespace wavefield
