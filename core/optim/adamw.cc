#include "core/optim/adamw.h"

#include <cmath>

#include "core/optim/schedule.h"

namespace wavefield {
namespace {

Tensor ZeroMoment(Backend& backend, int64_t elements) {
  Tensor moment{
      backend.Allocate(static_cast<size_t>(elements) * sizeof(float)), DType::kFloat32, {elements}};
  backend.Fill(moment, 0);
  return moment;
}

}  // namespace

AdamWOptimizer::AdamWOptimizer(Backend& backend, const ParameterLayout& layout,
                               const TrainingConfig& config)
    : backend_(backend),
      layout_(layout),
      config_(config),
      m_(ZeroMoment(backend, layout.elements())),
      v_(ZeroMoment(backend, layout.elements())) {}

AdamWOptimizer::~AdamWOptimizer() {
  backend_.Free(m_.data);
  backend_.Free(v_.data);
}

double AdamWOptimizer::Step(int64_t step, Tensor gradients, Tensor parameters) {
  const double norm = std::sqrt(backend_.SumOfSquares(gradients));
  if (!std::isfinite(norm)) return norm;
  AdamWParameters p{};
  p.learning_rate = static_cast<float>(LearningRate(config_, step));
  p.beta1 = static_cast<float>(config_.beta1);
  p.beta2 = static_cast<float>(config_.beta2);
  p.epsilon = static_cast<float>(config_.epsilon);
  p.bias_correction1 = static_cast<float>(1.0 - std::pow(config_.beta1, static_cast<double>(step)));
  p.bias_correction2 = static_cast<float>(1.0 - std::pow(config_.beta2, static_cast<double>(step)));
  const bool clips = config_.clip_grad_norm > 0 && norm > config_.clip_grad_norm;
  p.gradient_scale = clips ? static_cast<float>(config_.clip_grad_norm / norm) : 1.0f;

  // Neighbours with the same weight decay go in one call.
  const auto& infos = layout_.parameters();
  for (size_t first = 0; first < infos.size();) {
    size_t last = first + 1;
    while (last < infos.size() && infos[last].decays == infos[first].decays) ++last;
    const int64_t begin = infos[first].offset;
    const int64_t end = last < infos.size() ? infos[last].offset : layout_.elements();
    p.weight_decay = infos[first].decays ? static_cast<float>(config_.weight_decay) : 0.0f;
    backend_.AdamW(p, gradients.Rows(begin, end), parameters.Rows(begin, end), m_.Rows(begin, end),
                   v_.Rows(begin, end));
    first = last;
  }
  return norm;
}

}  // namespace wavefield
