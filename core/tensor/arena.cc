#include "core/tensor/arena.h"

#include <algorithm>

namespace wavefield {
namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kFirstBlock = size_t{1} << 20;
}  // namespace

Arena::~Arena() {
  for (const Block& block : blocks_) backend_.Free(block.data);
}

void Arena::Reserve(size_t bytes) {
  WF_CHECK(blocks_.empty());
  blocks_.push_back({static_cast<char*>(backend_.Allocate(bytes)), bytes, 0});
}

Tensor Arena::Allocate(Shape shape, DType dtype) {
  Tensor tensor{nullptr, dtype, shape};
  const size_t bytes =
      std::max((tensor.bytes() + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  while (current_ < blocks_.size() && blocks_[current_].used + bytes > blocks_[current_].capacity) {
    ++current_;
  }
  if (current_ == blocks_.size()) {
    const size_t capacity =
        std::max({bytes, kFirstBlock, blocks_.empty() ? 0 : blocks_.back().capacity * 2});
    blocks_.push_back({static_cast<char*>(backend_.Allocate(capacity)), capacity, 0});
  }
  Block& block = blocks_[current_];
  tensor.data = block.data + block.used;
  block.used += bytes;
  size_t in_use = 0;
  for (size_t i = 0; i <= current_; ++i) in_use += blocks_[i].used;
  peak_ = std::max(peak_, in_use);
  return tensor;
}

Arena::Mark Arena::GetMark() const {
  return {current_, current_ < blocks_.size() ? blocks_[current_].used : 0};
}

void Arena::Release(Mark mark) {
  for (size_t i = mark.block + 1; i < blocks_.size(); ++i) blocks_[i].used = 0;
  if (mark.block < blocks_.size()) blocks_[mark.block].used = mark.used;
  current_ = mark.block;
  if (mark.block == 0 && mark.used == 0 && blocks_.size() > 1) {
    for (const Block& block : blocks_) backend_.Free(block.data);
    blocks_.assign(1, {static_cast<char*>(backend_.Allocate(peak_)), peak_, 0});
  }
}

void Arena::Reset() { Release({0, 0}); }

}  // namespace wavefield
