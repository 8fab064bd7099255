#include "core/data/sampler.h"

#include <bit>
#include <limits>

#include "core/base/check.h"

namespace wavefield {
namespace {

constexpr uint32_t kRounds = 6;

int64_t CountWindows(int64_t tokens, int64_t sequence_length) {
  WF_CHECK(sequence_length >= 1);
  WF_CHECK_MSG(tokens > sequence_length, "the stream is shorter than one window");
  return (tokens - 1) / sequence_length;
}

}  // namespace

BatchSampler::BatchSampler(int64_t tokens, int64_t sequence_length, int64_t batch_size,
                           uint64_t seed)
    : sequence_length_(sequence_length),
      batch_size_(batch_size),
      windows_(CountWindows(tokens, sequence_length)),
      half_bits_((std::bit_width(static_cast<uint64_t>(windows_ - 1)) + 1) / 2),
      keys_(seed, "batch order") {
  WF_CHECK(batch_size >= 1);
}

std::vector<int64_t> BatchSampler::Batch(int64_t index) const {
  WF_CHECK(index >= 0 && index < std::numeric_limits<int64_t>::max() / batch_size_);
  std::vector<int64_t> starts(static_cast<size_t>(batch_size_));
  for (int64_t i = 0; i < batch_size_; ++i) {
    const int64_t position = index * batch_size_ + i;
    starts[static_cast<size_t>(i)] =
        Permute(position / windows_, position % windows_) * sequence_length_;
  }
  return starts;
}

// A Feistel network permutes [0, 4^half_bits); walking its cycle until a number falls below
// windows_ restricts it to a permutation of [0, windows_).
int64_t BatchSampler::Permute(int64_t epoch, int64_t slot) const {
  if (windows_ == 1) return 0;
  const uint64_t key = keys_.Bits(static_cast<uint64_t>(epoch));
  const std::array<uint32_t, 2> words = {static_cast<uint32_t>(key),
                                         static_cast<uint32_t>(key >> 32)};
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  auto number = static_cast<uint64_t>(slot);
  do {
    uint64_t left = number >> half_bits_;
    uint64_t right = number & mask;
    for (uint32_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed = Philox({static_cast<uint32_t>(right), round, 0, 0}, words)[0] & mask;
      const uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    number = left << half_bits_ | right;
  } while (number >= static_cast<uint64_t>(windows_));
  return static_cast<int64_t>(number);
}

}  // namespace wavefield
