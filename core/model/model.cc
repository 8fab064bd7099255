#include "core/model/model.h"

#include <fmt/format.h>

namespace wavefield {
namespace {

Tensor AllocateFlat(Backend& backend, int64_t elements) {
  return {
      backend.Allocate(static_cast<size_t>(elements) * sizeof(float)), DType::kFloat32, {elements}};
}

}  // namespace

SequenceState::SequenceState(Backend& backend, const ModelConfig& c) : backend_(backend) {
  const int64_t conv = (c.conv_width - 1) * 3 * c.d_model;
  const int64_t field = c.n_heads * 2 * c.head_dim() * c.head_dim();
  const Tensor flat = AllocateFlat(backend, c.n_layers * (conv + field));
  backend.Fill(flat, 0);
  memory_ = flat.data;
  bytes_ = flat.bytes();
  for (int64_t i = 0; i < c.n_layers; ++i) {
    float* start = flat.f32() + i * (conv + field);
    layers_.push_back(
        {.conv = {conv > 0 ? start : nullptr,
                  DType::kFloat32,
                  {1, c.conv_width - 1, 3 * c.d_model}},
         .field = {start + conv, DType::kFloat32, {c.n_heads, 2, c.head_dim(), c.head_dim()}}});
  }
}

SequenceState::~SequenceState() { backend_.Free(memory_); }

Model::Model(Backend& backend, const ModelConfig& config)
    : backend_(backend),
      config_(config),
      layout_(config),
      arena_(backend),
      parameters_(AllocateFlat(backend, layout_.elements())),
      layers_(BindLayers(parameters_)) {}

Model::~Model() {
  backend_.Free(parameters_.data);
  if (!gradients_.empty()) backend_.Free(gradients_.data);
}

std::vector<Model::LayerParameters> Model::BindLayers(Tensor flat) const {
  std::vector<LayerParameters> layers;
  for (int64_t i = 0; i < config_.n_layers; ++i) {
    const std::string prefix = fmt::format("layers.{}.", i);
    layers.push_back({.norm1 = layout_.View(flat, prefix + "norm1.weight"),
                      .norm2 = layout_.View(flat, prefix + "norm2.weight"),
                      .mixer = FieldMixer::Bind(layout_, flat, prefix + "mixer."),
                      .feed_forward = FeedForward::Bind(layout_, flat, prefix + "ffn.")});
  }
  return layers;
}

void Model::Initialize(uint64_t seed) {
  InitializeParameters(config_, layout_, seed, backend_, parameters_);
}

void Model::ZeroGradients() {
  if (gradients_.empty()) {
    gradients_ = AllocateFlat(backend_, layout_.elements());
    layer_gradients_ = BindLayers(gradients_);
  }
  backend_.Fill(gradients_, 0);
}

LayerContext Model::Context(int64_t batch, int64_t tokens) {
  return {.backend = backend_, .arena = arena_, .batch = batch, .tokens = tokens};
}

Tensor Model::UploadIds(std::span<const int32_t> ids) {
  const Tensor tensor = arena_.Allocate({static_cast<int64_t>(ids.size())}, DType::kInt32);
  backend_.CopyFromHost(ids.data(), tensor);
  return tensor;
}

Model::SavedLayer Model::ForwardLayer(const LayerContext& context, int64_t i,
                                      const FieldMixer::State& state, Tensor hidden) {
  const LayerParameters& p = layers_[static_cast<size_t>(i)];
  const int64_t n = context.rows();
  const auto keep_copy = [&] {
    const Tensor copy = context.Allocate(hidden.shape);
    backend_.Copy(hidden, copy);
    return copy;
  };
  SavedLayer saved;
  saved.input = keep_copy();
  saved.inverse_rms1 = context.Allocate({n});
  const Tensor x1 = context.Allocate(hidden.shape);
  backend_.RmsNormForward(hidden, p.norm1, x1, saved.inverse_rms1);
  saved.mixer = FieldMixer::Forward(context, p.mixer, x1, state, hidden);

  saved.middle = keep_copy();
  saved.inverse_rms2 = context.Allocate({n});
  const Tensor x2 = context.Allocate(hidden.shape);
  backend_.RmsNormForward(hidden, p.norm2, x2, saved.inverse_rms2);
  saved.feed_forward = FeedForward::Forward(context, p.feed_forward, x2, hidden);
  return saved;
}

void Model::BackwardLayer(const LayerContext& context, int64_t i, const SavedLayer& saved,
                          Tensor dhidden) {
  const LayerParameters& p = layers_[static_cast<size_t>(i)];
  const LayerParameters& g = layer_gradients_[static_cast<size_t>(i)];
  const ArenaScope scope(arena_);
  const Tensor dx = context.Allocate(dhidden.shape);
  FeedForward::Backward(context, p.feed_forward, saved.feed_forward, dhidden, dx, g.feed_forward);
  backend_.RmsNormBackward(saved.middle, p.norm2, saved.inverse_rms2, dx, dhidden, dhidden,
                           g.norm2);
  FieldMixer::Backward(context, p.mixer, saved.mixer, dhidden, dx, g.mixer);
  backend_.RmsNormBackward(saved.input, p.norm1, saved.inverse_rms1, dx, dhidden, dhidden, g.norm1);
}

void Model::Forward(int64_t batch, std::span<const int32_t> ids) {
  arena_.Reset();
  pass_ = Pass{};
  pass_.batch = batch;
  pass_.tokens = static_cast<int64_t>(ids.size()) / batch;
  WF_CHECK(pass_.batch * pass_.tokens == static_cast<int64_t>(ids.size()));
  const LayerContext context = Context(batch, pass_.tokens);
  const int64_t n = context.rows();
  pass_.ids = UploadIds(ids);
  pass_.hidden = context.Allocate({n, config_.d_model});
  backend_.EmbeddingForward(layout_.View(parameters_, "embedding.weight"), pass_.ids, pass_.hidden);
  for (int64_t i = 0; i < config_.n_layers; ++i) {
    pass_.layers.push_back(ForwardLayer(context, i, {}, pass_.hidden));
  }
  pass_.inverse_rms = context.Allocate({n});
  pass_.normed = context.Allocate({n, config_.d_model});
  backend_.RmsNormForward(pass_.hidden, layout_.View(parameters_, "norm.weight"), pass_.normed,
                          pass_.inverse_rms);
}

LossSums Model::Backward(std::span<const int32_t> targets, float scale) {
  WF_CHECK(!pass_.layers.empty() && !gradients_.empty());
  WF_CHECK(static_cast<int64_t>(targets.size()) == pass_.batch * pass_.tokens);
  const LayerContext context = Context(pass_.batch, pass_.tokens);
  const Tensor embedding = layout_.View(parameters_, "embedding.weight");
  const Tensor dembedding = layout_.View(gradients_, "embedding.weight");
  const Tensor dnormed = context.Allocate(pass_.normed.shape);
  const LossSums sums = TiedLossForwardBackward(context, pass_.normed, embedding,
                                                UploadIds(targets), scale, dnormed, dembedding);
  const Tensor dhidden = context.Allocate(pass_.normed.shape);
  backend_.RmsNormBackward(pass_.hidden, layout_.View(parameters_, "norm.weight"),
                           pass_.inverse_rms, dnormed, {}, dhidden,
                           layout_.View(gradients_, "norm.weight"));
  for (int64_t i = config_.n_layers - 1; i >= 0; --i) {
    BackwardLayer(context, i, pass_.layers[static_cast<size_t>(i)], dhidden);
  }
  backend_.EmbeddingBackward(pass_.ids, dhidden, dembedding);
  pass_.layers.clear();
  return sums;
}

Tensor Model::Infer(const LayerContext& context, Tensor ids, SequenceState* state) {
  const int64_t n = context.rows();
  const Tensor hidden = context.Allocate({n, config_.d_model});
  backend_.EmbeddingForward(layout_.View(parameters_, "embedding.weight"), ids, hidden);
  for (int64_t i = 0; i < config_.n_layers; ++i) {
    const ArenaScope scope(arena_);
    ForwardLayer(context, i, state ? state->layer(i) : FieldMixer::State{}, hidden);
  }
  const Tensor normed = context.Allocate({n, config_.d_model});
  backend_.RmsNormForward(hidden, layout_.View(parameters_, "norm.weight"), normed,
                          context.Allocate({n}));
  return normed;
}

LossSums Model::Evaluate(int64_t batch, std::span<const int32_t> ids,
                         std::span<const int32_t> targets) {
  WF_CHECK(ids.size() == targets.size());
  arena_.Reset();
  const LayerContext context = Context(batch, static_cast<int64_t>(ids.size()) / batch);
  const Tensor normed = Infer(context, UploadIds(ids), nullptr);
  return TiedLossForward(context, normed, layout_.View(parameters_, "embedding.weight"),
                         UploadIds(targets));
}

std::vector<float> Model::Continue(SequenceState& state, std::span<const int32_t> ids) {
  WF_CHECK(!ids.empty());
  constexpr size_t kPiece = 512;
  while (ids.size() > kPiece) {
    arena_.Reset();
    Infer(Context(1, kPiece), UploadIds(ids.first(kPiece)), &state);
    ids = ids.subspan(kPiece);
  }
  arena_.Reset();
  const auto tokens = static_cast<int64_t>(ids.size());
  const LayerContext context = Context(1, tokens);
  const Tensor normed = Infer(context, UploadIds(ids), &state);
  const Tensor logits = context.Allocate({1, config_.vocab_size});
  backend_.MatMul(Transpose::kNo, Transpose::kYes, normed.Rows(tokens - 1, tokens),
                  layout_.View(parameters_, "embedding.weight"), 0, logits);
  std::vector<float> host(static_cast<size_t>(config_.vocab_size));
  backend_.CopyToHost(logits, host.data());
  return host;
}

}  // namespace wavefield
