#include "core/tensor/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace wavefield {
namespace {

class ArenaTest : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> backend_ = MakeReferenceBackend();
  Arena arena_{*backend_};
};

TEST_F(ArenaTest, TensorsAreAlignedAndApart) {
  std::vector<Tensor> tensors;
  for (int64_t n = 1; n < 40; ++n) {
    tensors.push_back(arena_.Allocate({n * n * 300}));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors.back().data) % 64, 0u);
    backend_->Fill(tensors.back(), static_cast<float>(n));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const float* data = tensors[i].f32();
    EXPECT_TRUE(std::all_of(data, data + tensors[i].elements(),
                            [&](float x) { return x == static_cast<float>(i + 1); }));
  }
}

TEST_F(ArenaTest, ReleaseGivesBackWhatCameAfterTheMark) {
  const Tensor kept = arena_.Allocate({100});
  void* first;
  {
    const ArenaScope scope(arena_);
    first = arena_.Allocate({100}).data;
    arena_.Allocate({1 << 20});
  }
  EXPECT_EQ(arena_.Allocate({50}).data, first);
  EXPECT_NE(kept.data, first);
}

TEST_F(ArenaTest, AfterAResetTheSameShapesFitOneBlock) {
  const auto step = [&] {
    std::vector<char*> data;
    for (int i = 0; i < 5; ++i) data.push_back(static_cast<char*>(arena_.Allocate({300000}).data));
    return data;
  };
  step();
  const size_t peak = arena_.peak_bytes();
  arena_.Reset();
  const auto second = step();
  const auto [low, high] = std::minmax_element(second.begin(), second.end());
  EXPECT_LE(static_cast<size_t>(*high - *low), peak);
  arena_.Reset();
  EXPECT_EQ(step(), second);
  EXPECT_EQ(arena_.peak_bytes(), peak);
}

TEST_F(ArenaTest, OnceItIsEmptyAgainTheSameShapesFitOneBlock) {
  std::vector<std::pair<char*, char*>> ends;
  for (int step = 0; step < 3; ++step) {
    const ArenaScope scope(arena_);
    const Tensor small = arena_.Allocate({1000}), large = arena_.Allocate({1000000});
    ends.emplace_back(static_cast<char*>(small.data),
                      static_cast<char*>(large.data) + large.bytes());
  }
  EXPECT_LE(static_cast<size_t>(ends[1].second - ends[1].first), arena_.peak_bytes());
  EXPECT_EQ(ends[2], ends[1]);
}

TEST_F(ArenaTest, AnEmptyTensorHasDataOfItsOwn) {
  const Tensor empty = arena_.Allocate({0, 5});
  EXPECT_FALSE(empty.empty());
  EXPECT_NE(empty.data, arena_.Allocate({1}).data);
}

}  // namespace
}  // namespace wavefield
