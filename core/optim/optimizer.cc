#include "core/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/optim/schedule.h"

namespace wavefield {
namespace {

Tensor ZeroState(Backend& backend, int64_t elements) {
  const Tensor state = AllocateFloats(backend, elements);
  backend.Fill(state, 0);
  return state;
}

double Multiplier(ParameterGroup group, const TrainingConfig& config) {
  switch (group) {
    case ParameterGroup::kKernel:
      return config.mixer_lr_multiplier;
    case ParameterGroup::kEmbedding:
      return config.embedding_lr_multiplier;
    case ParameterGroup::kMatrix:
    case ParameterGroup::kVector:
      return 1;
  }
  return 1;
}

}  // namespace

std::vector<Optimizer::Range> Optimizer::Ranges(const ParameterLayout& layout,
                                                const TrainingConfig& config) {
  std::vector<Range> ranges;
  for (const ParameterInfo& info : layout.parameters()) {
    Range range{.begin = info.offset,
                .end = info.offset + info.shape.elements(),
                .layer = LayerOf(info.name),
                .decays = info.decays,
                .multiplier = Multiplier(info.group, config),
                .muon_width = 0};
    if (FollowsMuon(info, config)) {
      range.muon_width = info.shape[1];
      const int64_t size = info.shape.elements() / StackedMatrices(info.name);
      for (; range.begin < info.offset + info.shape.elements(); range.begin += size) {
        range.end = range.begin + size;
        ranges.push_back(range);
      }
      continue;
    }
    Range* last = ranges.empty() ? nullptr : &ranges.back();
    if (last && last->muon_width == 0 && last->layer == range.layer &&
        last->decays == range.decays && last->multiplier == range.multiplier) {
      last->end = range.end;
    } else {
      ranges.push_back(range);
    }
  }
  return ranges;
}

Optimizer::Optimizer(Backend& backend, const ParameterLayout& layout, const TrainingConfig& config)
    : backend_(backend),
      config_(config),
      ranges_(Ranges(layout, config)),
      scratch_(OptimizerScratchOf(layout, config)),
      m_(ZeroState(backend, layout.elements())),
      v_(ZeroState(backend, layout.elements())) {
  if (config.ema_decay > 0) average_ = ZeroState(backend, layout.elements());
  if (scratch_.muon_elements > 0) {
    muon_ = std::make_unique<Muon>(backend, scratch_.muon_elements, scratch_.muon_side);
  }
}

Optimizer::~Optimizer() {
  for (const Tensor& tensor : {m_, v_, average_, before_}) backend_.Free(tensor.data);
}

void Optimizer::BeginAverage(Tensor parameters) {
  if (!average_.empty()) backend_.Copy(parameters, average_);
}

double Optimizer::Step(int64_t step, Tensor gradients, Tensor parameters,
                       std::vector<LayerUpdate>* updates) {
  if (updates) updates->clear();
  const double norm = std::sqrt(backend_.SumOfSquares(gradients));
  if (!std::isfinite(norm)) return norm;
  const bool clips = config_.clip_grad_norm > 0 && norm > config_.clip_grad_norm;
  const float scale = clips ? static_cast<float>(config_.clip_grad_norm / norm) : 1.0f;

  for (size_t first = 0; first < ranges_.size();) {
    size_t last = first + 1;
    while (last < ranges_.size() && ranges_[last].layer == ranges_[first].layer) ++last;
    const auto apply = [&] {
      for (size_t i = first; i < last; ++i) Apply(ranges_[i], step, scale, gradients, parameters);
    };
    if (updates && ranges_[first].layer >= 0) {
      const int64_t begin = ranges_[first].begin, end = ranges_[last - 1].end;
      updates->push_back(Measure(gradients.Rows(begin, end), parameters.Rows(begin, end), apply));
    } else {
      apply();
    }
    first = last;
  }
  Average(step, parameters);
  return norm;
}

LayerUpdate Optimizer::Measure(Tensor gradients, Tensor parameters,
                               absl::FunctionRef<void()> apply) {
  const int64_t elements = parameters.elements();
  if (before_.empty()) before_ = AllocateFloats(backend_, scratch_.layer);
  const Tensor before = before_.Rows(0, elements);
  backend_.Copy(parameters, before);
  const double size = std::sqrt(backend_.SumOfSquares(before));
  apply();
  backend_.Axpby(1, parameters, -1, before);
  const double change = std::sqrt(backend_.SumOfSquares(before));
  const double squares = backend_.SumOfSquares(gradients);
  return {.update_ratio = size > 0 ? change / size : 0,
          .gradient_rms = std::sqrt(squares / static_cast<double>(elements))};
}

void Optimizer::Apply(const Range& range, int64_t step, float gradient_scale, Tensor gradients,
                      Tensor parameters) {
  const auto of = [&](Tensor flat) { return flat.Rows(range.begin, range.end); };
  const double factor = ScheduleFactor(config_, step) * range.multiplier;
  const auto weight_decay = range.decays ? static_cast<float>(config_.weight_decay) : 0.0f;
  if (range.muon_width > 0) {
    const Shape shape{(range.end - range.begin) / range.muon_width, range.muon_width};
    const auto matrix = [&](Tensor flat) { return of(flat).Reshape(shape); };
    muon_->Step({.learning_rate = static_cast<float>(config_.muon_learning_rate * factor),
                 .weight_decay = weight_decay,
                 .gradient_scale = gradient_scale},
                matrix(gradients), matrix(parameters), matrix(m_));
    return;
  }
  const auto t = static_cast<double>(step);
  backend_.AdamW({.learning_rate = static_cast<float>(config_.learning_rate * factor),
                  .beta1 = static_cast<float>(config_.beta1),
                  .beta2 = static_cast<float>(config_.beta2),
                  .epsilon = static_cast<float>(config_.epsilon),
                  .weight_decay = weight_decay,
                  .bias_correction1 = static_cast<float>(1.0 - std::pow(config_.beta1, t)),
                  .bias_correction2 = static_cast<float>(1.0 - std::pow(config_.beta2, t)),
                  .gradient_scale = gradient_scale},
                 of(gradients), of(parameters), of(m_), of(v_));
}

// The average follows faster at first: it is to forget the initial weights.
void Optimizer::Average(int64_t step, Tensor parameters) {
  if (average_.empty()) return;
  const auto t = static_cast<double>(step);
  const double decay = std::min(config_.ema_decay, (1.0 + t) / (10.0 + t));
  backend_.Axpby(static_cast<float>(1.0 - decay), parameters, static_cast<float>(decay), average_);
}

}  // namespace wavefield
