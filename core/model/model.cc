#include "core/model/model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/tensor/host_copy.h"

namespace wavefield {
namespace {

// The piece's share of `windows`, [B · whole window].
std::vector<int32_t> ShareOf(const LayerContext& context, std::span<const int32_t> windows) {
  const int64_t window = static_cast<int64_t>(windows.size()) / context.batch;
  std::vector<int32_t> share;
  share.reserve(static_cast<size_t>(context.rows()));
  for (int64_t b = 0; b < context.batch; ++b) {
    const auto piece = windows.subspan(static_cast<size_t>(b * window + context.position),
                                       static_cast<size_t>(context.tokens));
    share.insert(share.end(), piece.begin(), piece.end());
  }
  return share;
}

double RootMeanSquare(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

bool IsRecomputed(Recompute recompute, const BranchDescription& branch) {
  return recompute == Recompute::kBlock ||
         (recompute == Recompute::kMixer && branch.mixer != nullptr);
}

}  // namespace

Model::Model(Backend& backend, const ModelConfig& config, const ExecutionOptions& options)
    : backend_(backend),
      config_(config),
      options_(options),
      layout_(config),
      arena_(backend),
      parameters_(AllocateFloats(backend, layout_.elements())) {
  Bind();
}

Model::~Model() {
  backend_.Free(parameters_.data);
  backend_.Free(gradients_.data);
}

void Model::Bind() {
  const auto views = [&](Tensor flat, const std::string& prefix) {
    return ParameterViews(layout_, flat, prefix);
  };
  branches_.clear();
  state_sizes_.clear();
  for (const BranchDescription& description : Branches(config_)) {
    Branch branch{
        .description = description,
        .state_size = description.kind->State(config_),
        .first_element =
            layout_.FirstElement(description.norm.empty() ? description.prefix : description.norm),
        .norm = {},
        .layer = description.kind->Make(config_, options_, views(parameters_, description.prefix),
                                        views(gradients_, description.prefix)),
        .recomputed = IsRecomputed(options_.recompute, description)};
    if (!description.norm.empty()) {
      branch.norm.emplace(config_, views(parameters_, description.norm),
                          views(gradients_, description.norm));
    }
    state_sizes_.push_back(branch.state_size);
    branches_.push_back(std::move(branch));
  }
  last_norm_.emplace(config_, views(parameters_, "norm."), views(gradients_, "norm."));
  embedding_ = views(parameters_, "")["embedding.weight"];
  dembedding_ = views(gradients_, "")["embedding.weight"];
}

void Model::Initialize(uint64_t seed) {
  InitializeParameters(layout_, seed, backend_, parameters_);
}

void Model::ZeroGradients() {
  if (gradients_.empty()) {
    gradients_ = AllocateFloats(backend_, layout_.elements());
    Bind();
  }
  backend_.Fill(gradients_, 0);
}

LayerContext Model::Context(int64_t batch, int64_t tokens, int64_t position) {
  return {.backend = backend_,
          .arena = arena_,
          .batch = batch,
          .tokens = tokens,
          .position = position,
          .activations = options_.activations};
}

Tensor Model::Upload(std::span<const int32_t> values) {
  const Tensor tensor = arena_.Allocate({static_cast<int64_t>(values.size())}, DType::kInt32);
  backend_.CopyFromHost(values.data(), tensor);
  return tensor;
}

void Model::Drop(const LayerContext& context, size_t place, Tensor x) {
  // An odd multiplier keeps the places of one key apart.
  const uint64_t key = pass_.dropout_key + (place + 1) * 0x9E3779B97F4A7C15u;
  backend_.Dropout(key, options_.dropout, context.batch, context.position, x);
}

void Model::Embed(const LayerContext& context, Tensor ids, Tensor hidden) {
  backend_.EmbeddingForward(embedding_, ids, hidden);
  if (SkeletonOf(config_) == Skeleton::kClassic) {
    backend_.AddPositions(context.batch, context.position, hidden);
  }
}

Tensor Model::LastNorm(const LayerContext& context, Tensor hidden, Norm::Saved* saved) {
  const Tensor normed = context.Allocate(hidden.shape);
  const Norm::Saved kept = last_norm_->Forward(context, hidden, normed);
  if (saved != nullptr) *saved = kept;
  return normed;
}

// ---- one branch ----

void Model::ForwardBranch(const LayerContext& context, size_t i, const LayerState& state,
                          bool training, Tensor hidden, SavedBranch* saved) {
  const Branch& branch = branches_[i];
  const bool drops = training && options_.dropout > 0;
  Tensor x;
  Norm::Saved norm;
  if (saved != nullptr || !branch.norm) {
    x = context.Allocate(hidden.shape);
    backend_.Copy(hidden, x);
    if (saved != nullptr) saved->input = x;
  }
  if (branch.norm) {
    x = context.Allocate(hidden.shape);
    norm = branch.norm->Forward(context, hidden, x);
  }
  Tensor out = hidden;
  if (drops) {
    out = context.Allocate(hidden.shape);
    backend_.Fill(out, 0);
  }
  auto layer = branch.layer->Forward(context, x, state, out);
  if (drops) {
    Drop(context, i + 1, out);
    backend_.Add(out, hidden);
  }
  if (saved != nullptr) {
    saved->norm = norm;
    saved->layer = std::move(layer);
  }
}

void Model::BackwardBranch(const LayerContext& context, size_t i, const LayerState& before,
                           const LayerState& dstate, SavedBranch& saved, Tensor dhidden) {
  const Branch& branch = branches_[i];
  const ArenaScope scope(arena_);
  if (saved.layer == nullptr) {
    LayerState state = before;
    if (!before.carry.empty()) {
      state.carry = context.AllocateFloats(before.carry.shape);
      backend_.Copy(before.carry, state.carry);
    }
    Tensor x = saved.input;
    if (branch.norm) {
      x = context.Allocate(dhidden.shape);
      saved.norm = branch.norm->Forward(context, saved.input, x);
    }
    const Tensor unused = context.Allocate(dhidden.shape);
    saved.layer = branch.layer->Forward(context, x, state, unused);
  }
  Tensor dout = dhidden;
  if (options_.dropout > 0) {
    dout = context.Allocate(dhidden.shape);
    backend_.Copy(dhidden, dout);
    Drop(context, i + 1, dout);
  }
  const Tensor dx = context.Allocate(dhidden.shape);
  branch.layer->Backward(context, *saved.layer, dout, before, dstate, dx);
  if (branch.norm) {
    branch.norm->Backward(context, saved.norm, saved.input, dx, dhidden, dhidden);
  } else {
    backend_.Add(dx, dhidden);
  }
  saved.layer.reset();
}

// ---- a training pass, in pieces of its windows ----

int64_t Model::PieceOf(int64_t tokens) const {
  return options_.sequence_chunk > 0 ? std::min(options_.sequence_chunk, tokens) : tokens;
}

Tensor Model::UploadPiece(const LayerContext& context, std::span<const int32_t> windows) {
  return Upload(ShareOf(context, windows));
}

LayerContext Model::PieceContext(int64_t piece) {
  const int64_t position = piece * pass_.piece;
  return Context(pass_.batch, std::min(pass_.piece, pass_.tokens - position), position);
}

std::vector<LayerState> Model::States(Tensor carry) const {
  if (pass_.pieces == 1) return std::vector<LayerState>(branches_.size());
  return BindStates(state_sizes_, pass_.batch, pass_.tokens, carry, pass_.history);
}

// `carry` is advanced.
Model::SavedPiece Model::ForwardPiece(int64_t piece, Tensor carry) {
  const LayerContext context = PieceContext(piece);
  const std::vector<LayerState> states = States(carry);
  SavedPiece saved;
  saved.ids = UploadPiece(context, pass_.ids);
  saved.hidden = context.Allocate({context.rows(), config_.d_model});
  Embed(context, saved.ids, saved.hidden);
  if (options_.dropout > 0) Drop(context, 0, saved.hidden);
  for (size_t i = 0; i < branches_.size(); ++i) {
    SavedBranch& branch = saved.branches.emplace_back();
    if (!branches_[i].recomputed) {
      ForwardBranch(context, i, states[i], true, saved.hidden, &branch);
      continue;
    }
    branch.input = context.Allocate(saved.hidden.shape);
    backend_.Copy(saved.hidden, branch.input);
    const ArenaScope scope(arena_);
    ForwardBranch(context, i, states[i], true, saved.hidden, nullptr);
  }
  saved.normed = LastNorm(context, saved.hidden, &saved.norm);
  return saved;
}

// dstates: of the states after the piece; becomes that of the states before it.
LossSums Model::BackwardPiece(int64_t piece, SavedPiece& saved, std::span<const int32_t> targets,
                              float scale, std::span<const LayerState> dstates,
                              const OnGradients& on_gradients) {
  int64_t told = layout_.elements();
  const auto tell = [&](int64_t begin) {
    if (on_gradients) on_gradients(begin, told);
    told = begin;
  };
  const LayerContext context = PieceContext(piece);
  const std::vector<LayerState> before = States(pass_.carries[static_cast<size_t>(piece)]);
  const Tensor dnormed = context.Allocate(saved.normed.shape);
  const LossSums sums =
      TiedLossForwardBackward(context, saved.normed, embedding_, ShareOf(context, targets), scale,
                              dnormed, dembedding_, options_.loss);
  const Tensor dhidden = context.Allocate(saved.normed.shape);
  last_norm_->Backward(context, saved.norm, saved.hidden, dnormed, {}, dhidden);
  tell(layout_.FirstElement("norm."));
  for (size_t i = branches_.size(); i-- > 0;) {
    BackwardBranch(context, i, before[i], dstates[i], saved.branches[i], dhidden);
    tell(branches_[i].first_element);
  }
  if (options_.dropout > 0) Drop(context, 0, dhidden);
  backend_.EmbeddingBackward(saved.ids, dhidden, dembedding_);
  tell(0);
  return sums;
}

void Model::Forward(int64_t batch, std::span<const int32_t> ids, uint64_t dropout_key) {
  arena_.Reset();
  const int64_t tokens = static_cast<int64_t>(ids.size()) / batch;
  WF_CHECK(batch * tokens == static_cast<int64_t>(ids.size()) && tokens > 0);
  const int64_t piece = PieceOf(tokens);
  pass_ = Pass{};
  pass_.batch = batch;
  pass_.tokens = tokens;
  pass_.piece = piece;
  pass_.pieces = (tokens + piece - 1) / piece;
  pass_.dropout_key = dropout_key;
  pass_.ids.assign(ids.begin(), ids.end());
  Tensor carry;
  if (pass_.pieces > 1) {
    const StateSize total = TotalState(state_sizes_);
    carry = arena_.Allocate({batch * total.carry});
    backend_.Fill(carry, 0);
    pass_.history = arena_.Allocate({batch * tokens * total.history});
    pass_.dcarry = arena_.Allocate(carry.shape);
    pass_.dhistory = arena_.Allocate(pass_.history.shape);
    for (int64_t k = 0; k < pass_.pieces; ++k) {
      pass_.carries.push_back(arena_.Allocate(carry.shape));
    }
  } else {
    pass_.carries.emplace_back();
  }
  pass_.mark = arena_.GetMark();
  for (int64_t k = 0; k < pass_.pieces; ++k) {
    if (pass_.pieces > 1) backend_.Copy(carry, pass_.carries[static_cast<size_t>(k)]);
    if (k + 1 == pass_.pieces) {
      pass_.last = ForwardPiece(k, carry);
    } else {
      const ArenaScope scope(arena_);
      const LayerContext context = PieceContext(k);
      Infer(context, UploadPiece(context, pass_.ids), States(carry), true);
    }
  }
}

LossSums Model::Backward(std::span<const int32_t> targets, float scale,
                         const OnGradients& on_gradients) {
  WF_CHECK(pass_.pieces > 0 && !gradients_.empty());
  WF_CHECK(static_cast<int64_t>(targets.size()) == pass_.batch * pass_.tokens);
  if (pass_.pieces == 1) {
    const LossSums sums = BackwardPiece(0, pass_.last, targets, scale, States({}), on_gradients);
    pass_ = Pass{};
    return sums;
  }
  backend_.Fill(pass_.dcarry, 0);
  backend_.Fill(pass_.dhistory, 0);
  const std::vector<LayerState> dstates =
      BindStates(state_sizes_, pass_.batch, pass_.tokens, pass_.dcarry, pass_.dhistory);
  LossSums sums = BackwardPiece(pass_.pieces - 1, pass_.last, targets, scale, dstates, {});
  arena_.Release(pass_.mark);
  for (int64_t k = pass_.pieces - 1; k-- > 0;) {
    const ArenaScope scope(arena_);
    const Tensor carry = arena_.Allocate(pass_.carries[0].shape);
    backend_.Copy(pass_.carries[static_cast<size_t>(k)], carry);
    SavedPiece saved = ForwardPiece(k, carry);
    sums += BackwardPiece(k, saved, targets, scale, dstates, k == 0 ? on_gradients : OnGradients());
  }
  pass_ = Pass{};
  return sums;
}

// ---- passes that keep nothing ----

Tensor Model::Infer(const LayerContext& context, Tensor ids, std::span<const LayerState> states,
                    bool training) {
  const Tensor hidden = context.Allocate({context.rows(), config_.d_model});
  Embed(context, ids, hidden);
  if (training && options_.dropout > 0) Drop(context, 0, hidden);
  for (size_t i = 0; i < branches_.size(); ++i) {
    const ArenaScope scope(arena_);
    ForwardBranch(context, i, states[i], training, hidden, nullptr);
  }
  return LastNorm(context, hidden, nullptr);
}

void Model::InferPieces(int64_t batch, std::span<const int32_t> ids, const OnPiece& on_piece) {
  arena_.Reset();
  const int64_t tokens = static_cast<int64_t>(ids.size()) / batch;
  const int64_t piece = PieceOf(tokens);
  std::vector<LayerState> states(branches_.size());
  if (piece < tokens) {
    const StateSize total = TotalState(state_sizes_);
    const Tensor carry = arena_.Allocate({batch * total.carry});
    backend_.Fill(carry, 0);
    states = BindStates(state_sizes_, batch, tokens, carry,
                        arena_.Allocate({batch * tokens * total.history}));
  }
  for (int64_t begin = 0; begin < tokens; begin += piece) {
    const ArenaScope scope(arena_);
    const LayerContext context = Context(batch, std::min(piece, tokens - begin), begin);
    on_piece(context, Infer(context, UploadPiece(context, ids), states, false));
  }
}

LossSums Model::Evaluate(int64_t batch, std::span<const int32_t> ids,
                         std::span<const int32_t> targets) {
  WF_CHECK(ids.size() == targets.size());
  LossSums sums;
  InferPieces(batch, ids, [&](const LayerContext& context, Tensor normed) {
    sums += TiedLossForward(context, normed, embedding_, ShareOf(context, targets));
  });
  return sums;
}

std::vector<float> Model::Logits(std::span<const int32_t> ids) {
  std::vector<float> host(ids.size() * static_cast<size_t>(config_.vocab_size));
  InferPieces(1, ids, [&](const LayerContext& context, Tensor normed) {
    const Tensor logits = context.AllocateFloats({context.tokens, config_.vocab_size});
    backend_.MatMul(Transpose::kNo, Transpose::kYes, normed, embedding_, 0, logits);
    backend_.CopyToHost(logits, host.data() + context.position * config_.vocab_size);
  });
  return host;
}

std::vector<LayerHealth> Model::Inspect(int64_t batch, std::span<const int32_t> ids) {
  arena_.Reset();
  const LayerContext context = Context(batch, static_cast<int64_t>(ids.size()) / batch, 0);
  const Tensor hidden = context.Allocate({context.rows(), config_.d_model});
  Embed(context, Upload(ids), hidden);
  std::vector<LayerHealth> layers(static_cast<size_t>(config_.n_layers));
  for (size_t i = 0; i < branches_.size(); ++i) {
    const ArenaScope scope(arena_);
    const Branch& branch = branches_[i];
    LayerHealth& layer = layers[static_cast<size_t>(branch.description.layer)];
    SavedBranch saved;
    ForwardBranch(context, i, {}, false, hidden, &saved);
    const std::vector<float> after = ToHost(backend_, hidden);
    if (branch.description.mixer != nullptr) {
      std::vector<float> added = ToHost(backend_, saved.input);
      std::transform(after.begin(), after.end(), added.begin(), added.begin(), std::minus<>());
      layer.mixer_rms = RootMeanSquare(added);
      layer.heads = branch.layer->Health(context, *saved.layer);
    }
    layer.residual_rms = RootMeanSquare(after);
  }
  return layers;
}

std::vector<float> Model::Continue(SequenceState& state, std::span<const int32_t> ids) {
  WF_CHECK(!ids.empty());
  constexpr size_t kPiece = 512;
  state.Reserve(static_cast<int64_t>(ids.size()));
  Tensor normed;
  while (!ids.empty()) {
    const auto piece = ids.first(std::min(kPiece, ids.size()));
    ids = ids.subspan(piece.size());
    arena_.Reset();
    const auto tokens = static_cast<int64_t>(piece.size());
    normed = Infer(Context(1, tokens, state.position()), Upload(piece), state.branches(), false);
    normed = normed.Rows(tokens - 1, tokens);
    state.Advance(tokens);
  }
  const Tensor logits = arena_.Allocate({1, config_.vocab_size});
  backend_.MatMul(Transpose::kNo, Transpose::kYes, normed, embedding_, 0, logits);
  std::vector<float> host(static_cast<size_t>(config_.vocab_size));
  backend_.CopyToHost(logits, host.data());
  return host;
}

}  // namespace wavefield
