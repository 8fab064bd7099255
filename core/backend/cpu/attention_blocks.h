#pragma once

// What forward and backward attention share: blocks of tokens, and one head of one sequence.
//
// Blocks begin at whole multiples of their size, counted from the sequence's start, and are
// computed whole: rows that are not there are zero. So the shapes of the products in which a row
// takes part depend on its position alone, and its bits neither on how far the sequence goes on nor
// on how it was cut into pieces.

#include <algorithm>
#include <cstdint>

#include "core/backend/contract.h"

namespace wavefield {

// Tokens. What one block of queries with one of keys needs for the backward pass fits into a
// megabyte of cache up to a head width of 128. kAttentionPad divides both.
inline constexpr int64_t kQueryBlock = 128, kKeyBlock = 256;
// Rows of scores are worked on in whole multiples of this: whole vectors of any instruction set.
inline constexpr int64_t kAttentionPad = 64;
static_assert(kKeyBlock % kQueryBlock == 0 && kQueryBlock % kAttentionPad == 0);

// Tokens are counted from the sequence's start; this piece is [position, end).
struct AttentionHead {
  const float* q;        // of token `position`
  int64_t query_stride;  // from a token's q to the next one's
  const float *k, *v;    // of token 0
  int64_t key_stride;
  int64_t position, end;
  int64_t head_width;

  float scale() const;  // 1 / √d
  int64_t first_query_block() const { return position / kQueryBlock; }
  int64_t query_blocks() const { return (end - 1) / kQueryBlock - first_query_block() + 1; }
  int64_t key_blocks() const { return (end - 1) / kKeyBlock + 1; }
};

// The rows of a block of queries that belong to the piece, and the tokens before them.
struct QueryRows {
  int64_t start;        // token of the block's row 0
  int64_t first, last;  // rows [first, last) are there

  QueryRows(const AttentionHead& head, int64_t start)
      : start(start),
        first(std::max<int64_t>(head.position - start, 0)),
        last(std::min(head.end - start, kQueryBlock)) {}
  int64_t count() const { return last - first; }
  // Of row `first` in the piece.
  int64_t token(const AttentionHead& head) const { return start + first - head.position; }
  // Keys of the block that starts at token key_start which some row of the block sees.
  int64_t Keys(int64_t key_start) const {
    return std::min(kKeyBlock, start + kQueryBlock - key_start);
  }
};

// Head index % H of sequence index / H.
AttentionHead HeadOf(const contract::AttentionSizes& size, int64_t position, const Tensor& qkv,
                     const Tensor& history, int64_t index);

// Writes the piece's keys and values to the history, if there is one.
void AppendHistory(int threads, const contract::AttentionSizes& size, int64_t position,
                   const Tensor& qkv, const Tensor& history);

// A block of `rows` rows of d floats: rows [first, last) from `from` on, `stride` apart, the others
// zero.
void LoadRows(const float* from, int64_t stride, int64_t first, int64_t last, int64_t rows,
              int64_t d, float* to);

// The keys and values of tokens [start, start + rows).
void LoadKeys(const AttentionHead& head, int64_t start, int64_t rows, float* k, float* v);

// Early blocks of queries see few keys, late ones many: 0, n−1, 1, n−2, … makes any stretch of
// items about as much work as another one of its length.
inline int64_t FromBothEnds(int64_t item, int64_t n) {
  return item % 2 == 0 ? item / 2 : n - 1 - item / 2;
}

inline int64_t WholeVectors(int64_t floats) {
  return (floats + kAttentionPad - 1) / kAttentionPad * kAttentionPad;
}

}  // namespace wavefield
