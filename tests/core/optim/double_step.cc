#include "tests/core/optim/double_step.h"

#include <algorithm>
#include <cmath>

namespace wavefield::testing {
namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix Zeros(size_t rows, size_t cols) { return Matrix(rows, std::vector<double>(cols)); }

Matrix Product(const Matrix& a, const Matrix& b) {
  Matrix c = Zeros(a.size(), b[0].size());
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t l = 0; l < b.size(); ++l) {
      for (size_t j = 0; j < b[0].size(); ++j) c[i][j] += a[i][l] * b[l][j];
    }
  }
  return c;
}

Matrix Transposed(const Matrix& a) {
  Matrix t = Zeros(a[0].size(), a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a[0].size(); ++j) t[j][i] = a[i][j];
  }
  return t;
}

// x ↦ 3.4445 x − 4.7750 (x xᵀ) x + 2.0315 (x xᵀ)² x, five times.
Matrix NewtonSchulz(Matrix x) {
  double squares = 0;
  for (const auto& row : x) {
    for (const double value : row) squares += value * value;
  }
  for (auto& row : x) {
    for (double& value : row) value /= std::sqrt(squares) + 1e-7;
  }
  for (int i = 0; i < 5; ++i) {
    const Matrix gram = Product(x, Transposed(x));
    const Matrix once = Product(gram, x), twice = Product(gram, once);
    for (size_t r = 0; r < x.size(); ++r) {
      for (size_t c = 0; c < x[0].size(); ++c) {
        x[r][c] = 3.4445 * x[r][c] - 4.7750 * once[r][c] + 2.0315 * twice[r][c];
      }
    }
  }
  return x;
}

}  // namespace

DoubleStep::DoubleStep(const ParameterLayout& layout, const TrainingConfig& config,
                       const std::vector<float>& parameters)
    : layout_(layout),
      config_(config),
      p_(parameters.begin(), parameters.end()),
      m_(parameters.size()),
      v_(parameters.size()),
      average_(p_) {}

double DoubleStep::Step(int64_t step, double schedule_factor, const std::vector<float>& gradients) {
  double squares = 0;
  for (const float g : gradients) squares += static_cast<double>(g) * g;
  const double norm = std::sqrt(squares), limit = config_.clip_grad_norm;
  const double scale = limit > 0 ? std::min(1.0, limit / norm) : 1.0;
  for (const ParameterInfo& info : layout_.parameters()) {
    if (config_.optimizer == "muon" && info.group == ParameterGroup::kMatrix) {
      const bool stacked = info.name.find("qkvg") != std::string::npos;
      const int64_t rows = info.shape[0] / (stacked ? 4 : 1), cols = info.shape[1];
      for (int64_t row = 0; row < info.shape[0]; row += rows) {
        Muon(info.offset + row * cols, rows, cols, schedule_factor * config_.muon_learning_rate,
             scale, gradients);
      }
    } else {
      const double multiplier = info.group == ParameterGroup::kKernel ? config_.mixer_lr_multiplier
                                : info.group == ParameterGroup::kEmbedding
                                    ? config_.embedding_lr_multiplier
                                    : 1;
      AdamW(info, step, multiplier * schedule_factor * config_.learning_rate, scale, gradients);
    }
  }
  const auto t = static_cast<double>(step);
  const double decay = std::min(config_.ema_decay, (1 + t) / (10 + t));
  for (size_t i = 0; i < p_.size(); ++i) average_[i] = decay * average_[i] + (1 - decay) * p_[i];
  return norm;
}

void DoubleStep::AdamW(const ParameterInfo& info, int64_t step, double rate, double scale,
                       const std::vector<float>& gradients) {
  const auto t = static_cast<double>(step);
  const auto begin = static_cast<size_t>(info.offset);
  for (size_t i = begin; i < begin + static_cast<size_t>(info.shape.elements()); ++i) {
    const double g = scale * gradients[i];
    m_[i] = config_.beta1 * m_[i] + (1 - config_.beta1) * g;
    v_[i] = config_.beta2 * v_[i] + (1 - config_.beta2) * g * g;
    const double m_hat = m_[i] / (1 - std::pow(config_.beta1, t));
    const double v_hat = v_[i] / (1 - std::pow(config_.beta2, t));
    p_[i] -= rate * (m_hat / (std::sqrt(v_hat) + config_.epsilon) +
                     (info.decays ? config_.weight_decay : 0.0) * p_[i]);
  }
}

void DoubleStep::Muon(int64_t begin, int64_t rows, int64_t cols, double rate, double scale,
                      const std::vector<float>& gradients) {
  Matrix u = Zeros(static_cast<size_t>(rows), static_cast<size_t>(cols));
  size_t i = static_cast<size_t>(begin);
  for (auto& row : u) {
    for (double& value : row) {
      const double g = scale * gradients[i];
      m_[i] = 0.95 * m_[i] + 0.05 * g;
      value = 0.95 * m_[i++] + 0.05 * g;
    }
  }
  const Matrix direction = NewtonSchulz(std::move(u));
  const double ratio = static_cast<double>(rows) / static_cast<double>(cols);
  i = static_cast<size_t>(begin);
  for (const auto& row : direction) {
    for (const double value : row) {
      p_[i] = (1 - rate * config_.weight_decay) * p_[i] -
              rate * std::sqrt(std::max(1.0, ratio)) * value;
      ++i;
    }
  }
}

}  // namespace wavefield::testing
