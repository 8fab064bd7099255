#include <omp.h>

#include <algorithm>

#include "core/backend/contract.h"
#include "core/backend/cpu/attention_blocks.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"
#include "core/backend/cpu/serial_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/attention_backward.cc"
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

// Row r of scores [kQueryBlock, kKeyBlock] becomes the weights w = exp(scale · score − log_sum), 0
// for later tokens (see SoftmaxRows); row r of gradients, dy · v before, becomes the gradient of
// q · k, scale · w (dy · v − pull), where pull = dy · y. log_sum, pull: of row `first`, the next
// row's `stride` further. Rows outside [first, last) become 0.
void GradientRows(int64_t first, int64_t last, int64_t keys, int64_t diagonal, float scale,
                  const float* log_sum, const float* pull, int64_t stride, float* scores,
                  float* gradients) {
  for (int64_t r = 0; r < kQueryBlock; ++r) {
    float* row = scores + r * kKeyBlock;
    float* gradient = gradients + r * kKeyBlock;
    int64_t count = 0;
    if (first <= r && r < last) {
      count = MaskRow(std::min(keys, diagonal + r + 1), keys, row);
      const float shift = log_sum[(r - first) * stride], pulled = pull[(r - first) * stride];
      ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
        const auto weight =
            ExpOfScore(d, hn::MulSub(hn::LoadU(d, row + i), hn::Set(d, scale), hn::Set(d, shift)));
        const auto force = hn::Sub(hn::LoadU(d, gradient + i), hn::Set(d, pulled));
        hn::StoreU(weight, d, row + i);
        hn::StoreU(hn::Mul(hn::Mul(weight, hn::Set(d, scale)), force), d, gradient + i);
      });
    }
    std::fill(row + count, row + keys, 0.0f);
    std::fill(gradient + count, gradient + keys, 0.0f);
  }
}

// pull[n, h] = dy · y over head h of rows [begin, end).
void Pulls(int64_t begin, int64_t end, int64_t heads, int64_t head_width, const float* y,
           const float* dy, float* pull) {
  for (int64_t at = begin * heads; at < end * heads; ++at) {
    const float* a = y + at * head_width;
    const float* b = dy + at * head_width;
    pull[at] = SumOver(head_width, [&](auto d, int64_t i) HWY_ATTR {
      return hn::Mul(hn::LoadU(d, a + i), hn::LoadU(d, b + i));
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(GradientRows);
HWY_EXPORT(Pulls);

namespace {

// One head of one sequence with its gradients. dq of the piece's first token; dk, dv likewise, all
// laid out like head.q; past_dk, past_dv of token 0, laid out like head.k with a history, or null.
struct BackwardHead : AttentionHead {
  const float *dy, *log_sum, *pull;  // of the piece's first token
  int64_t width, heads;              // from one token's dy, log_sum and pull to the next one's
  float *dq, *dk, *dv;
  float *past_dk, *past_dv;
};

// What one thread needs for one block of queries with one of keys.
struct BackwardRoom {
  float *q, *dy;              // [kQueryBlock, d]
  float *k, *v, *dk, *dv;     // [kKeyBlock, d]
  float *scores, *gradients;  // [kQueryBlock, kKeyBlock]

  static int64_t Floats(int64_t d) {
    return (2 * kQueryBlock + 4 * kKeyBlock) * d + 2 * kQueryBlock * kKeyBlock;
  }
  BackwardRoom(int64_t d, float* memory)
      : q(memory),
        dy(q + kQueryBlock * d),
        k(dy + kQueryBlock * d),
        v(k + kKeyBlock * d),
        dk(v + kKeyBlock * d),
        dv(dk + kKeyBlock * d),
        scores(dv + kKeyBlock * d),
        gradients(scores + kQueryBlock * kKeyBlock) {}
};

void LoadQueries(const BackwardHead& head, const QueryRows& rows, const BackwardRoom& room) {
  const int64_t token = rows.token(head);
  LoadRows(head.q + token * head.query_stride, head.query_stride, rows.first, rows.last,
           kQueryBlock, head.head_width, room.q);
  LoadRows(head.dy + token * head.width, head.width, rows.first, rows.last, kQueryBlock,
           head.head_width, room.dy);
}

// Weights and gradients of the scores between the blocks that are loaded.
void ScoreGradients(const BackwardHead& head, const QueryRows& rows, int64_t key_start,
                    const BackwardRoom& room) {
  const int64_t d = head.head_width, keys = rows.Keys(key_start), token = rows.token(head);
  SerialGemm('N', 'T', kQueryBlock, keys, d, room.q, d, room.k, d, 0.0f, room.scores, kKeyBlock);
  SerialGemm('N', 'T', kQueryBlock, keys, d, room.dy, d, room.v, d, 0.0f, room.gradients,
             kKeyBlock);
  HWY_DYNAMIC_DISPATCH(GradientRows)
  (rows.first, rows.last, keys, rows.start - key_start, head.scale(),
   head.log_sum + token * head.heads, head.pull + token * head.heads, head.heads, room.scores,
   room.gradients);
}

// Adds the block's share to dq, in the order of the blocks of keys.
void AddQueryGradients(const BackwardHead& head, const QueryRows& rows, int64_t key_start,
                       const BackwardRoom& room) {
  SerialGemm('N', 'N', rows.count(), head.head_width, rows.Keys(key_start),
             room.gradients + rows.first * kKeyBlock, kKeyBlock, room.k, head.head_width,
             key_start == 0 ? 0.0f : 1.0f, head.dq + rows.token(head) * head.query_stride,
             head.query_stride);
}

// dq of one block of queries.
void QueryBlockBackward(const BackwardHead& head, int64_t block, const BackwardRoom& room) {
  const QueryRows rows(head, block * kQueryBlock);
  LoadQueries(head, rows, room);
  for (int64_t start = 0; start < rows.start + kQueryBlock; start += kKeyBlock) {
    LoadKeys(head, start, rows.Keys(start), room.k, room.v);
    ScoreGradients(head, rows, start, room);
    AddQueryGradients(head, rows, start, room);
  }
}

// dk or dv of tokens [start, last), from `sums` [kKeyBlock, d] to where they belong: those before
// the piece to `past`, if there is one, the piece's own to `own`.
void StoreKeyGradients(const BackwardHead& head, int64_t start, int64_t last, const float* sums,
                       float* past, float* own) {
  for (int64_t token = start; token < last; ++token) {
    const float* row = sums + (token - start) * head.head_width;
    if (token >= head.position) {
      std::copy_n(row, head.head_width, own + (token - head.position) * head.query_stride);
    } else if (past != nullptr) {
      std::copy_n(row, head.head_width, past + token * head.key_stride);
    }
  }
}

// dk and dv of one block of keys; the block's share of dq as well if `with_dq`, for which the
// blocks must come in order.
void KeyBlockBackward(const BackwardHead& head, int64_t block, bool with_dq,
                      const BackwardRoom& room) {
  const int64_t d = head.head_width, start = block * kKeyBlock;
  const int64_t last = std::min(start + kKeyBlock, head.end);
  LoadKeys(head, start, kKeyBlock, room.k, room.v);
  if (head.past_dk != nullptr) {  // what later pieces gave
    const int64_t at = start * head.key_stride;
    LoadRows(head.past_dk + at, head.key_stride, 0, last - start, kKeyBlock, d, room.dk);
    LoadRows(head.past_dv + at, head.key_stride, 0, last - start, kKeyBlock, d, room.dv);
  } else {
    std::fill_n(room.dk, kKeyBlock * d, 0.0f);
    std::fill_n(room.dv, kKeyBlock * d, 0.0f);
  }
  for (int64_t query = std::max(start, head.first_query_block() * kQueryBlock); query < head.end;
       query += kQueryBlock) {
    const QueryRows rows(head, query);
    LoadQueries(head, rows, room);
    ScoreGradients(head, rows, start, room);
    const int64_t keys = rows.Keys(start);
    SerialGemm('T', 'N', keys, d, kQueryBlock, room.scores, kKeyBlock, room.dy, d, 1.0f, room.dv,
               d);
    SerialGemm('T', 'N', keys, d, kQueryBlock, room.gradients, kKeyBlock, room.q, d, 1.0f, room.dk,
               d);
    if (with_dq) AddQueryGradients(head, rows, start, room);
  }
  StoreKeyGradients(head, start, last, room.dk, head.past_dk, head.dk);
  StoreKeyGradients(head, start, last, room.dv, head.past_dv, head.dv);
}

// Going through a head once takes 5 products of a block, but is work for one thread; once for dq
// and once for dk and dv takes 7 that any number of threads can share. The bits are the same.
bool OnePass(int64_t heads, int threads) {
  const int64_t rounds = (heads + threads - 1) / threads;
  return 5 * rounds * threads <= 7 * heads;
}

}  // namespace

void CpuBackend::AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                   Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                   Tensor dhistory, Tensor dqkv) {
  const auto size = contract::AttentionBackward(batch, heads, position, qkv, history, y, log_sum,
                                                dy, dhistory, dqkv);
  const int64_t tokens = size.tokens, d = size.head_width, width = size.width();
  if (tokens == 0) return;
  const int64_t room_floats = BackwardRoom::Floats(d);
  float* rooms = Scratch(threads_ * room_floats + batch * tokens * heads);
  float* pull = rooms + threads_ * room_floats;
  ParallelRanges(threads_, batch * tokens, std::max<int64_t>(1, (1 << 15) / width),
                 [&](int, int64_t begin, int64_t end) {
                   HWY_DYNAMIC_DISPATCH(Pulls)
                   (begin, end, heads, d, y.f32(), dy.f32(), pull);
                 });

  const auto head_of = [&](int64_t index) {
    const int64_t sequence = index / heads, h = index % heads, row = sequence * tokens;
    BackwardHead head{};
    static_cast<AttentionHead&>(head) = HeadOf(size, position, qkv, history, index);
    head.dy = dy.f32() + row * width + h * d;
    head.log_sum = log_sum.f32() + row * heads + h;
    head.pull = pull + row * heads + h;
    head.width = width;
    head.heads = heads;
    head.dq = dqkv.f32() + row * 3 * width + h * d;
    head.dk = head.dq + width;
    head.dv = head.dk + width;
    if (!dhistory.empty()) {
      head.past_dk = dhistory.f32() + sequence * size.capacity * 2 * width + h * d;
      head.past_dv = head.past_dk + width;
    }
    return head;
  };
  // body(head, block, room) for every head and `blocks` blocks of each.
  const auto for_each_block = [&](int64_t blocks, auto body) {
    ParallelRanges(threads_, batch * heads * blocks, 1,
                   [&](int thread, int64_t begin, int64_t end) {
                     omp_set_num_threads(1);
                     const BackwardRoom room(d, rooms + thread * room_floats);
                     for (int64_t item = begin; item < end; ++item) {
                       body(head_of(item / blocks), FromBothEnds(item % blocks, blocks), room);
                     }
                   });
  };
  const AttentionHead any = head_of(0);
  if (OnePass(batch * heads, threads_)) {
    for_each_block(1, [&](const BackwardHead& head, int64_t, const BackwardRoom& room) {
      for (int64_t block = 0; block < head.key_blocks(); ++block) {
        KeyBlockBackward(head, block, true, room);
      }
    });
    return;
  }
  for_each_block(any.query_blocks(),
                 [](const BackwardHead& head, int64_t block, const BackwardRoom& room) {
                   QueryBlockBackward(head, head.first_query_block() + block, room);
                 });
  for_each_block(any.key_blocks(),
                 [](const BackwardHead& head, int64_t block, const BackwardRoom& room) {
                   KeyBlockBackward(head, block, false, room);
                 });
}

}  // namespace wavefield
#endif
