#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/model/architecture.h"
#include "core/model/config/execution.h"
#include "core/model/field_health.h"
#include "core/model/loss.h"
#include "core/model/norm.h"
#include "core/model/parameters.h"
#include "core/model/sequence_state.h"

namespace wavefield {

// A language model of any form: parameters, gradients, and passes over batches of tokens. Not
// thread-safe. Token ids are REQUIREd to be in [0, vocab_size).
class Model {
 public:
  // Parameters are allocated and undefined until Initialize() or a load. REQUIRES: valid.
  Model(Backend& backend, const ModelConfig& config, const ExecutionOptions& options = {});
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const { return config_; }
  const ExecutionOptions& options() const { return options_; }
  const ParameterLayout& layout() const { return layout_; }
  Tensor parameters() const { return parameters_; }  // flat
  Tensor gradients() const { return gradients_; }    // flat; allocated by ZeroGradients()
  Arena& arena() { return arena_; }
  Backend& backend() { return backend_; }

  void Initialize(uint64_t seed);

  // A training pass in two halves, so that they can be timed. ids, targets: [B·T] on the host, row
  // b·T + t; target −1 is not counted. Forward keeps what Backward needs. What dropout drops is a
  // function of `dropout_key` and the place.
  void Forward(int64_t batch, std::span<const int32_t> ids, uint64_t dropout_key = 0);
  // gradients += scale · gradient of the summed objective. Returns the sums of the cross entropy.
  // on_gradients is told, while the pass goes on, that it adds no more to elements [begin, end) of
  // gradients() (on a GPU: once the stream has done what it was given so far). The ranges follow
  // each other from the end of the buffer to its start: every element once.
  using OnGradients = std::function<void(int64_t begin, int64_t end)>;
  LossSums Backward(std::span<const int32_t> targets, float scale,
                    const OnGradients& on_gradients = {});
  void ZeroGradients();

  // Loss alone; keeps nothing, drops nothing.
  LossSums Evaluate(int64_t batch, std::span<const int32_t> ids, std::span<const int32_t> targets);

  // The logits [T, V] after every token of one window, as a training pass computes them. For
  // checks: T·V floats are held at once, and those of a piece again.
  std::vector<float> Logits(std::span<const int32_t> ids);

  // How the layers are in an evaluating pass over B windows, ids [B·T]. Holds the activations of
  // one branch at a time, of all B·T rows: for a few thousand of them.
  std::vector<LayerHealth> Inspect(int64_t batch, std::span<const int32_t> ids);

  // Feeds `ids`, the continuation of what `state` saw, and returns the logits [V] after the last of
  // them. REQUIRES: ids not empty.
  std::vector<float> Continue(SequenceState& state, std::span<const int32_t> ids);

 private:
  struct Branch {
    BranchDescription description;
    StateSize state_size;
    int64_t first_element;  // of its parameters in the flat buffers
    std::optional<Norm> norm;
    std::unique_ptr<Layer> layer;
    bool recomputed;
  };
  struct SavedBranch {
    Tensor input;  // [N, D] of the norm
    Norm::Saved norm;
    std::unique_ptr<Layer::Saved> layer;  // null if it is to be computed again
  };
  // What a piece of a training window keeps for its backward pass.
  struct SavedPiece {
    Tensor ids;
    std::vector<SavedBranch> branches;
    Tensor hidden, normed;  // before and after the last norm
    Norm::Saved norm;
  };
  // A training pass between Forward and Backward.
  struct Pass {
    int64_t batch = 0, tokens = 0;  // of the windows
    int64_t piece = 0, pieces = 0;  // tokens of a piece; 1 piece: no state is carried
    uint64_t dropout_key = 0;
    std::vector<int32_t> ids;  // [B·T]
    // Of all branches; without pieces, empty.
    Tensor history, dhistory, dcarry;
    std::vector<Tensor> carries;  // as of the start of each piece
    Arena::Mark mark{};           // of what outlives the last piece
    SavedPiece last;
  };

  void Bind();
  LayerContext Context(int64_t batch, int64_t tokens, int64_t position);
  Tensor Upload(std::span<const int32_t> values);
  int64_t PieceOf(int64_t tokens) const;  // tokens of a piece of such a window
  // The piece's share of `windows`, [B · whole window].
  Tensor UploadPiece(const LayerContext& context, std::span<const int32_t> windows);
  LayerContext PieceContext(int64_t piece);
  std::vector<LayerState> States(Tensor carry) const;

  void Embed(const LayerContext& context, Tensor ids, Tensor hidden);
  void Drop(const LayerContext& context, size_t place, Tensor x);
  Tensor LastNorm(const LayerContext& context, Tensor hidden, Norm::Saved* saved);

  // hidden [N, D] += branch. With `saved`: keeps what BackwardBranch needs.
  void ForwardBranch(const LayerContext& context, size_t i, const LayerState& state, bool training,
                     Tensor hidden, SavedBranch* saved);
  // dhidden [N, D], of the stream after the branch, becomes that of the stream before it.
  void BackwardBranch(const LayerContext& context, size_t i, const LayerState& before,
                      const LayerState& dstate, SavedBranch& saved, Tensor dhidden);
  SavedPiece ForwardPiece(int64_t piece, Tensor carry);
  LossSums BackwardPiece(int64_t piece, SavedPiece& saved, std::span<const int32_t> targets,
                         float scale, std::span<const LayerState> dstates,
                         const OnGradients& on_gradients);
  // Runs windows through the model, piece by piece; `on_piece` gets each piece's Infer().
  using OnPiece = std::function<void(const LayerContext& context, Tensor normed)>;
  void InferPieces(int64_t batch, std::span<const int32_t> ids, const OnPiece& on_piece);
  // [N, D] after all branches and the last norm; activations are released as it goes.
  Tensor Infer(const LayerContext& context, Tensor ids, std::span<const LayerState> states,
               bool training);

  Backend& backend_;
  const ModelConfig config_;
  const ExecutionOptions options_;
  const ParameterLayout layout_;
  Arena arena_;
  Tensor parameters_;
  Tensor gradients_;
  Tensor embedding_, dembedding_;
  std::vector<Branch> branches_;
  std::vector<StateSize> state_sizes_;
  std::optional<Norm> last_norm_;
  Pass pass_;
};

}  // namespace wavefield
