// Completion: what the shells offer, asked of the shells.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::UnorderedElementsAre;

constexpr const char* kShells[] = {"bash", "zsh", "fish"};

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
    cluster_.list_datasets = [](const v1::ListDatasetsRequest&,
                                v1::ListDatasetsResponse& response) {
      response.add_datasets()->set_name("datasets/books");
      return grpc::Status::OK;
    };
    directory_.Write(".config/wavefield/profiles/home.json",
                     "{\"address\": \"" + cluster_.address() + "\"}");
  }
  std::string Script(const std::string& shell) {
    const CommandResult result = RunWavefield(cluster_.address(), {"completion", shell});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  // What the shell offers where the cursor stands behind the last of `words`.
  std::vector<std::string> Offers(const std::string& shell, const std::vector<std::string>& words,
                                  const std::string& address = "") {
    const std::string script = directory_.Write("completion." + shell, Script(shell));
    std::string quoted = "'" + (ProgramDirectory() / "wavefield").string() + "'";
    for (const std::string& word : words) quoted += " '" + word + "'";
    const std::string count = std::to_string(words.size());
    std::vector<std::string> command;
    if (shell == "bash") {
      command = {"bash", "--noprofile", "--norc", "-c",
                 "set -u; source '" + script + "'; COMP_WORDS=(" + quoted +
                     "); COMP_CWORD=" + count + "; _wavefield; printf '%s\\n' \"${COMPREPLY[@]}\""};
    } else if (shell == "zsh") {
      // What zsh's completion gives to a function: `words` from 1 on, and where to put what fits.
      // It is zsh that leaves out what does not.
      command = {"zsh", "-f", "-c",
                 "compdef() { registered=$* }; compadd() { print -l -- ${(P)2} }; compset() { }; "
                 "_files() { }; source '" +
                     script +
                     "'; "
                     "[[ $registered == '_wavefield wavefield' ]] || exit 9; words=(" +
                     quoted + "); CURRENT=$((" + count + " + 1)); _wavefield"};
    } else {
      command = {
          "fish", "--no-config", "-c",
          "source '" + script + "'; complete -C \"wavefield " + absl::StrJoin(words, " ") + "\""};
    }
    command.insert(command.begin(), "/usr/bin/env");
    const CommandResult result = RunCommand(
        command, {"WAVEFIELD_ADDRESS=" + (address.empty() ? cluster_.address() : address),
                  "PATH=" + ProgramDirectory().string() + ":/usr/bin:/bin",
                  "HOME=" + directory_.path().string()});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "") << shell;
    std::vector<std::string> offers;
    for (const absl::string_view line : absl::StrSplit(result.out, '\n', absl::SkipEmpty())) {
      const absl::string_view word = line.substr(0, line.find('\t'));  // fish adds a description
      if (shell != "zsh" || absl::StartsWith(word, words.back())) offers.emplace_back(word);
    }
    return offers;
  }

  FakeCluster cluster_;
  TemporaryDirectory directory_;
};

TEST_F(CompletionTest, CommandsOfEachDepth) {
  for (const char* shell : kShells) {
    SCOPED_TRACE(shell);
    EXPECT_THAT(Offers(shell, {"su"}), ElementsAre("submit"));
    EXPECT_THAT(Offers(shell, {""}), IsSupersetOf({"jobs", "checkpoints", "explain", "login"}));
    EXPECT_THAT(Offers(shell, {"checkpoints", ""}), IsSupersetOf({"list", "pin", "gc", "lineage"}));
    EXPECT_THAT(Offers(shell, {"checkpoints", "li"}), UnorderedElementsAre("list", "lineage"));
    EXPECT_THAT(Offers(shell, {"workers", "dr"}), ElementsAre("drain"));
  }
}

TEST_F(CompletionTest, FlagsAndTheChoicesOfTheirValues) {
  for (const char* shell : kShells) {
    SCOPED_TRACE(shell);
    EXPECT_THAT(Offers(shell, {"jobs", "--fo"}), ElementsAre("--follow"));
    EXPECT_THAT(Offers(shell, {"jobs", "--add"}), ElementsAre("--address")) << "of the program";
    EXPECT_THAT(Offers(shell, {"jobs", "--output", ""}),
                UnorderedElementsAre("table", "wide", "json", "names"));
    EXPECT_THAT(Offers(shell, {"completion", "z"}), ElementsAre("zsh"));
    EXPECT_THAT(Offers(shell, {"plot", "alpha", "--x", "t"}),
                UnorderedElementsAre("tokens", "time"));
  }
  EXPECT_THAT(Offers("bash", {"jobs", "--output", "=", "w"}), ElementsAre("wide"));
}

TEST_F(CompletionTest, IdsThatTheCoordinatorHas) {
  std::string gone;
  { gone = FakeCluster().address(); }
  for (const char* shell : kShells) {
    SCOPED_TRACE(shell);
    EXPECT_THAT(Offers(shell, {"cancel", "al"}), UnorderedElementsAre("alpha", "also"));
    EXPECT_THAT(Offers(shell, {"cancel", "--dry-run", "al"}), UnorderedElementsAre("alpha", "also"))
        << "behind a flag that takes no value";
    EXPECT_THAT(Offers(shell, {"pause", "alpha", "b"}), ElementsAre("beta"));
    EXPECT_THAT(Offers(shell, {"--timeout", "5", "checkpoints", "show", "be"}),
                ElementsAre("beta"));
    EXPECT_THAT(Offers(shell, {"submit", "--after", "be"}), ElementsAre("beta"));
    EXPECT_THAT(Offers(shell, {"workers", "cordon", "w"}), ElementsAre("w1"));
    EXPECT_THAT(Offers(shell, {"cancel", "al"}, gone), IsEmpty()) << "and no word of its error";
  }
  EXPECT_THAT(Offers("bash", {"jobs", "--filter", ""}), IsEmpty()) << "left to file names";
}

TEST_F(CompletionTest, ProfilesAndDatasets) {
  for (const char* shell : kShells) {
    SCOPED_TRACE(shell);
    EXPECT_THAT(Offers(shell, {"profiles", "use", "h"}), ElementsAre("home"));
    EXPECT_THAT(Offers(shell, {"jobs", "--profile", "h"}), ElementsAre("home"));
    EXPECT_THAT(Offers(shell, {"data", "show", "b"}), ElementsAre("books"));
  }
}

TEST_F(CompletionTest, TheClusterThatIsNamedOnTheLineIsAsked) {
  std::string gone;
  { gone = FakeCluster().address(); }
  const size_t colon = cluster_.address().find(':');
  const std::string host = cluster_.address().substr(0, colon);
  const std::string port = cluster_.address().substr(colon + 1);
  for (const char* shell : kShells) {
    SCOPED_TRACE(shell);
    EXPECT_THAT(Offers(shell, {"--address", cluster_.address(), "pause", "b"}, gone),
                ElementsAre("beta"));
    EXPECT_THAT(Offers(shell, {"pause", "--address=" + cluster_.address(), "b"}, gone),
                ElementsAre("beta"));
    EXPECT_THAT(Offers(shell, {"--profile", "nobody", "pause", "b"}), IsEmpty());
    EXPECT_THAT(Offers(shell, {"--profile", "home", "pause", "b"}), ElementsAre("beta"));
  }
  // As bash takes it apart.
  EXPECT_THAT(Offers("bash", {"pause", "--address", "=", host, ":", port, "b"}, gone),
              ElementsAre("beta"));
}

TEST_F(CompletionTest, NothingThatACoordinatorSendsIsRun) {
  const std::string trace = (directory_.path() / "trace").string();
  cluster_.list_jobs = [](const v1::ListJobsRequest&, v1::ListJobsResponse& response) {
    response.add_jobs()->set_name("jobs/al$(echo>trace)");
    response.add_jobs()->set_name("jobs/alpha\nalso");
    response.add_jobs()->set_name("jobs/alpha");
    return grpc::Status::OK;
  };
  for (const char* shell : kShells) {
    EXPECT_THAT(Offers(shell, {"cancel", "al"}), ElementsAre("alpha")) << shell;
  }
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

TEST_F(CompletionTest, ZshFindsTheScriptAmongItsFunctions) {
  EXPECT_THAT(Script("zsh"), testing::StartsWith("#compdef wavefield\n"));
}

TEST_F(CompletionTest, AnotherShellIsRefused) {
  EXPECT_EQ(RunWavefield(cluster_.address(), {"completion", "tcsh"}).exit_code, 2);
}

}  // namespace
}  // namespace wavefield
