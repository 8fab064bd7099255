#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/backend/contract.h"
#include "core/backend/cpu/attention_blocks.h"
#include "core/backend/cpu/attention_decode.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"
#include "core/backend/cpu/serial_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/attention_forward.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/attention_rows-inl.h"
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// Row r of scores [kQueryBlock, kKeyBlock], of which `keys` are computed and the first
// diagonal + r + 1 are of tokens up to r's, becomes exp(scale · score − maximum[r]), 0 for later
// tokens. The maxima grow, and sum [kQueryBlock] and out [kQueryBlock, d] are rescaled to them; the
// row's weights are added to its sum.
void SoftmaxRows(int64_t first, int64_t last, int64_t keys, int64_t diagonal, float scale,
                 int64_t head_width, float* scores, float* maximum, float* sum, float* out) {
  for (int64_t r = first; r < last; ++r) {
    float* row = scores + r * kKeyBlock;
    const int64_t count = MaskRow(std::min(keys, diagonal + r + 1), keys, row);
    const float largest = std::max(maximum[r], scale * LargestScore(row, count));
    const float weights = SumOver(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto score = hn::LoadU(d, row + i);
      const auto weight = ExpOfScore(d, hn::MulSub(score, hn::Set(d, scale), hn::Set(d, largest)));
      hn::StoreU(weight, d, row + i);
      return weight;
    });
    std::fill(row + count, row + keys, 0.0f);
    if (largest != maximum[r]) {
      const float correction = std::exp(maximum[r] - largest);
      sum[r] *= correction;
      ForEachVector(head_width, [&](auto d, int64_t i) HWY_ATTR {
        float* at = out + r * head_width + i;
        hn::StoreU(hn::Mul(hn::LoadU(d, at), hn::Set(d, correction)), d, at);
      });
      maximum[r] = largest;
    }
    sum[r] += weights;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(SoftmaxRows);

namespace {

// What one thread needs for one block of queries.
struct ForwardRoom {
  float *q, *out;        // [kQueryBlock, d]
  float *k, *v;          // [kKeyBlock, d]
  float* scores;         // [kQueryBlock, kKeyBlock]
  float *maximum, *sum;  // [kQueryBlock]

  static int64_t Floats(int64_t d) {
    return 2 * (kQueryBlock + kKeyBlock) * d + kQueryBlock * (kKeyBlock + 2);
  }
  ForwardRoom(int64_t d, float* memory)
      : q(memory),
        out(q + kQueryBlock * d),
        k(out + kQueryBlock * d),
        v(k + kKeyBlock * d),
        scores(v + kKeyBlock * d),
        maximum(scores + kQueryBlock * kKeyBlock),
        sum(maximum + kQueryBlock) {}
};

// y, log_sum: of the piece's first token and this head; the next token's are `width` and `heads`
// further.
void AttendBlock(const AttentionHead& head, const QueryRows& rows, int64_t width, int64_t heads,
                 const ForwardRoom& room, float* y, float* log_sum) {
  const int64_t d = head.head_width;
  LoadRows(head.q + rows.token(head) * head.query_stride, head.query_stride, rows.first, rows.last,
           kQueryBlock, d, room.q);
  std::fill_n(room.out, kQueryBlock * d, 0.0f);
  std::fill_n(room.maximum, kQueryBlock, -std::numeric_limits<float>::infinity());
  std::fill_n(room.sum, kQueryBlock, 0.0f);
  for (int64_t start = 0; start < rows.start + kQueryBlock; start += kKeyBlock) {
    const int64_t keys = rows.Keys(start);
    LoadKeys(head, start, keys, room.k, room.v);
    SerialGemm('N', 'T', kQueryBlock, keys, d, room.q, d, room.k, d, 0.0f, room.scores, kKeyBlock);
    HWY_DYNAMIC_DISPATCH(SoftmaxRows)
    (rows.first, rows.last, keys, rows.start - start, head.scale(), d, room.scores, room.maximum,
     room.sum, room.out);
    SerialGemm('N', 'N', kQueryBlock, d, keys, room.scores, kKeyBlock, room.v, d, 1.0f, room.out,
               d);
  }
  for (int64_t r = rows.first; r < rows.last; ++r) {
    const int64_t token = rows.token(head) + r - rows.first;
    const float inverse = 1.0f / room.sum[r];
    std::transform(room.out + r * d, room.out + (r + 1) * d, y + token * width,
                   [inverse](float x) { return x * inverse; });
    log_sum[token * heads] = static_cast<float>(static_cast<double>(room.maximum[r]) +
                                                std::log(static_cast<double>(room.sum[r])));
  }
}

}  // namespace

void CpuBackend::AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                  Tensor history, Tensor y, Tensor log_sum) {
  const auto size = contract::AttentionForward(batch, heads, position, qkv, history, y, log_sum);
  if (size.tokens == 0) return;
  AppendHistory(threads_, size, position, qkv, history);
  if (size.tokens == 1 && !history.empty()) {
    float* scratch = Scratch(DecodeFloats(threads_, size, position));
    DecodeToken(threads_, size, position, qkv, history, scratch, y, log_sum);
    return;
  }
  const int64_t d = size.head_width, width = size.width();
  const int64_t room_floats = ForwardRoom::Floats(d);
  float* scratch = Scratch(threads_ * room_floats);
  const int64_t blocks = HeadOf(size, position, qkv, history, 0).query_blocks();
  ParallelRanges(threads_, batch * heads * blocks, 1, [&](int thread, int64_t begin, int64_t end) {
    omp_set_num_threads(1);
    const ForwardRoom room(d, scratch + thread * room_floats);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t index = item / blocks;
      const AttentionHead head = HeadOf(size, position, qkv, history, index);
      const int64_t block = head.first_query_block() + FromBothEnds(item % blocks, blocks);
      const int64_t row = index / heads * size.tokens, h = index % heads;
      AttendBlock(head, {head, block * kQueryBlock}, width, heads, room,
                  y.f32() + row * width + h * d, log_sum.f32() + row * heads + h);
    }
  });
}

}  // namespace wavefield
#endif
