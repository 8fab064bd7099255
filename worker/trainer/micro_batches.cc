#include "worker/trainer/micro_batches.h"

#include <algorithm>

namespace wavefield {

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
  }
  return share;
}

}  // namespace wavefield
