#include <algorithm>

#include "core/model/config/model_config.h"

namespace wavefield {
namespace {

constexpr int64_t kFloat = 4;
constexpr int64_t kFieldChunk = 64;                       // tokens between stored field states
constexpr int64_t kLogitsSlice = 8 << 20;                 // elements, core/model/loss.h
constexpr int64_t kMatMulRateMatrices = 3 * 2048 * 2048;  // elements, freed before training
constexpr int64_t kProgram = 96 << 20;                    // bytes: code, libraries, packing buffers

}  // namespace

MemoryEstimate EstimateMemory(const ModelConfig& c, int64_t micro_batch_size,
                              int64_t sequence_length, int threads) {
  const int64_t rows = micro_batch_size * sequence_length;
  const int64_t mixer = 10 * c.d_model + c.n_heads + 2;  // kept per token: core/model/field_mixer.h
  const int64_t block = mixer + 3 * c.d_model + 3 * c.d_ff;
  const int64_t kept = rows * (c.n_layers * block + 4 * c.d_model + 4);
  const int64_t loss = std::min(rows * c.vocab_size, std::max(kLogitsSlice, c.vocab_size));
  const int64_t backward = rows * (c.d_model + std::max(9 * c.d_model + c.n_heads, c.d_ff));

  MemoryEstimate estimate;
  estimate.parameters = ParameterCount(c) * kFloat;
  estimate.gradients = estimate.parameters;
  estimate.optimizer = 2 * estimate.parameters;
  estimate.activations = (kept + std::max(loss, backward)) * kFloat;
  const int64_t chunks = (sequence_length + kFieldChunk - 1) / kFieldChunk;
  const int64_t field_states = threads * chunks * 2 * c.head_dim() * c.head_dim() * kFloat;
  estimate.workspace = kProgram + field_states;
  const int64_t before_training = kMatMulRateMatrices * kFloat;
  estimate.workspace += std::max<int64_t>(0, before_training - estimate.activations);
  return estimate;
}

}  // namespace wavefield
