#include "core/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/core/checkpoint/sample_checkpoint.h"

namespace wavefield {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SafetensorsTest : public testing::Test {
 protected:
  // The bytes of a file with this header and so much data.
  static std::string File(const std::string& header, size_t data_bytes) {
    const uint64_t length = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes + header + std::string(data_bytes, 'd');
  }

  absl::Status OpenBytes(const std::string& bytes) {
    WriteBytes(path_, bytes);
    return SafetensorsFile::Open(path_).status();
  }

  TemporaryDirectory directory_;
  DirectoryStorage storage_{directory_.path()};
  const std::filesystem::path path_ = directory_.path() / "file.safetensors";
};

TEST_F(SafetensorsTest, ReturnsWhatWasWritten) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  TensorSet set;
  set.Add("scalar", {}, &random);
  set.Add("b.vector", {5}, &random);
  set.Add("a.matrix", {3, 7}, &random);
  set.Add("empty", {0, 4}, &random);
  set.Add("four", {2, 3, 1, 2}, &random);
  ASSERT_TRUE(
      WriteSafetensors(storage_, "file.safetensors", set.tensors(), {{"config", "{\"é\": 1}"}})
          .ok());
  const auto file = SafetensorsFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata().at("config"), "{\"é\": 1}");
  EXPECT_EQ(file->entries().size(), 5u);
  TensorSet read = set.Zeros();
  for (size_t i = 0; i < set.tensors().size(); ++i) {
    const NamedTensor &expected = set.tensors()[i], &got = read.tensors()[i];
    ASSERT_TRUE(file->Read(got.name, got.tensor).ok());
    EXPECT_EQ(std::memcmp(got.tensor.data, expected.tensor.data, got.tensor.bytes()), 0);
  }
}

TEST_F(SafetensorsTest, DataAreAligned) {
  for (size_t length = 1; length < 80; ++length) {
    TensorSet set;
    set.Add(std::string(length, 'n'), {3});
    ASSERT_TRUE(WriteSafetensors(storage_, "file.safetensors", set.tensors(), {}).ok());
    const std::string bytes = *ReadFile(path_);
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    ASSERT_EQ((8 + header) % 64, 0u);
    ASSERT_EQ(bytes.size(), 8 + header + 12);
  }
}

TEST_F(SafetensorsTest, ReadRefusesOtherShapesDtypesAndNames) {
  TensorSet set;
  set.Add("w", {2, 3});
  ASSERT_TRUE(WriteSafetensors(storage_, "file.safetensors", set.tensors(), {}).ok());
  const auto file = SafetensorsFile::Open(path_);
  Tensor tensor = set.tensors()[0].tensor;
  EXPECT_TRUE(absl::IsNotFound(file->Read("x", tensor)));
  tensor.shape = {3, 2};
  EXPECT_THAT(std::string(file->Read("w", tensor).message()),
              AllOf(HasSubstr("'w'"), HasSubstr("[2, 3]"), HasSubstr("[3, 2]")));
  tensor = set.tensors()[0].tensor;
  tensor.dtype = DType::kInt32;
  EXPECT_TRUE(absl::IsInvalidArgument(file->Read("w", tensor)));
}

TEST_F(SafetensorsTest, AcceptsOtherDtypesButNotToRead) {
  ASSERT_TRUE(
      OpenBytes(File(R"({"h":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}})", 8)).ok());
  float memory[4];
  const auto file = SafetensorsFile::Open(path_);
  EXPECT_THAT(std::string(file->Read("h", {memory, DType::kFloat32, {4}}).message()),
              HasSubstr("BF16"));
}

struct Hostile {
  std::string name;
  std::string header;
  size_t data_bytes;
  std::string reason;
};

class HostileHeaderTest : public SafetensorsTest, public testing::WithParamInterface<Hostile> {};

TEST_P(HostileHeaderTest, IsRefusedWithFileAndReason) {
  const absl::Status status = OpenBytes(File(GetParam().header, GetParam().data_bytes));
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("file.safetensors"), HasSubstr(GetParam().reason)));
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileHeaderTest,
    testing::Values(
        Hostile{"Empty", "", 0, "JSON"}, Hostile{"Garbage", "\xff\xfe{", 0, "JSON"},
        Hostile{"Array", "[]", 0, "JSON"}, Hostile{"Nested", std::string(100'000, '['), 0, "JSON"},
        Hostile{"InvalidUtf8", "{\"\xc3\x28\":1}", 0, "JSON"},
        Hostile{"Metadata", R"({"__metadata__":[]})", 0, "__metadata__"},
        Hostile{"MetadataNumber", R"({"__metadata__":{"a":1}})", 0, "'a'"},
        Hostile{"NoObject", R"({"w":3})", 0, "'w'"},
        Hostile{"ExtraKey", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4,
                "'w'"},
        Hostile{"UnknownDtype", R"({"w":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4,
                "F31"},
        Hostile{"NegativeDimension", R"({"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})",
                4, "-1"},
        Hostile{"FractionalDimension",
                R"({"w":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "1.5"},
        Hostile{"FiveDimensions",
                R"({"w":{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}})", 4,
                "4 dimensions"},
        Hostile{"HugeDimension",
                R"({"w":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4,
                "not a whole number in range"},
        Hostile{"ProductWraps",
                R"({"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
                "span 0 bytes"},
        Hostile{"ShapeDisagrees", R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
                "[2] of F32"},
        Hostile{"Reversed", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4,
                "[4, 0]"},
        Hostile{"Outside", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 4,
                "outside"},
        Hostile{"OffsetWraps",
                R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551615,3]}})", 4,
                "outside"},
        Hostile{"NegativeOffset", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4,
                "whole numbers"},
        Hostile{"Overlap",
                R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                12, "'b'"},
        Hostile{"Gap",
                R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                12, "gap"},
        Hostile{"GapAtTheStart", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8,
                "'w'"},
        Hostile{"Trailing", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8,
                "8 bytes of data"}),
    [](const auto& info) { return info.param.name; });

TEST_F(SafetensorsTest, RefusesAHeaderLengthBeyondTheFileOrTheLimit) {
  EXPECT_TRUE(absl::IsInvalidArgument(OpenBytes("")));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenBytes("1234567")));
  EXPECT_THAT(std::string(OpenBytes(std::string(8, '\xff')).message()), HasSubstr("header length"));
  EXPECT_THAT(std::string(OpenBytes(std::string("\x03\0\0\0\0\0\0\0{}", 10)).message()),
              HasSubstr("header length 3"));
  // A file as large as its header claims to be (sparse), over the limit.
  WriteBytes(path_, std::string("\0\0\0\x7f\0\0\0\0", 8));
  std::filesystem::resize_file(path_, uint64_t{0x7f000000} + 8);
  EXPECT_THAT(std::string(SafetensorsFile::Open(path_).status().message()),
              HasSubstr("header length"));
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  const SampleState state(1);
  ASSERT_TRUE(WriteSafetensors(storage_, "file.safetensors", state.model.tensors(), {}).ok());
  const std::string whole = *ReadFile(path_);
  for (size_t size = 0; size < whole.size(); size += 1 + size / 40) {
    EXPECT_FALSE(OpenBytes(whole.substr(0, size)).ok()) << size;
  }
  EXPECT_TRUE(OpenBytes(whole).ok());
}

}  // namespace
}  // namespace wavefield
