#include "core/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "core/tensor/host_copy.h"

namespace wavefield {
namespace {

TEST(Shape, CountsElementsAndPrints) {
  EXPECT_EQ((Shape{2, 3, 4}).elements(), 24);
  EXPECT_EQ((Shape{5, 0}).elements(), 0);
  EXPECT_EQ((Shape{2, 3}).ToString(), "[2, 3]");
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
}

TEST(Tensor, RowsViewTheSameMemory) {
  std::vector<float> data(24);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  const Tensor tensor{data.data(), DType::kFloat32, {4, 3, 2}};
  const Tensor rows = tensor.Rows(1, 3);
  EXPECT_EQ(rows.shape, (Shape{2, 3, 2}));
  EXPECT_EQ(rows.f32(), data.data() + 6);
  EXPECT_EQ(tensor.Rows(2, 2).elements(), 0);
  EXPECT_EQ(tensor.bytes(), 96u);
}

TEST(Tensor, ReshapeKeepsTheMemory) {
  std::vector<float> data(6);
  const Tensor tensor{data.data(), DType::kFloat32, {2, 3}};
  const Tensor flat = tensor.Reshape({6});
  EXPECT_EQ(flat.data, tensor.data);
  EXPECT_EQ(flat.shape, (Shape{6}));
}

TEST(ToHost, WidensBFloat16) {
  const auto backend = MakeReferenceBackend();
  std::vector<uint16_t> halves = {0x3f80, 0xc000, 0x0000, 0x7f80};
  EXPECT_EQ(ToHost(*backend, {halves.data(), DType::kBFloat16, {2, 2}}),
            (std::vector<float>{1, -2, 0, std::numeric_limits<float>::infinity()}));
  std::vector<float> floats = {1.5f, -2.25f};
  EXPECT_EQ(ToHost(*backend, {floats.data(), DType::kFloat32, {2}}), floats);
}

TEST(Tensor, ADefaultOneIsEmpty) { EXPECT_TRUE(Tensor().empty()); }

TEST(TensorDeathTest, MisuseAborts) {
  std::vector<float> data(6);
  const Tensor tensor{data.data(), DType::kFloat32, {2, 3}};
  EXPECT_DEATH((void)tensor.Reshape({7}), "\\[2, 3\\] to \\[7\\]");
  EXPECT_DEATH((void)tensor.Rows(1, 3), "check failed");
  EXPECT_DEATH((void)tensor.i32(), "\\[2, 3\\] of fp32, required is int32");
}

}  // namespace
}  // namespace wavefield
