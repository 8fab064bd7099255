// What people type and point at: names, text, files, logs, models.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "cli/checkpoint_download.h"
#include "cli/daemon.h"
#include "cli/input_text.h"
#include "cli/resource_names.h"
#include "cli/source_files.h"
#include "cli/views/model_summary.h"
#include "core/base/checksum.h"
#include "core/model/accounting.h"
#include "proto/rpc/status.h"
#include "tests/cli/command_runner.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ResourceNamesTest, CheckpointsAreNamedByJobAndStep) {
  EXPECT_EQ(ParseCheckpointName("first").value(), "jobs/first/checkpoints/latest");
  EXPECT_EQ(ParseCheckpointName("first@100").value(), "jobs/first/checkpoints/100");
  EXPECT_EQ(ParseCheckpointName("first@100-2").value(), "jobs/first/checkpoints/100-2");
  EXPECT_EQ(ParseCheckpointName("first@latest").value(), "jobs/first/checkpoints/latest");
  EXPECT_EQ(ParseCheckpointName("jobs/first@7").value(), "jobs/first/checkpoints/7");
  EXPECT_EQ(ParseCheckpointName("jobs/first/checkpoints/100-2").value(),
            "jobs/first/checkpoints/100-2");
  EXPECT_EQ(ShortCheckpointName("jobs/first/checkpoints/100-2"), "first@100-2");
}

TEST(ResourceNamesTest, RefusesWhatIsNoName) {
  for (const char* text : {"", "First", "1st", "a_b", "jobs/", "jobs/a/b", "../a", "a@", "a@x",
                           "a@-1", "a@1-", "a@1@2", "a@1/2", "a/checkpoints/"}) {
    EXPECT_EQ(ParseCheckpointName(text).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
  EXPECT_TRUE(ParseJobName(std::string(63, 'a')).ok());
  EXPECT_FALSE(ParseJobName(std::string(64, 'a')).ok());
  EXPECT_EQ(ParseDatasetName("datasets/x").value(), "datasets/x");
  EXPECT_FALSE(ParseDatasetName("jobs/x").ok());
}

TEST(InputTextTest, FindsTheFirstByteThatIsNotUtf8) {
  EXPECT_EQ(FindInvalidUtf8("größe €𝄞"), std::string::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\xFF"), 2u);
  EXPECT_EQ(FindInvalidUtf8("a\xC3"), 1u);             // cut short
  EXPECT_EQ(FindInvalidUtf8("\xC0\x80"), 0u);          // overlong
  EXPECT_EQ(FindInvalidUtf8("\xED\xA0\x80"), 0u);      // a surrogate
  EXPECT_EQ(FindInvalidUtf8("\xF4\x90\x80\x80"), 0u);  // beyond U+10FFFF
}

TEST(InputTextTest, AnAtSignReadsAFile) {
  const TemporaryDirectory directory;
  const std::string file = directory.Write("prompt.txt", "once");
  EXPECT_EQ(ReadTextArgument("@" + file, 100).value(), "once");
  EXPECT_EQ(ReadTextArgument("@@" + file, 100).value(), "@" + file);
  EXPECT_EQ(ReadTextArgument("plain", 100).value(), "plain");
  EXPECT_EQ(ReadTextArgument("@" + file + "x", 100).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadTextArgument("@" + file, 3).status().code(), absl::StatusCode::kResourceExhausted);
}

std::vector<std::string> Paths(const std::vector<LocalSource>& sources) {
  std::vector<std::string> paths;
  for (const LocalSource& source : sources) paths.push_back(source.path);
  return paths;
}

TEST(SourceFilesTest, DirectoriesAreWalkedInOrderAndOtherFilesLeftOut) {
  const TemporaryDirectory directory;
  for (const char* name : {"corpus/b.txt", "corpus/a/x.jsonl.gz", "corpus/c.txt.dz",
                           "corpus/image.png", "corpus/image.gz"}) {
    directory.Write(name, "text");
  }
  const auto sources = FindSources({(directory.path() / "corpus").string() + "/"});
  ASSERT_TRUE(sources.ok()) << sources.status();
  EXPECT_THAT(Paths(*sources),
              ElementsAre("corpus/a/x.jsonl.gz", "corpus/b.txt", "corpus/c.txt.dz"));
}

TEST(SourceFilesTest, AFileThatIsNamedItselfCountsAsTextWhateverItIsCalled) {
  const TemporaryDirectory directory;
  const auto sources =
      FindSources({directory.Write("book", "1"), directory.Write("words.dict.dz", "2"),
                   directory.Write("lines.jsonl.gz", "3")});
  ASSERT_TRUE(sources.ok()) << sources.status();
  EXPECT_THAT(Paths(*sources), ElementsAre("book.txt", "words.dict.txt.dz", "lines.jsonl.gz"));
}

TEST(SourceFilesTest, SameNamesFromDifferentPlacesStayApart) {
  const TemporaryDirectory directory;
  const auto sources =
      FindSources({directory.Write("x/a.txt", "1"), directory.Write("y/a.txt", "2")});
  ASSERT_TRUE(sources.ok()) << sources.status();
  EXPECT_THAT(Paths(*sources), ElementsAre("a.txt", "2/a.txt"));
}

TEST(SourceFilesTest, HashesContents) {
  const TemporaryDirectory directory;
  auto sources = FindSources({directory.Write("a.txt", "some text")});
  ASSERT_TRUE(sources.ok());
  int64_t done = 0;
  ASSERT_TRUE(HashSources(*sources, [&](int64_t bytes) { done = bytes; }).ok());
  EXPECT_EQ(done, 9);
  EXPECT_EQ(sources->at(0).sha256, Sha256Hex("some text"));
  EXPECT_EQ(sources->at(0).bytes, 9);
}

TEST(SourceFilesTest, MissingEmptyAndTextlessInputsAreErrors) {
  const TemporaryDirectory directory;
  const std::string empty = directory.Write("empty.txt", "");
  directory.Write("other/image.png", "x");
  EXPECT_EQ(FindSources({(directory.path() / "none").string()}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(FindSources({empty}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindSources({(directory.path() / "other").string()}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(DownloadPathTest, OnlyPlainRelativePathsAreTaken) {
  for (const char* path :
       {"manifest.json", "model-00001-of-00002.safetensors", "tokenizer/vocab"}) {
    EXPECT_TRUE(CheckRelativePath(path).ok()) << path;
  }
  for (const std::string path :
       {"", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "./a", "a\\b", "a\nb"}) {
    EXPECT_FALSE(CheckRelativePath(path).ok()) << path;
  }
  EXPECT_FALSE(CheckRelativePath(std::string("a\0b", 3)).ok());
  EXPECT_FALSE(CheckRelativePath(std::string(513, 'a')).ok());
}

TEST(DaemonLogTest, RotationKeepsTheNewestLogs) {
  const TemporaryDirectory directory;
  const auto log = directory.path() / "x.log";
  for (int run = 1; run <= 5; ++run) {
    ASSERT_TRUE(RotateLog(log, 2).ok());
    directory.Write("x.log", "run " + std::to_string(run));
  }
  EXPECT_EQ(ReadText(log), "run 5");
  EXPECT_EQ(ReadText(log.string() + ".1"), "run 4");
  EXPECT_EQ(ReadText(log.string() + ".2"), "run 3");
  EXPECT_FALSE(std::filesystem::exists(log.string() + ".3"));
}

TEST(DaemonLogTest, LastLinesOfShortAndLongLogs) {
  const TemporaryDirectory directory;
  EXPECT_EQ(LastLines(directory.Write("a", "1\n2\n3\n"), 2), "2\n3\n");
  EXPECT_EQ(LastLines(directory.Write("b", "1\n2"), 5), "1\n2\n");
  EXPECT_EQ(LastLines(directory.Write("c", ""), 5), "");
  EXPECT_EQ(LastLines(directory.Write("d", std::string(1 << 20, 'x') + "\nend\n"), 1), "end\n");
  EXPECT_EQ(LastLines(directory.path() / "none", 5), "");
}

TEST(ModelSummaryTest, TheListedTensorsAreAllOfTheParameters) {
  for (const Preset& preset : Presets()) {
    int64_t elements = 0;
    for (const TensorGroup& group : ListTensors(preset.config)) elements += group.elements();
    EXPECT_EQ(elements, ParameterCount(preset.config)) << preset.name;
  }
}

TEST(ModelSummaryTest, GivenFieldsReplaceThePresets) {
  v1::ModelSpec spec;
  spec.set_preset("wave-field-3m");
  spec.set_n_layers(2);
  const auto config = ResolveModel(spec, 1000);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->n_layers, 2);
  EXPECT_EQ(config->d_model, 192);
  EXPECT_EQ(config->vocab_size, 1024);
}

TEST(ModelSummaryTest, ReportsAllViolations) {
  v1::ModelSpec spec;
  spec.set_preset("wave-field-3m");
  spec.set_n_heads(5);
  spec.set_d_ff(0);
  const auto config = ResolveModel(spec, 0);
  ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  const google::rpc::BadRequest bad_request = BadRequestOf(config.status());
  std::vector<std::string> fields;
  for (const auto& violation : bad_request.field_violations()) fields.push_back(violation.field());
  EXPECT_THAT(fields, testing::UnorderedElementsAre("model.n_heads", "model.d_ff"));
}

}  // namespace
}  // namespace wavefield
