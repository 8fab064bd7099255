#include "core/backend/reference/reference_backend.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/backend/contract.h"
#include "core/backend/reference/formulas.h"
#include "core/base/rng.h"

namespace wavefield {
using reference::Accumulate;
using reference::kNormEpsilon;
using reference::Round;
using reference::Silu;
using reference::SiluDerivative;
std::unique_ptr<Backend> MakeReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

void ReferenceBackend::Fill(Tensor x, float value) { std::fill_n(x.f32(), x.elements(), value); }

void ReferenceBackend::MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b,
                              float beta, Tensor c) {
  const auto size = contract::MatMul(transpose_a, transpose_b, a, b, beta, c);
  const bool ta = transpose_a == Transpose::kYes, tb = transpose_b == Transpose::kYes;
  for (int64_t i = 0; i < size.m; ++i) {
    for (int64_t j = 0; j < size.n; ++j) {
      double sum = beta == 0.0f ? 0.0 : c.f32()[i * size.n + j];
      for (int64_t l = 0; l < size.k; ++l) {
        const double left = a.f32()[ta ? l * size.m + i : i * size.k + l];
        const double right = b.f32()[tb ? j * size.k + l : l * size.n + j];
        sum += left * right;
      }
      c.f32()[i * size.n + j] = Round(sum);
    }
  }
}

void ReferenceBackend::Add(Tensor source, Tensor destination) {
  const int64_t n = contract::Add(source, destination);
  for (int64_t i = 0; i < n; ++i) destination.f32()[i] += source.f32()[i];
}

void ReferenceBackend::EmbeddingForward(Tensor table, Tensor ids, Tensor y) {
  const auto size = contract::Embedding(ids, y, table);
  contract::RequireIds(ids, size.vocabulary);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t i = 0; i < size.width; ++i) {
      y.f32()[n * size.width + i] = table.f32()[ids.i32()[n] * size.width + i];
    }
  }
}

void ReferenceBackend::EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) {
  const auto size = contract::Embedding(ids, dy, dtable);
  contract::RequireIds(ids, size.vocabulary);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t i = 0; i < size.width; ++i) {
      dtable.f32()[ids.i32()[n] * size.width + i] += dy.f32()[n * size.width + i];
    }
  }
}

void ReferenceBackend::RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) {
  const auto size = contract::RmsNormForward(x, weight, y, inverse_rms);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* row = x.f32() + n * size.width;
    double squares = 0.0;
    for (int64_t i = 0; i < size.width; ++i) squares += static_cast<double>(row[i]) * row[i];
    const double r = 1.0 / std::sqrt(squares / static_cast<double>(size.width) + kNormEpsilon);
    inverse_rms.f32()[n] = Round(r);
    for (int64_t i = 0; i < size.width; ++i) {
      y.f32()[n * size.width + i] = Round(row[i] * r * weight.f32()[i]);
    }
  }
}

void ReferenceBackend::RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy,
                                       Tensor residual, Tensor dx, Tensor dweight) {
  const auto size = contract::RmsNormBackward(x, weight, inverse_rms, dy, residual, dx, dweight);
  std::vector<double> weight_sum(size.width, 0.0);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* row = x.f32() + n * size.width;
    const float* dout = dy.f32() + n * size.width;
    const double r = inverse_rms.f32()[n];
    double dot = 0.0;
    for (int64_t i = 0; i < size.width; ++i) {
      dot += static_cast<double>(dout[i]) * weight.f32()[i] * row[i];
      weight_sum[i] += dout[i] * r * row[i];
    }
    const double pull = r * r * r * dot / static_cast<double>(size.width);
    for (int64_t i = 0; i < size.width; ++i) {
      const int64_t at = n * size.width + i;
      const double base = residual.empty() ? 0.0 : residual.f32()[at];
      dx.f32()[at] = Round(base + r * weight.f32()[i] * dout[i] - pull * row[i]);
    }
  }
  for (int64_t i = 0; i < size.width; ++i) Accumulate(dweight.f32()[i], weight_sum[i]);
}

void ReferenceBackend::SwiGluForward(Tensor gate_up, Tensor y) {
  const auto size = contract::SwiGlu(gate_up, y);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* gate = gate_up.f32() + n * 2 * size.width;
    const float* up = gate + size.width;
    for (int64_t i = 0; i < size.width; ++i) {
      y.f32()[n * size.width + i] = Round(Silu(gate[i]) * up[i]);
    }
  }
}

void ReferenceBackend::SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) {
  const auto size = contract::SwiGluBackward(gate_up, dy, dgate_up);
  for (int64_t n = 0; n < size.rows; ++n) {
    for (int64_t i = 0; i < size.width; ++i) {
      const int64_t gate_at = n * 2 * size.width + i, up_at = gate_at + size.width;
      const double gate = gate_up.f32()[gate_at], up = gate_up.f32()[up_at];
      const double dout = dy.f32()[n * size.width + i];
      dgate_up.f32()[gate_at] = Round(dout * up * SiluDerivative(gate));
      dgate_up.f32()[up_at] = Round(dout * Silu(gate));
    }
  }
}

void ReferenceBackend::CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                                           Tensor row_correct) {
  const auto size = contract::CrossEntropy(logits, targets, row_loss, row_correct);
  contract::RequireTargets(targets, size.width);
  for (int64_t n = 0; n < size.rows; ++n) {
    const float* row = logits.f32() + n * size.width;
    const int32_t target = targets.i32()[n];
    row_loss.f32()[n] = 0.0f;
    row_correct.i32()[n] = 0;
    if (target < 0) continue;
    const float* largest = std::max_element(row, row + size.width);
    double sum = 0.0;
    for (int64_t i = 0; i < size.width; ++i)
      sum += std::exp(static_cast<double>(row[i]) - *largest);
    row_loss.f32()[n] = Round(std::log(sum) + *largest - row[target]);
    row_correct.i32()[n] = largest - row == target ? 1 : 0;
  }
}

void ReferenceBackend::CrossEntropyForwardBackward(const LossOptions& options, float scale,
                                                   Tensor logits, Tensor targets, Tensor row_loss,
                                                   Tensor row_correct) {
  CrossEntropyForward(logits, targets, row_loss, row_correct);
  const int64_t width = logits.shape[1];
  for (int64_t n = 0; n < logits.shape[0]; ++n) {
    float* row = logits.f32() + n * width;
    const int32_t target = targets.i32()[n];
    const double largest = *std::max_element(row, row + width);
    double sum = 0.0;
    for (int64_t i = 0; i < width; ++i) sum += std::exp(row[i] - largest);
    const double log_sum = std::log(sum) + largest;
    for (int64_t i = 0; i < width; ++i) {
      const double probability = std::exp(row[i] - largest) / sum;
      const double wanted = (i == target ? 1.0 - options.label_smoothing : 0.0) +
                            options.label_smoothing / static_cast<double>(width);
      const double of_z_loss = 2.0 * options.z_loss * log_sum * probability;
      row[i] = target < 0 ? 0.0f : Round(scale * (probability - wanted + of_z_loss));
    }
  }
}

void ReferenceBackend::Dropout(uint64_t key, float rate, int64_t batch, int64_t position,
                               Tensor x) {
  const auto size = contract::Dropout(rate, batch, position, x);
  const int64_t width = x.shape[1];
  const std::array<uint32_t, 2> halves = {static_cast<uint32_t>(key),
                                          static_cast<uint32_t>(key >> 32)};
  for (int64_t n = 0; n < batch * size.tokens; ++n) {
    const auto b = static_cast<uint32_t>(n / size.tokens);
    const auto token = static_cast<uint64_t>(position + n % size.tokens);
    for (int64_t c = 0; c < width; ++c) {
      const auto words = Philox({static_cast<uint32_t>(c / 4), static_cast<uint32_t>(token),
                                 static_cast<uint32_t>(token >> 32), b},
                                halves);
      float& value = x.f32()[n * width + c];
      const bool drop = words[static_cast<size_t>(c % 4)] < contract::DropoutThreshold(rate);
      value = drop ? 0.0f : Round(value / (1.0 - static_cast<double>(rate)));
    }
  }
}

void ReferenceBackend::Axpby(float a, Tensor x, float b, Tensor y) {
  const int64_t n = contract::Axpby(x, y);
  for (int64_t i = 0; i < n; ++i) {
    const double kept = static_cast<double>(b) * y.f32()[i];
    y.f32()[i] = Round(static_cast<double>(a) * x.f32()[i] + kept);
  }
}

double ReferenceBackend::SumOfSquares(Tensor x) {
  const int64_t n = contract::SumOfSquares(x);
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x.f32()[i]) * x.f32()[i];
  return sum;
}

void ReferenceBackend::AdamW(const AdamWParameters& parameters, Tensor gradient, Tensor parameter,
                             Tensor m, Tensor v) {
  const int64_t n = contract::AdamW(gradient, parameter, m, v);
  const double beta1 = parameters.beta1, beta2 = parameters.beta2;
  for (int64_t i = 0; i < n; ++i) {
    const double g = static_cast<double>(gradient.f32()[i]) * parameters.gradient_scale;
    const double first = beta1 * m.f32()[i] + (1.0 - beta1) * g;
    const double second = beta2 * v.f32()[i] + (1.0 - beta2) * g * g;
    const double p = parameter.f32()[i];
    const double direction = first / parameters.bias_correction1 /
                             (std::sqrt(second / parameters.bias_correction2) + parameters.epsilon);
    m.f32()[i] = Round(first);
    v.f32()[i] = Round(second);
    parameter.f32()[i] =
        Round(p - parameters.learning_rate * (direction + parameters.weight_decay * p));
  }
}

}  // namespace wavefield
