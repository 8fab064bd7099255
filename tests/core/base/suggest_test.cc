#include "core/base/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace wavefield {
namespace {

const std::vector<std::string> kNames = {"wave-field-3m", "wave-field-30m", "transformer-3m",
                                         "steps"};

TEST(SuggestNearest, NamesTheNearestBestFirst) {
  EXPECT_EQ(SuggestNearest("stpes", kNames), "did you mean 'steps'?");
  EXPECT_EQ(SuggestNearest("wave-feild-3m", kNames),
            "did you mean 'wave-field-3m', 'wave-field-30m'?");
}

TEST(SuggestNearest, IsSilentWhenNothingIsNear) {
  EXPECT_EQ(SuggestNearest("zzzzzzzzzz", kNames), "");
  EXPECT_EQ(SuggestNearest("x", std::vector<std::string>{}), "");
}

TEST(SuggestNearest, OffersAtMostThree) {
  const std::vector<std::string> many = {"aa", "ab", "ac", "ad", "ae"};
  EXPECT_EQ(SuggestNearest("a", many), "did you mean 'aa', 'ab', 'ac'?");
}

TEST(SuggestNearest, BoundsAVeryLongWord) {
  EXPECT_EQ(SuggestNearest(std::string(1'000'000, 'q'), kNames), "");
}

}  // namespace
}  // namespace wavefield
