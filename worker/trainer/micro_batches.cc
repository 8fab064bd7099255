#include "worker/trainer/micro_batches.h"

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>

#include "core/base/checksum.h"

namespace wavefield {
namespace {

static_assert(std::endian::native == std::endian::little, "digests are of little-endian ids");

template <typename T>
std::string_view Bytes(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

MicroBatch ReadWindows(const TokenStream& stream, const std::vector<int64_t>& starts,
                       int64_t length) {
  MicroBatch batch;
  batch.batch = static_cast<int64_t>(starts.size());
  batch.ids.reserve(starts.size() * static_cast<size_t>(length));
  batch.targets.reserve(batch.ids.capacity());
  std::vector<int32_t> window(static_cast<size_t>(length) + 1);
  for (const int64_t start : starts) {
    stream.Copy(start, window);
    batch.ids.insert(batch.ids.end(), window.begin(), window.end() - 1);
    batch.targets.insert(batch.targets.end(), window.begin() + 1, window.end());
  }
  return batch;
}

std::vector<MicroBatch> ReadMicroBatches(const TokenStream& stream, const BatchSampler& sampler,
                                         const TrainingConfig& config, int64_t batch_index,
                                         int rank, int world_size) {
  const std::vector<int64_t> starts = sampler.Batch(batch_index);
  const int64_t size = config.micro_batch_size;
  std::vector<MicroBatch> share;
  for (int64_t j = rank; j < config.batch_size / size; j += world_size) {
    const std::vector<int64_t> windows(starts.begin() + j * size, starts.begin() + (j + 1) * size);
    share.push_back(ReadWindows(stream, windows, config.sequence_length));
    share.back().first_window = j * size;
  }
  return share;
}

uint64_t BatchDigest(std::span<const MicroBatch> share) {
  uint64_t sum = 0;
  for (const MicroBatch& batch : share) {
    const size_t length = batch.ids.size() / static_cast<size_t>(batch.batch);
    for (size_t b = 0; b < static_cast<size_t>(batch.batch); ++b) {
      const uint64_t window = static_cast<uint64_t>(batch.first_window) + b;
      Sha256 digest;
      digest.Update(Bytes(std::span(&window, 1)));
      digest.Update(Bytes(std::span(batch.ids).subspan(b * length, length)));
      digest.Update(Bytes(std::span(batch.targets).subspan((b + 1) * length - 1, 1)));
      sum += std::stoull(digest.HexDigest().substr(0, 16), nullptr, 16);
    }
  }
  return sum;
}

}  // namespace wavefield
