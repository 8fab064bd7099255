#include "core/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/checksum.h"
#include "tests/core/checkpoint/sample_checkpoint.h"

namespace wavefield {
namespace {

using testing::HasSubstr;

CheckpointManifest Sample() {
  CheckpointManifest manifest = SampleManifest({400, 2}, 2);
  manifest.parent = "000000000200-000001";
  manifest.files = {{"a.safetensors", 123, std::string(64, '0')},
                    {"b.json", 0, std::string(64, 'f')}};
  return manifest;
}

// A manifest with a right digest over an altered body.
std::string Signed(std::string text, const std::string& from, const std::string& to) {
  const size_t digest = text.rfind(",\n  \"sha256\": ");
  std::string body = text.substr(0, digest);
  const size_t place = body.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  body.replace(place, from.size(), to);
  return body + ",\n  \"sha256\": \"" + Sha256Hex(body) + "\"\n}\n";
}

TEST(Manifest, ParsesToWhatWasFormatted) {
  const auto parsed = ParseManifest(FormatManifest(Sample()));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(*parsed == Sample());
}

TEST(Manifest, IsJson) {
  const auto json = nlohmann::json::parse(FormatManifest(Sample()));
  EXPECT_EQ(json.at("step"), 400);
  EXPECT_EQ(json.at("created"), "2030-03-17T17:46:40Z");
  EXPECT_EQ(json.at("files").size(), 2u);
}

TEST(Manifest, EveryFlippedBitIsDetected) {
  const std::string text = FormatManifest(Sample());
  for (size_t i = 0; i < text.size() * 8; ++i) {
    std::string flipped = text;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    ASSERT_TRUE(absl::IsDataLoss(ParseManifest(flipped).status())) << "bit " << i;
  }
}

TEST(Manifest, EveryTruncationAndAnyAdditionIsDetected) {
  const std::string text = FormatManifest(Sample());
  for (size_t size = 0; size < text.size(); ++size) {
    ASSERT_TRUE(absl::IsDataLoss(ParseManifest(text.substr(0, size)).status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(ParseManifest(text + "\n").status()));
}

TEST(Manifest, AFutureFormatVersionIsRefusedAsSuch) {
  const absl::Status status =
      ParseManifest(
          Signed(FormatManifest(Sample()), "\"format_version\": 1", "\"format_version\": 2"))
          .status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 2"));
}

TEST(Manifest, AnAlteredBodyIsRefusedByKey) {
  const std::string text = FormatManifest(Sample());
  const struct {
    std::string from, to, reason;
  } kCases[] = {
      {"\"step\": 400", "\"step\": -400", "'step'"},
      {"\"step\": 400", "\"step\": \"400\"", "'step'"},
      {"\"step\": 400", "\"step\": 4.5", "'step'"},
      {"\"step\": 400", "\"stop\": 400", "'step'"},
      {"\"step\": 400", "\"step\": 400, \"stop\": 1", "'stop' is unknown"},
      {"\"job\": \"j1\"", "\"job\": \"" + std::string(5000, 'j') + "\"", "'job'"},
      {"\"world_size\": 2", "\"world_size\": 0", "'world_size'"},
      {"\"world_size\": 2", "\"world_size\": 65537", "'world_size'"},
      {"2030-03-17T17:46:40Z", "yesterday", "'created'"},
      {"\"wavefield-checkpoint\"", "\"other\"", "'format'"},
      {"b.json", "../b.json", "'files'"},
      {"b.json", "a.safetensors", "'files'"},
      {"b.json", "manifest.json", "'files'"},
      {std::string(64, 'f'), std::string(63, 'f'), "'sha256'"},
      {std::string(64, 'f'), std::string(64, 'F'), "'sha256'"},
      {"\"bytes\": 123", "\"bytes\": 1e99", "'bytes'"},
      {"\"fingerprint\": {", "\"fingerprint\": 3, \"x\": {", "'fingerprint'"},
      {"{", "[", "JSON"},
  };
  for (const auto& c : kCases) {
    const absl::Status status = ParseManifest(Signed(text, c.from, c.to)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.to << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.reason));
  }
}

}  // namespace
}  // namespace wavefield
