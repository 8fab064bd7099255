// Completion: what the shells offer, asked of bash itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_split.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::UnorderedElementsAre;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    cluster_.list_jobs = [](const v1::ListJobsRequest&, v1::ListJobsResponse& response) {
      for (const char* id : {"alpha", "also", "beta"}) {
        response.add_jobs()->set_name(std::string("jobs/") + id);
      }
      return grpc::Status::OK;
    };
    cluster_.list_workers = [](const v1::ListWorkersRequest&, v1::ListWorkersResponse& response) {
      response.add_workers()->set_name("workers/w1");
      return grpc::Status::OK;
    };
  }
  std::string Script(const std::string& shell) {
    const CommandResult result = RunWavefield(cluster_.address(), {"completion", shell});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  // What bash offers where the cursor stands behind the last of `words`.
  std::vector<std::string> Offers(const std::vector<std::string>& words,
                                  const std::string& address = "") {
    const std::string script = directory_.Write("completion.bash", Script("bash"));
    std::string quoted = "'" + (ProgramDirectory() / "wavefield").string() + "'";
    for (const std::string& word : words) quoted += " '" + word + "'";
    const CommandResult result = RunCommand(
        {"/bin/bash", "--noprofile", "--norc", "-c",
         "set -u; source '" + script + "'; COMP_WORDS=(" + quoted + "); COMP_CWORD=" +
             std::to_string(words.size()) + "; _wavefield; printf '%s\\n' \"${COMPREPLY[@]}\""},
        {"WAVEFIELD_ADDRESS=" + (address.empty() ? cluster_.address() : address)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return absl::StrSplit(result.out, '\n', absl::SkipEmpty());
  }

  FakeCluster cluster_;
  TemporaryDirectory directory_;
};

TEST_F(CompletionTest, BashOffersCommandsOfEachDepth) {
  EXPECT_THAT(Offers({"su"}), ElementsAre("submit"));
  EXPECT_THAT(Offers({""}), IsSupersetOf({"jobs", "checkpoints", "explain", "login"}));
  EXPECT_THAT(Offers({"checkpoints", ""}), IsSupersetOf({"list", "pin", "gc", "lineage"}));
  EXPECT_THAT(Offers({"checkpoints", "li"}), ElementsAre("list", "lineage"));
  EXPECT_THAT(Offers({"workers", "dr"}), ElementsAre("drain"));
}

TEST_F(CompletionTest, BashOffersFlagsAndTheChoicesOfTheirValues) {
  EXPECT_THAT(Offers({"jobs", "--fo"}), ElementsAre("--follow"));
  EXPECT_THAT(Offers({"jobs", "--add"}), ElementsAre("--address")) << "of the program itself";
  EXPECT_THAT(Offers({"jobs", "--output", ""}), ElementsAre("table", "wide", "json", "names"));
  EXPECT_THAT(Offers({"jobs", "--output", "=", "w"}), ElementsAre("wide"));
  EXPECT_THAT(Offers({"completion", "z"}), ElementsAre("zsh"));
  EXPECT_THAT(Offers({"plot", "a", "--x", "t"}), UnorderedElementsAre("tokens", "time"));
}

TEST_F(CompletionTest, BashOffersIdsThatTheCoordinatorHas) {
  EXPECT_THAT(Offers({"cancel", "al"}), ElementsAre("alpha", "also"));
  EXPECT_THAT(Offers({"pause", "alpha", "b"}), ElementsAre("beta"));
  EXPECT_THAT(Offers({"--timeout", "5", "checkpoints", "show", "be"}), ElementsAre("beta"));
  EXPECT_THAT(Offers({"submit", "--after", "be"}), ElementsAre("beta"));
  EXPECT_THAT(Offers({"workers", "cordon", ""}), ElementsAre("w1"));
  EXPECT_THAT(Offers({"jobs", "--filter", ""}), IsEmpty()) << "left to file names";
  std::string gone;
  { gone = FakeCluster().address(); }
  EXPECT_THAT(Offers({"cancel", "al"}, gone), IsEmpty()) << "and without a word of its error";
}

TEST_F(CompletionTest, NothingThatACoordinatorSendsIsRun) {
  const std::string trace = (directory_.path() / "trace").string();
  cluster_.list_jobs = [](const v1::ListJobsRequest&, v1::ListJobsResponse& response) {
    response.add_jobs()->set_name("jobs/al$(echo>trace)");
    response.add_jobs()->set_name("jobs/alpha\nalso");
    response.add_jobs()->set_name("jobs/alpha");
    return grpc::Status::OK;
  };
  EXPECT_THAT(Offers({"cancel", "al"}), ElementsAre("alpha"));
  // Of the script itself.
  const std::string script = directory_.Write("completion.bash", Script("bash"));
  const CommandResult result =
      RunCommand({"/bin/bash", "--noprofile", "--norc", "-c",
                  "source '" + script + "'; __wavefield_candidates() { echo 'al$(echo>" + trace +
                      ") al*'; }; COMP_WORDS=(wavefield al); COMP_CWORD=1; _wavefield; "
                      "printf '%s\\n' \"${COMPREPLY[@]}\""},
                 {});
  EXPECT_EQ(result.out, "al$(echo>" + trace + ")\nal*\n");
  EXPECT_FALSE(std::filesystem::exists(trace));
}

TEST_F(CompletionTest, EveryShellKnowsEveryCommand) {
  const std::string bash = Script("bash"), zsh = Script("zsh"), fish = Script("fish");
  EXPECT_THAT(zsh, testing::StartsWith("#compdef wavefield\n"));
  EXPECT_THAT(zsh, HasSubstr("compdef _wavefield wavefield"));
  EXPECT_THAT(fish,
              HasSubstr("complete -c wavefield -f -n '__wavefield_at checkpoints' -a lineage"));
  EXPECT_THAT(fish, HasSubstr("complete -c wavefield -n '__wavefield_at jobs' -l output -x -a "
                              "'table wide json names'"));
  for (const char* path : {"'workers drain'", "'checkpoints gc'", "'explain'", "'data import'"}) {
    EXPECT_THAT(bash, HasSubstr(path));
    EXPECT_THAT(zsh, HasSubstr(path));
  }
  EXPECT_EQ(RunWavefield(cluster_.address(), {"completion", "tcsh"}).exit_code, 2);
  // Blocks and quotes of the script for fish are closed.
  int depth = 0;
  const std::vector<std::string> lines = absl::StrSplit(fish, '\n');
  for (const std::string& line : lines) {
    const std::string word(absl::StripLeadingAsciiWhitespace(line));
    for (const char* opens : {"function ", "switch ", "for ", "if "}) {
      depth += word.starts_with(opens) ? 1 : 0;
    }
    depth -= word == "end" ? 1 : 0;
    if (!word.starts_with("complete ")) continue;
    size_t quotes = 0;
    for (size_t i = 0; i < word.size(); ++i) {
      if (word[i] == '\\') {
        ++i;
      } else {
        quotes += word[i] == '\'' ? 1 : 0;
      }
    }
    EXPECT_EQ(quotes % 2, 0u) << line;
  }
  EXPECT_EQ(depth, 0);
}

}  // namespace
}  // namespace wavefield
