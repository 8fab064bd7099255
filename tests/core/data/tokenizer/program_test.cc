// The program wavefield-tokenizer as a process: exit codes, output, signals.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "core/base/subprocess.h"
#include "core/data/dataset.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class TokenizerProgram : public testing::Test {
 protected:
  Subprocess Start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), (ProgramDirectory() / "wavefield-tokenizer").string());
    out_ = Create("stdout");
    err_ = Create("stderr");
    auto process = Subprocess::Start({.command = std::move(arguments),
                                      .environment = {},
                                      .stdout_fd = out_.get(),
                                      .stderr_fd = err_.get()});
    EXPECT_TRUE(process.ok()) << process.status();
    return *std::move(process);
  }
  int Run(std::vector<std::string> arguments) {
    const auto exit = Start(std::move(arguments)).Wait(absl::Seconds(50));
    return exit && exit->code ? *exit->code : -1;
  }
  std::string Out() const { return Contents(logs_.path() / "stdout"); }
  std::string Err() const { return Contents(logs_.path() / "stderr"); }
  std::string Path(const std::string& name) const { return (scratch_.path() / name).string(); }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  SeededRandom random_;
  ScratchDirectory scratch_;
  ScratchDirectory logs_;

 private:
  FileDescriptor Create(const char* name) const {
    return FileDescriptor(
        ::open((logs_.path() / name).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  }
  FileDescriptor out_;
  FileDescriptor err_;
};

TEST_F(TokenizerProgram, PreparesAndReportsAsJsonLines) {
  scratch_.Write("a.txt", SampleText(random_, 100'000));
  ASSERT_EQ(Run({"prepare", "--input", Path("a.txt"), "--output", Path("out"), "--name", "sample",
                 "--vocab-size", "600", "--json-progress"}),
            0)
      << Err();
  std::istringstream lines(Out());
  std::vector<std::string> stages;
  nlohmann::json last;
  for (std::string line; std::getline(lines, line);) {
    last = nlohmann::json::parse(line);
    EXPECT_LE(last.at("done"), last.at("total"));
    if (stages.empty() || stages.back() != last.at("stage")) stages.push_back(last.at("stage"));
  }
  EXPECT_THAT(stages, ElementsAre("read", "train", "encode", "done"));
  auto dataset = Dataset::Open(Path("out"), VerifyMode::kFull);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(last.at("name"), "sample");
  EXPECT_EQ(last.at("content_hash"), dataset->content_hash());
  EXPECT_EQ(last.at("vocab_size"), 600);
  EXPECT_EQ(last.at("train_tokens"), dataset->train().size());
  EXPECT_EQ(last.at("validation_tokens"), dataset->validation().size());
  EXPECT_EQ(Err(), "");
}

TEST_F(TokenizerProgram, EncodesDecodesShowsAndVerifies) {
  scratch_.Write("a.txt", SampleText(random_, 20'000));
  ASSERT_EQ(Run({"prepare", "--input", Path("a.txt"), "--output", Path("out"), "--name", "n"}), 0)
      << Err();
  const std::string text = "  two  spaces,\n\ta tab, \xE2\x96\x81 and 日本\n";
  ASSERT_EQ(Run({"encode", "--dataset", Path("out"), "--text", text}), 0) << Err();
  const std::string ids = Out();
  EXPECT_TRUE(nlohmann::json::parse(ids).is_array());
  ASSERT_EQ(Run({"decode", "--dataset", Path("out"), "--ids", ids}), 0) << Err();
  EXPECT_EQ(Out(), text);
  EXPECT_EQ(Run({"decode", "--dataset", Path("out"), "--ids", "1 2 99999"}), 1);
  EXPECT_THAT(Err(), HasSubstr("'99999' is not a token id"));
  EXPECT_EQ(Run({"show", Path("out")}), 0) << Err();
  EXPECT_THAT(Out(), HasSubstr("validation"));
  EXPECT_EQ(Run({"verify", Path("out")}), 0) << Err();
  std::filesystem::resize_file(Path("out/train-00000.tokens"), 1000);
  EXPECT_EQ(Run({"verify", Path("out")}), 1);
  EXPECT_THAT(Err(), HasSubstr("train-00000.tokens is corrupt at byte"));
}

TEST_F(TokenizerProgram, FailuresExitWithOneAndSayWhy) {
  scratch_.Write("empty.txt", "");
  EXPECT_EQ(Run({"prepare", "--input", Path("empty.txt"), "--output", Path("out"), "--name", "n",
                 "--json-progress"}),
            1);
  EXPECT_THAT(Err(), HasSubstr("the input is empty"));
  const std::string out = Out();
  const auto last = nlohmann::json::parse(out.substr(out.rfind("{\"stage\"")));
  EXPECT_EQ(last.at("stage"), "error");
  EXPECT_THAT(last.at("message").get<std::string>(), HasSubstr("the input is empty"));
  EXPECT_EQ(Run({"show", Path("nowhere")}), 1);
  EXPECT_THAT(Err(), HasSubstr("no finished dataset"));
}

TEST_F(TokenizerProgram, MisuseExitsWithTwo) {
  scratch_.Write("a.txt", "x");
  const std::vector<std::string> good = {
      "prepare", "--input", Path("a.txt"), "--output", Path("out"), "--name", "n"};
  const std::vector<std::vector<std::string>> misuses = {
      {"--vocab-size", "259"}, {"--validation-fraction", "0.6"}, {"--tokenizer", "words"},
      {"--threads", "0"},      {"--vocabsize", "300"},           {"--document-separator", "\\q"},
      {"--name", "../n"}};
  for (const auto& misuse : misuses) {
    auto arguments = good;
    if (misuse[0] == "--name") arguments.resize(5);
    arguments.insert(arguments.end(), misuse.begin(), misuse.end());
    EXPECT_EQ(Run(arguments), 2) << misuse[0];
    EXPECT_THAT(Err(), HasSubstr(misuse[0].substr(2))) << misuse[0];
  }
  EXPECT_EQ(Run({}), 2);
  EXPECT_THAT(Files(), UnorderedElementsAre("a.txt"));
}

class InterruptedProgram : public TokenizerProgram, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Signals, InterruptedProgram, testing::Values(SIGINT, SIGTERM, SIGHUP));

// Its input is a pipe that never ends, so that it is reading whenever the signal comes.
TEST_P(InterruptedProgram, LeavesNothingBehind) {
  ASSERT_EQ(::mkfifo(Path("pipe.txt").c_str(), 0600), 0);
  FileDescriptor pipe(::open(Path("pipe.txt").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(pipe.valid());
  Subprocess process =
      Start({"prepare", "--input", Path("pipe.txt"), "--output", Path("out"), "--name", "n"});
  const auto staging = scratch_.path() / ".out.partial" / "contents" / "text";
  while (!std::filesystem::exists(staging)) {
    ASSERT_FALSE(process.Poll().has_value()) << Err();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  process.Signal(GetParam());
  const auto exit = process.Wait(absl::Seconds(30));
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 128 + GetParam()) << exit->ToString();
  EXPECT_THAT(Files(), UnorderedElementsAre("pipe.txt"));
  EXPECT_THAT(Err(), HasSubstr("interrupted"));
}

TEST_F(TokenizerProgram, TheNextRunCleansUpAfterAKilledOne) {
  ASSERT_EQ(::mkfifo(Path("pipe.txt").c_str(), 0600), 0);
  FileDescriptor pipe(::open(Path("pipe.txt").c_str(), O_RDWR | O_CLOEXEC));
  {
    Subprocess process =
        Start({"prepare", "--input", Path("pipe.txt"), "--output", Path("out"), "--name", "n"});
    while (!std::filesystem::exists(Path(".out.partial/contents/text"))) {
      ASSERT_FALSE(process.Poll().has_value()) << Err();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    process.Signal(SIGKILL);
    ASSERT_TRUE(process.Wait(absl::Seconds(30)).has_value());
  }
  EXPECT_THAT(Files(), UnorderedElementsAre("pipe.txt", ".out.partial"));
  scratch_.Write("a.txt", "text");
  EXPECT_EQ(Run({"prepare", "--input", Path("a.txt"), "--output", Path("out"), "--name", "n"}), 0)
      << Err();
  EXPECT_THAT(Files(), UnorderedElementsAre("pipe.txt", "a.txt", "out"));
}

}  // namespace
}  // namespace wavefield
