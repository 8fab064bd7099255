// Rotary positions and causal softmax attention.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/backend/contract.h"
#include "core/backend/reference/formulas.h"
#include "core/backend/reference/reference_backend.h"

namespace wavefield {

using reference::Round;

namespace {

// One head of one sequence. Queries are counted from the piece's start, keys from the sequence's.
struct Head {
  const contract::AttentionSizes& size;
  int64_t position;
  int64_t sequence, head;

  int64_t Row(int64_t t) const { return sequence * size.tokens + t; }
  // part: 0 q, 1 k, 2 v.
  float* Part(const Tensor& qkv, int64_t t, int64_t part) const {
    return qkv.f32() + Row(t) * 3 * size.width() + part * size.width() + head * size.head_width;
  }
  // part: 1 k, 2 v.
  float* Past(const Tensor& history, int64_t s, int64_t part) const {
    return history.f32() + (sequence * size.capacity + s) * 2 * size.width() +
           (part - 1) * size.width() + head * size.head_width;
  }
  const float* Key(const Tensor& qkv, const Tensor& history, int64_t s, int64_t part) const {
    return history.empty() ? Part(qkv, s, part) : Past(history, s, part);
  }
  float* Output(const Tensor& y, int64_t t) const {
    return y.f32() + Row(t) * size.width() + head * size.head_width;
  }
  float& LogSum(const Tensor& log_sum, int64_t t) const {
    return log_sum.f32()[Row(t) * size.heads + head];
  }
  double Dot(const float* a, const float* b) const {
    double sum = 0.0;
    for (int64_t c = 0; c < size.head_width; ++c) sum += static_cast<double>(a[c]) * b[c];
    return sum;
  }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(size.head_width)); }
};

void AppendHistory(const Head& head, const Tensor& qkv, const Tensor& history) {
  for (int64_t t = 0; t < head.size.tokens; ++t) {
    for (const int64_t part : {1, 2}) {
      std::copy_n(head.Part(qkv, t, part), head.size.head_width,
                  head.Past(history, head.position + t, part));
    }
  }
}

}  // namespace

void ReferenceBackend::Rotary(int64_t batch, int64_t heads, int64_t position, bool inverse,
                              Tensor qkv) {
  const auto size = contract::Rotary(batch, heads, position, qkv);
  const int64_t d = size.head_width;
  for (int64_t row = 0; row < batch * size.tokens; ++row) {
    const auto token = static_cast<double>(position + row % size.tokens);
    for (int64_t at = 0; at < 2 * size.width(); at += 2) {
      const double angle =
          token * std::pow(10000.0, -static_cast<double>(at % d) / static_cast<double>(d));
      const double cosine = std::cos(angle), sine = inverse ? -std::sin(angle) : std::sin(angle);
      float* pair = qkv.f32() + row * 3 * size.width() + at;
      const double x = pair[0], y = pair[1];
      pair[0] = Round(cosine * x - sine * y);
      pair[1] = Round(sine * x + cosine * y);
    }
  }
}

void ReferenceBackend::AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                        Tensor history, Tensor y, Tensor log_sum) {
  const auto size = contract::AttentionForward(batch, heads, position, qkv, history, y, log_sum);
  for (int64_t item = 0; item < batch * heads; ++item) {
    const Head head{size, position, item / heads, item % heads};
    if (!history.empty()) AppendHistory(head, qkv, history);
    for (int64_t t = 0; t < size.tokens; ++t) {
      std::vector<double> scores(position + t + 1), out(size.head_width, 0.0);
      for (size_t s = 0; s < scores.size(); ++s) {
        scores[s] = head.scale() * head.Dot(head.Part(qkv, t, 0), head.Key(qkv, history, s, 1));
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      double sum = 0.0;
      for (size_t s = 0; s < scores.size(); ++s) {
        const double weight = std::exp(scores[s] - largest);
        const float* v = head.Key(qkv, history, s, 2);
        sum += weight;
        for (int64_t c = 0; c < size.head_width; ++c) out[c] += weight * v[c];
      }
      for (int64_t c = 0; c < size.head_width; ++c) head.Output(y, t)[c] = Round(out[c] / sum);
      head.LogSum(log_sum, t) = Round(largest + std::log(sum));
    }
  }
}

void ReferenceBackend::AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                         Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                         Tensor dhistory, Tensor dqkv) {
  const auto size = contract::AttentionBackward(batch, heads, position, qkv, history, y, log_sum,
                                                dy, dhistory, dqkv);
  const int64_t d = size.head_width, keys = position + size.tokens;
  for (int64_t item = 0; item < batch * heads; ++item) {
    const Head head{size, position, item / heads, item % heads};
    // Of the keys and values; later pieces gave the first share.
    std::vector<double> dk(keys * d, 0.0), dv(keys * d, 0.0);
    for (int64_t at = 0; !dhistory.empty() && at < keys * d; ++at) {
      dk[at] = head.Past(dhistory, at / d, 1)[at % d];
      dv[at] = head.Past(dhistory, at / d, 2)[at % d];
    }
    for (int64_t t = 0; t < size.tokens; ++t) {
      const float* q = head.Part(qkv, t, 0);
      const float* gradient = head.Output(dy, t);
      const double pull = head.Dot(gradient, head.Output(y, t));
      std::vector<double> dq(d, 0.0);
      for (int64_t s = 0; s <= position + t; ++s) {
        const float* k = head.Key(qkv, history, s, 1);
        const float* v = head.Key(qkv, history, s, 2);
        const double weight = std::exp(head.scale() * head.Dot(q, k) - head.LogSum(log_sum, t));
        const double dscore = head.scale() * weight * (head.Dot(gradient, v) - pull);
        for (int64_t c = 0; c < d; ++c) {
          dq[c] += dscore * k[c];
          dk[s * d + c] += dscore * q[c];
          dv[s * d + c] += weight * gradient[c];
        }
      }
      for (int64_t c = 0; c < d; ++c) head.Part(dqkv, t, 0)[c] = Round(dq[c]);
    }
    for (int64_t at = 0; at < keys * d; ++at) {
      const int64_t s = at / d, c = at % d;
      if (s >= position) {
        head.Part(dqkv, s - position, 1)[c] = Round(dk[at]);
        head.Part(dqkv, s - position, 2)[c] = Round(dv[at]);
      } else if (!dhistory.empty()) {
        head.Past(dhistory, s, 1)[c] = Round(dk[at]);
        head.Past(dhistory, s, 2)[c] = Round(dv[at]);
      }
    }
  }
}

}  // namespace wavefield
