#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/comm/communicator.h"
#include "core/comm/segments.h"

namespace wavefield {
namespace {

// What the ranks share. The rank that arrives last does the work of all, under the lock.
class Group {
 public:
  explicit Group(int world_size) : spans_(static_cast<size_t>(world_size)) {}

  int world_size() const { return static_cast<int>(spans_.size()); }

  // Waits for every rank to come with its `data`, whose `size` must be the same everywhere.
  // `work(spans)` is called once, when all are there.
  template <typename T, typename Work>
  absl::Status Meet(int rank, std::span<T> data, const Work& work) {
    std::unique_lock lock(mutex_);
    if (!failure_.ok()) return failure_;
    spans_[static_cast<size_t>(rank)] = {data.data(), data.size_bytes()};
    const uint64_t generation = generation_;
    if (++arrived_ < world_size()) {
      changed_.wait(lock, [&] { return generation_ != generation || !failure_.ok(); });
      return generation_ != generation ? absl::OkStatus() : failure_;
    }
    std::vector<T*> pointers;
    for (const Span& span : spans_) {
      WF_CHECK_MSG(span.bytes == data.size_bytes(), "the ranks disagree about the size");
      pointers.push_back(static_cast<T*>(span.data));
    }
    work(pointers);
    arrived_ = 0;
    ++generation_;
    changed_.notify_all();
    return absl::OkStatus();
  }

  void Abort(std::string reason) {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = absl::AbortedError(reason);
    changed_.notify_all();
  }

 private:
  struct Span {
    void* data = nullptr;
    size_t bytes = 0;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Span> spans_;
  int arrived_ = 0;
  uint64_t generation_ = 0;
  absl::Status failure_;
};

template <typename T>
void SumInto(const std::vector<T*>& data, size_t length) {
  const int n = static_cast<int>(data.size());
  for (int segment = 0; segment < n; ++segment) {
    const size_t begin = SegmentBegin(length, n, segment),
                 end = SegmentBegin(length, n, segment + 1);
    T* const sum = data[static_cast<size_t>(segment)];
    for (int k = 1; k < n; ++k) {
      const T* const other = data[static_cast<size_t>((segment + k) % n)];
      for (size_t i = begin; i < end; ++i) sum[i] += other[i];
    }
    for (T* const copy : data) {
      if (copy != sum) std::copy(sum + begin, sum + end, copy + begin);
    }
  }
}

class InProcessCommunicator final : public Communicator {
 public:
  InProcessCommunicator(int rank, std::shared_ptr<Group> group)
      : rank_(rank), group_(std::move(group)) {}

  int rank() const override { return rank_; }
  int world_size() const override { return group_->world_size(); }

  absl::Status AllReduceSum(std::span<float> data) override { return Sum(data); }
  absl::Status AllReduceSum(std::span<double> data) override { return Sum(data); }

  absl::Status Broadcast(std::span<float> data, int root) override {
    WF_CHECK(0 <= root && root < world_size());
    return group_->Meet(rank_, data, [&](const std::vector<float*>& all) {
      const float* const source = all[static_cast<size_t>(root)];
      for (float* const copy : all) {
        if (copy != source) std::copy(source, source + data.size(), copy);
      }
    });
  }

  absl::Status Barrier() override {
    return group_->Meet(rank_, std::span<float>(), [](const std::vector<float*>&) {});
  }

  void Abort(std::string reason) override { group_->Abort(std::move(reason)); }

 private:
  template <typename T>
  absl::Status Sum(std::span<T> data) {
    return group_->Meet(rank_, data,
                        [&](const std::vector<T*>& all) { SumInto(all, data.size()); });
  }

  const int rank_;
  const std::shared_ptr<Group> group_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeInProcessCommunicators(int world_size) {
  WF_CHECK(world_size >= 1);
  const auto group = std::make_shared<Group>(world_size);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.push_back(std::make_unique<InProcessCommunicator>(rank, group));
  }
  return ranks;
}

}  // namespace wavefield
