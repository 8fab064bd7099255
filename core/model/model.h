#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/config/model_config.h"
#include "core/model/feed_forward.h"
#include "core/model/field_mixer.h"
#include "core/model/loss.h"
#include "core/model/parameters.h"

namespace wavefield {

// What a sequence leaves behind for its continuation: of a size that does not depend on how long it
// was. Owns its memory.
class SequenceState {
 public:
  SequenceState(Backend& backend, const ModelConfig& config);  // B = 1, the empty past
  ~SequenceState();
  SequenceState(const SequenceState&) = delete;
  SequenceState& operator=(const SequenceState&) = delete;

  const FieldMixer::State& layer(int64_t i) const { return layers_[static_cast<size_t>(i)]; }
  size_t bytes() const { return bytes_; }

 private:
  Backend& backend_;
  void* memory_;
  size_t bytes_;
  std::vector<FieldMixer::State> layers_;
};

// A wave-field language model: parameters, gradients, and passes over batches of tokens. Not
// thread-safe. Token ids are REQUIREd to be in [0, vocab_size).
class Model {
 public:
  // Parameters and gradients are allocated and undefined until Initialize() or a load.
  Model(Backend& backend, const ModelConfig& config);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return layout_; }
  Tensor parameters() const { return parameters_; }  // flat
  Tensor gradients() const { return gradients_; }    // flat; allocated by the first training pass
  Arena& arena() { return arena_; }
  Backend& backend() { return backend_; }

  void Initialize(uint64_t seed);

  // A training pass in two halves, so that they can be timed. ids, targets: [B·T] on the host, row
  // b·T + t; target −1 is not counted. Forward keeps the activations until Backward.
  void Forward(int64_t batch, std::span<const int32_t> ids);
  // gradients += scale · gradient of the summed loss.
  LossSums Backward(std::span<const int32_t> targets, float scale);
  void ZeroGradients();

  // Loss alone; keeps nothing.
  LossSums Evaluate(int64_t batch, std::span<const int32_t> ids, std::span<const int32_t> targets);

  // Feeds `ids`, the continuation of what `state` saw, and returns the logits [V] after the last of
  // them. REQUIRES: ids not empty.
  std::vector<float> Continue(SequenceState& state, std::span<const int32_t> ids);

 private:
  struct LayerParameters {
    Tensor norm1, norm2;
    FieldMixer::Parameters mixer;
    FeedForward::Parameters feed_forward;
  };
  struct SavedLayer {
    Tensor input, inverse_rms1;  // [N, D], [N]: of norm1
    FieldMixer::Saved mixer;
    Tensor middle, inverse_rms2;  // of norm2
    FeedForward::Saved feed_forward;
  };
  struct Pass {
    int64_t batch = 0, tokens = 0;
    Tensor ids;
    std::vector<SavedLayer> layers;
    Tensor hidden, inverse_rms, normed;  // of the last norm
  };

  std::vector<LayerParameters> BindLayers(Tensor flat) const;
  LayerContext Context(int64_t batch, int64_t tokens);
  Tensor UploadIds(std::span<const int32_t> ids);
  SavedLayer ForwardLayer(const LayerContext& context, int64_t i, const FieldMixer::State& state,
                          Tensor hidden);
  void BackwardLayer(const LayerContext& context, int64_t i, const SavedLayer& saved,
                     Tensor dhidden);
  // [N, D] after all layers and the last norm; activations are released as it goes.
  Tensor Infer(const LayerContext& context, Tensor ids, SequenceState* state);

  Backend& backend_;
  ModelConfig config_;
  ParameterLayout layout_;
  Arena arena_;
  Tensor parameters_;
  Tensor gradients_;
  std::vector<LayerParameters> layers_;
  std::vector<LayerParameters> layer_gradients_;
  Pass pass_;
};

}  // namespace wavefield
