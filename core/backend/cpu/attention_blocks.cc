#include "core/backend/cpu/attention_blocks.h"

#include <cmath>

#include "core/backend/cpu/parallel.h"

namespace wavefield {

float AttentionHead::scale() const {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_width)));
}

AttentionHead HeadOf(const contract::AttentionSizes& size, int64_t position, const Tensor& qkv,
                     const Tensor& history, int64_t index) {
  const int64_t width = size.width(), column = index % size.heads * size.head_width;
  const int64_t sequence = index / size.heads;
  AttentionHead head{};
  head.q = qkv.f32() + sequence * size.tokens * 3 * width + column;
  head.query_stride = 3 * width;
  head.k = history.empty() ? head.q + width
                           : history.f32() + sequence * size.capacity * 2 * width + column;
  head.v = head.k + width;
  head.key_stride = history.empty() ? 3 * width : 2 * width;
  head.position = position;
  head.end = position + size.tokens;
  head.head_width = size.head_width;
  return head;
}

void AppendHistory(int threads, const contract::AttentionSizes& size, int64_t position,
                   const Tensor& qkv, const Tensor& history) {
  if (history.empty()) return;
  const int64_t width = size.width();
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / width);
  ParallelRanges(threads, size.batch * size.tokens, grain, [&](int, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t to = row / size.tokens * size.capacity + position + row % size.tokens;
      std::copy_n(qkv.f32() + row * 3 * width + width, 2 * width, history.f32() + to * 2 * width);
    }
  });
}

void LoadRows(const float* from, int64_t stride, int64_t first, int64_t last, int64_t rows,
              int64_t d, float* to) {
  std::fill(to, to + first * d, 0.0f);
  for (int64_t row = first; row < last; ++row) {
    std::copy_n(from + (row - first) * stride, d, to + row * d);
  }
  std::fill(to + last * d, to + rows * d, 0.0f);
}

void LoadKeys(const AttentionHead& head, int64_t start, int64_t rows, float* k, float* v) {
  const int64_t there = std::min(rows, head.end - start), at = start * head.key_stride;
  LoadRows(head.k + at, head.key_stride, 0, there, rows, head.head_width, k);
  LoadRows(head.v + at, head.key_stride, 0, there, rows, head.head_width, v);
}

}  // namespace wavefield
