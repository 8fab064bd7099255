#include "worker/trainer/gradient_reduction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/comm/communicator.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;

struct Range {
  int64_t begin, end;
  bool operator==(const Range&) const = default;
};

// Over another communicator: reduces at Finish() what was begun, or at once where it does not
// overlap, and remembers what that was. Fails when it is the turn of range `fails_at`.
class RecordingCommunicator final : public Communicator {
 public:
  RecordingCommunicator(Communicator& inner, const std::vector<float>& data, bool overlaps)
      : inner_(inner), data_(data), overlaps_(overlaps) {}

  const std::vector<Range>& begun() const { return begun_; }
  void FailAt(size_t range) { fails_at_ = range; }

  int rank() const override { return inner_.rank(); }
  int world_size() const override { return inner_.world_size(); }
  bool overlaps() const override { return overlaps_; }
  absl::Status BeginAllReduceSum(std::span<float> data) override {
    const int64_t begin = data.data() - data_.data();
    begun_.push_back({begin, begin + static_cast<int64_t>(data.size())});
    if (begun_.size() == fails_at_ + 1) return absl::AbortedError("rank 3 died");
    waiting_.push_back(data);
    return overlaps_ ? absl::OkStatus() : Finish();
  }
  absl::Status Finish() override {
    for (const std::span<float> data : std::exchange(waiting_, {})) {
      if (absl::Status status = inner_.AllReduceSum(data); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  absl::Status AllReduceSum(std::span<float> data) override { return inner_.AllReduceSum(data); }
  absl::Status AllReduceSum(std::span<double> data) override { return inner_.AllReduceSum(data); }
  absl::Status Broadcast(std::span<float> data, int root) override {
    return inner_.Broadcast(data, root);
  }
  absl::Status Barrier() override { return inner_.Barrier(); }
  void Abort(std::string reason) override { inner_.Abort(std::move(reason)); }

 private:
  Communicator& inner_;
  const std::vector<float>& data_;
  const bool overlaps_;
  size_t fails_at_ = SIZE_MAX;
  std::vector<Range> begun_;
  std::vector<std::span<float>> waiting_;
};

Tensor Flat(std::vector<float>& data) {
  return {data.data(), DType::kFloat32, {static_cast<int64_t>(data.size())}};
}

class GradientReductionTest : public ::testing::Test {
 protected:
  // Where gradients become final: from the end to the beginning, in parts of random size.
  std::vector<int64_t> Parts(int64_t elements) {
    std::vector<int64_t> begins;
    for (int64_t rest = elements; rest > 0;) {
      rest -=
          1 + static_cast<int64_t>(random_() % static_cast<uint64_t>(std::min(rest, int64_t{40})));
      begins.push_back(rest);
    }
    return begins;
  }

  const uint64_t seed_ = std::random_device{}();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  std::mt19937_64 random_{seed_};
};

TEST_F(GradientReductionTest, BucketsAreOnTheirWayAsSoonAsTheyAreFullAndEveryElementOnce) {
  constexpr int64_t kElements = 500;
  constexpr int kRanks = 3;
  for (const int64_t bucket : {1, 7, 64, 499, 500, 501, 10000}) {
    SCOPED_TRACE("buckets of " + std::to_string(bucket));
    const std::vector<int64_t> parts = Parts(kElements);
    const auto group = MakeInProcessCommunicators(kRanks);
    std::vector<std::vector<Range>> begun(kRanks);
    std::vector<std::vector<float>> sums(kRanks);
    {
      std::vector<std::jthread> ranks;
      for (int rank = 0; rank < kRanks; ++rank) {
        ranks.emplace_back([&, rank] {
          std::vector<float> gradients(kElements, -1e6f);  // not final
          RecordingCommunicator communicator(*group[static_cast<size_t>(rank)], gradients, true);
          GradientReduction reduction(communicator, Flat(gradients), bucket);
          int64_t rest = kElements, waiting = 0;
          for (const int64_t begin : parts) {
            for (int64_t i = begin; i < rest; ++i) {
              gradients[static_cast<size_t>(i)] = static_cast<float>((rank + 1) * i);
            }
            waiting += rest - begin;
            rest = begin;
            const size_t before = communicator.begun().size();
            reduction.Final(begin);
            EXPECT_EQ(communicator.begun().size() - before, waiting >= bucket ? 1u : 0u);
            if (waiting < bucket) continue;
            EXPECT_EQ(communicator.begun().back(), (Range{begin, begin + waiting}));
            waiting = 0;
          }
          EXPECT_TRUE(reduction.Finish().ok());
          begun[static_cast<size_t>(rank)] = communicator.begun();
          sums[static_cast<size_t>(rank)] = std::move(gradients);
        });
      }
    }
    int64_t rest = kElements;
    for (const Range& range : begun[0]) {
      EXPECT_EQ(range.end, rest);
      EXPECT_LT(range.begin, range.end);
      rest = range.begin;
    }
    EXPECT_EQ(rest, 0);
    for (size_t rank = 0; rank < kRanks; ++rank) {
      EXPECT_EQ(begun[rank], begun[0]);
      for (int64_t i = 0; i < kElements; ++i) {
        ASSERT_EQ(sums[rank][static_cast<size_t>(i)], static_cast<float>((1 + 2 + 3) * i));
      }
    }
  }
}

TEST_F(GradientReductionTest, WhereNothingOverlapsAllIsReducedAtTheEndInPiecesInOrder) {
  constexpr int64_t kPiece = 1 << 20, kElements = 2 * kPiece + 5;
  const auto solo = MakeSoloCommunicator();
  std::vector<float> gradients(kElements);
  RecordingCommunicator communicator(*solo, gradients, false);
  GradientReduction reduction(communicator, Flat(gradients), 10);
  for (int64_t begin = kElements - 1; begin >= 0; begin -= 100'000) reduction.Final(begin);
  EXPECT_TRUE(communicator.begun().empty());
  EXPECT_TRUE(reduction.Finish().ok());
  EXPECT_EQ(communicator.begun(),
            (std::vector<Range>{{0, kPiece}, {kPiece, 2 * kPiece}, {2 * kPiece, kElements}}));
}

TEST_F(GradientReductionTest, TheFirstErrorIsFinishsAndNothingIsBegunAfterIt) {
  const auto solo = MakeSoloCommunicator();
  for (const size_t failing : {0, 1, 4}) {
    SCOPED_TRACE("range " + std::to_string(failing));
    std::vector<float> gradients(50);
    RecordingCommunicator communicator(*solo, gradients, true);
    communicator.FailAt(failing);
    GradientReduction reduction(communicator, Flat(gradients), 10);
    for (int64_t begin = 40; begin >= 10; begin -= 10) reduction.Final(begin);
    const absl::Status status = reduction.Finish();
    EXPECT_TRUE(absl::IsAborted(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 3 died"));
    EXPECT_EQ(communicator.begun().size(), failing + 1);
  }
}

TEST_F(GradientReductionTest, AnErrorOfWhatWasOnItsWayIsFinishs) {
  const auto group = MakeInProcessCommunicators(2);
  std::vector<float> gradients(50);
  RecordingCommunicator communicator(*group[0], gradients, true);
  GradientReduction reduction(communicator, Flat(gradients), 10);
  reduction.Final(20);
  group[1]->Abort("out of memory");
  const absl::Status status = reduction.Finish();
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("out of memory"));
}

}  // namespace
}  // namespace wavefield
