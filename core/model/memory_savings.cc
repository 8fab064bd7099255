#include "core/model/memory_savings.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/model/accounting.h"

namespace wavefield {
namespace {

struct Change {
  std::string text;
  TrainingConfig training;
};

// A kind of change: what it can do to a recipe, from what saves least to what saves most.
using Kind = std::vector<Change> (*)(const TrainingConfig& now, const std::string& device);

std::vector<Change> Precision(const TrainingConfig& now, const std::string& device) {
  std::vector<Change> changes;
  if (now.precision == "fp32" && device == "cuda") {
    changes.push_back({"training.precision to 'bf16'", now});
    changes.back().training.precision = "bf16";
  }
  return changes;
}

std::vector<Change> MicroBatch(const TrainingConfig& now, const std::string&) {
  std::vector<Change> changes;
  for (int64_t size = now.micro_batch_size - 1; size > 0; --size) {
    if (now.batch_size % size != 0) continue;
    changes.push_back({fmt::format("training.micro_batch_size to {}", size), now});
    changes.back().training.micro_batch_size = size;
  }
  return changes;
}

std::vector<Change> Recomputation(const TrainingConfig& now, const std::string&) {
  std::vector<Change> changes;
  for (const char* recompute : {"mixer", "block"}) {
    if (now.recompute == "block" || now.recompute == recompute) continue;
    changes.push_back({fmt::format("training.recompute to '{}'", recompute), now});
    changes.back().training.recompute = recompute;
  }
  return changes;
}

std::vector<Change> Pieces(const TrainingConfig& now, const std::string&) {
  constexpr int64_t kLongest = int64_t{1} << 23, kShortest = 256;
  std::vector<Change> changes;
  if (now.propagation == "fft") return changes;  // carries no state from piece to piece
  const int64_t piece = now.sequence_chunk > 0 ? std::min(now.sequence_chunk, now.sequence_length)
                                               : now.sequence_length;
  for (int64_t size = kLongest; size >= kShortest; size /= 2) {
    if (size >= piece) continue;
    changes.push_back({fmt::format("training.sequence_chunk to {}", size), now});
    changes.back().training.sequence_chunk = size;
  }
  return changes;
}

// In order of what they cost in time.
constexpr Kind kKinds[] = {Precision, MicroBatch, Recomputation, Pieces};
constexpr size_t kMost = 2;

double GiB(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

}  // namespace

std::vector<MemorySaving> CheapestSavings(const ModelConfig& config, const TrainingConfig& training,
                                          int threads, const std::string& device, int64_t limit,
                                          int64_t world_size) {
  std::vector<MemorySaving> savings;
  // Adds the first of the changes that is enough; whether there is one.
  const auto add_first = [&](const std::vector<Change>& changes) {
    for (const Change& change : changes) {
      const int64_t bytes =
          EstimateMemory(config, change.training, threads, device, world_size).total();
      if (bytes > limit) continue;
      savings.push_back({change.text, bytes});
      return true;
    }
    return false;
  };
  std::vector<Kind> too_little;
  for (const Kind kind : kKinds) {
    if (!add_first(kind(training, device))) too_little.push_back(kind);
    if (savings.size() == kMost) return savings;
  }
  Change together{"", training};
  for (const Kind kind : too_little) {
    std::vector<Change> changes = kind(together.training, device);
    if (changes.empty()) continue;
    if (!together.text.empty()) {
      for (Change& change : changes) change.text = together.text + " and " + change.text;
      if (add_first(changes)) break;
    }
    together = changes.back();
  }
  return savings;
}

std::string Advice(std::span<const MemorySaving> savings) {
  if (savings.empty()) return "take a smaller model or a shorter sequence_length";
  std::string text = "set ";
  for (const MemorySaving& saving : savings) {
    if (&saving != &savings.front()) text += ", or ";
    text += fmt::format("{} ({:.2f} GiB)", saving.change, GiB(saving.bytes));
  }
  return text;
}

}  // namespace wavefield
