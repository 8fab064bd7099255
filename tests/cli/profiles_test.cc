// login, logout, profiles, and where the connection of a command comes from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"
#include "tests/cli/terminal_program.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class ProfilesTest : public testing::Test {
 protected:
  ProfilesTest() { Serve(cluster_, "here"); }
  static void Serve(FakeCluster& cluster, const std::string& job) {
    cluster.list_jobs = [job](const v1::ListJobsRequest&, v1::ListJobsResponse& response) {
      response.add_jobs()->set_name("jobs/" + job);
      return grpc::Status::OK;
    };
  }
  std::vector<std::string> Environment(std::vector<std::string> more = {}) {
    more.push_back("XDG_CONFIG_HOME=" + directory_.path().string());
    return more;
  }
  CommandResult Run(std::vector<std::string> arguments, const std::string& input = "",
                    std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), (ProgramDirectory() / "wavefield").string());
    return RunCommand(arguments, Environment(std::move(environment)), input);
  }
  std::filesystem::path File(const std::string& name) {
    return directory_.path() / "wavefield" / "profiles" / name;
  }
  std::filesystem::path TokenOf(const std::string& name) {
    return json::parse(ReadText(File(name + ".json")))["token_file"].get<std::string>();
  }
  static unsigned ModeOf(const std::filesystem::path& path) {
    struct stat status {};
    EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 0777u;
  }

  FakeCluster cluster_;
  TemporaryDirectory directory_;
};

TEST_F(ProfilesTest, LoginKeepsAddressAndTokenForTheOwnerAlone) {
  const CommandResult result = Run({"login", cluster_.address()}, "very-secret\n");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadText(TokenOf("default")), "very-secret\n");
  EXPECT_EQ(ModeOf(TokenOf("default")), 0600u);
  EXPECT_EQ(ModeOf(File("default.json")), 0600u);
  EXPECT_EQ(ModeOf(directory_.path() / "wavefield" / "profiles"), 0700u);
  EXPECT_EQ(json::parse(ReadText(File("default.json")))["address"], cluster_.address());
  EXPECT_THAT(ReadText(File("default.json")) + result.out + result.err,
              Not(HasSubstr("very-secret")));
  EXPECT_EQ(Run({"jobs", "--output", "names"}).out, "here\n") << "the profile is used from now on";
  const CommandResult list = Run({"profiles", "list"});
  EXPECT_THAT(list.out, ContainsRegex("default +" + cluster_.address() + " +no +yes +\\*\n"));
  EXPECT_EQ(json::parse(Run({"profiles", "list", "--json"}).out)["profiles"][0]["token"], true);
}

TEST_F(ProfilesTest, LoginKeepsNothingThatDoesNotWork) {
  cluster_.list_jobs = [](const v1::ListJobsRequest&, v1::ListJobsResponse&) {
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "the token is not known");
  };
  const CommandResult refused = Run({"login", cluster_.address()}, "wrong\n");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("the token is not known"));
  EXPECT_THAT(refused.err, Not(HasSubstr("wrong")));
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "wavefield"));
  const CommandResult clear = Run({"login", "192.0.2.1:7070"}, "secret\n");
  EXPECT_EQ(clear.exit_code, 2);
  EXPECT_THAT(clear.err, HasSubstr("--ca-file"));
  EXPECT_EQ(Run({"login", cluster_.address(), "--profile", "../x"}).exit_code, 2);
  EXPECT_EQ(Run({"login"}).exit_code, 2);
}

TEST_F(ProfilesTest, AnAddressWithoutAPortIsRefused) {
  for (const char* address : {"somewhere", "somewhere:", ":7070", "somewhere:99999", "::1"}) {
    for (const CommandResult& result :
         {Run({"login", address, "--no-token"}), Run({"jobs", "--address", address})}) {
      EXPECT_EQ(result.exit_code, 2) << address;
      EXPECT_THAT(result.err, HasSubstr("HOST:PORT")) << address;
    }
  }
  for (const char* address : {"unix:/nowhere", "[::1]:1", "dns:localhost:1", "127.0.0.1:1"}) {
    EXPECT_EQ(Run({"jobs", "--address", address, "--timeout", "0.2"}).exit_code, 4) << address;
  }
}

TEST_F(ProfilesTest, ATokenThatIsTypedIsNotShown) {
  TerminalProgram terminal("", {"login", cluster_.address()}, TerminalProgram::Streams::kAll,
                           Environment());
  terminal.WaitFor("Token");
  terminal.Type("very-secret\n");
  EXPECT_EQ(terminal.Finish(), 0) << terminal.output();
  EXPECT_THAT(terminal.output(), Not(HasSubstr("very-secret")));
  EXPECT_EQ(ReadText(TokenOf("default")), "very-secret\n");
}

TEST_F(ProfilesTest, FlagsComeBeforeTheEnvironmentBeforeTheProfile) {
  FakeCluster second, third;
  Serve(second, "second");
  Serve(third, "third");
  const auto names = [&](std::vector<std::string> flags, std::vector<std::string> environment) {
    flags.insert(flags.begin(), {"jobs", "--output", "names"});
    return Run(flags, "", std::move(environment)).out;
  };
  ASSERT_EQ(Run({"login", second.address(), "--profile", "b", "--no-token"}).exit_code, 0);
  ASSERT_EQ(Run({"login", cluster_.address(), "--profile", "a", "--no-token"}).exit_code, 0);
  EXPECT_EQ(names({}, {}), "here\n");
  EXPECT_EQ(names({"--profile", "b"}, {}), "second\n");
  EXPECT_EQ(names({}, {"WAVEFIELD_PROFILE=b"}), "second\n");
  EXPECT_EQ(names({"--profile", "a"}, {"WAVEFIELD_PROFILE=b"}), "here\n");
  EXPECT_EQ(names({}, {"WAVEFIELD_ADDRESS=" + third.address()}), "third\n");
  EXPECT_EQ(names({"--address", second.address()}, {"WAVEFIELD_ADDRESS=" + third.address()}),
            "second\n");
  const CommandResult use = Run({"profiles", "use", "b"});
  EXPECT_EQ(use.exit_code, 0);
  EXPECT_THAT(use.out, Not(HasSubstr("comes before")));
  EXPECT_EQ(names({}, {}), "second\n");
  EXPECT_THAT(Run({"profiles", "use", "b"}, "", {"WAVEFIELD_ADDRESS=" + third.address()}).out,
              HasSubstr("here WAVEFIELD_ADDRESS comes before it"));
  EXPECT_THAT(Run({"login", second.address(), "--profile", "b", "--no-token"}, "",
                  {"WAVEFIELD_ADDRESS=" + second.address(), "WAVEFIELD_PROFILE=a"})
                  .out,
              HasSubstr("here WAVEFIELD_PROFILE comes before it"));
  const CommandResult unknown = Run({"jobs", "--profile", "c"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("known: a, b"));
  EXPECT_EQ(Run({"profiles", "use", "c"}).exit_code, 3);
}

TEST_F(ProfilesTest, ATokenGoesToTheAddressOfItsProfileAlone) {
  ASSERT_EQ(Run({"login", cluster_.address()}, "very-secret\n").exit_code, 0);
  // With the token this would be refused as sent in the clear.
  const CommandResult elsewhere = Run({"jobs", "--address", "192.0.2.1:7070", "--timeout", "0.2"});
  EXPECT_EQ(elsewhere.exit_code, 4);
  EXPECT_THAT(elsewhere.err, Not(HasSubstr("in the clear")));
  for (const CommandResult& both :
       {Run({"jobs", "--profile", "default", "--address", "192.0.2.1:7070"}),
        Run({"jobs", "--profile", "default"}, "", {"WAVEFIELD_ADDRESS=192.0.2.1:7070"})}) {
    EXPECT_EQ(both.exit_code, 2);
    EXPECT_THAT(both.err, HasSubstr("'default' is for " + cluster_.address()));
    EXPECT_THAT(both.err, HasSubstr("192.0.2.1:7070"));
  }
  EXPECT_EQ(Run({"jobs", "--profile", "default", "--address", cluster_.address()}).exit_code, 0);
}

TEST_F(ProfilesTest, ASecondLoginLeavesNothingOfTheFirst) {
  ASSERT_EQ(Run({"login", cluster_.address(), "--profile", "a.b"}, "other\n").exit_code, 0);
  ASSERT_EQ(Run({"login", cluster_.address(), "--profile", "a"}, "first\n").exit_code, 0);
  const std::filesystem::path first = TokenOf("a");
  ASSERT_EQ(Run({"login", cluster_.address(), "--profile", "a"}, "second\n").exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(first));
  EXPECT_EQ(ReadText(TokenOf("a")), "second\n");
  ASSERT_EQ(Run({"login", cluster_.address(), "--profile", "a", "--no-token"}).exit_code, 0);
  EXPECT_EQ(Run({"logout", "--profile", "a"}).exit_code, 0);
  EXPECT_EQ(ReadText(TokenOf("a.b")), "other\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(File("")), {}), 2);
}

TEST_F(ProfilesTest, ACurrentProfileThatIsGoneOrBrokenStandsInNobodysWay) {
  directory_.Write("wavefield/profiles/broken.json", "{");
  for (const char* current : {"gone", "broken", "../x"}) {
    directory_.Write("wavefield/current-profile", current);
    EXPECT_NE(Run({"jobs"}).exit_code, 0);
    EXPECT_EQ(Run({"jobs", "--address", cluster_.address(), "--output", "names"}).out, "here\n");
    EXPECT_EQ(Run({"profiles", "list"}).exit_code, 0);
    Run({"logout"});
    EXPECT_THAT(Run({"logout"}).err, HasSubstr("no profile is in use")) << current;
  }
  EXPECT_FALSE(std::filesystem::exists(File("broken.json")));
  directory_.Write("wavefield/current-profile", "gone");
  EXPECT_EQ(Run({"login", cluster_.address(), "--no-token"}).exit_code, 0);
  EXPECT_EQ(Run({"jobs"}).exit_code, 0);
}

TEST_F(ProfilesTest, LogoutRemovesTheToken) {
  ASSERT_EQ(Run({"login", cluster_.address(), "--profile", "a"}, "secret\n").exit_code, 0);
  EXPECT_EQ(Run({"logout"}).exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path() / "wavefield" / "profiles"));
  EXPECT_EQ(Run({"profiles", "list"}).out, "");
  const CommandResult again = Run({"logout"});
  EXPECT_EQ(again.exit_code, 3);
  EXPECT_THAT(again.err, HasSubstr("--profile"));
}

TEST_F(ProfilesTest, AProfileThatIsNoneIsSaid) {
  directory_.Write("wavefield/profiles/a.json", "{\"address\": 7");
  const CommandResult broken = Run({"jobs", "--profile", "a"});
  EXPECT_EQ(broken.exit_code, 1);
  EXPECT_THAT(broken.err, HasSubstr("log in again"));
}

TEST_F(ProfilesTest, ATerminalIsAskedBeforeSomethingIsDestroyed) {
  std::atomic<int> deleted = 0;
  cluster_.delete_job = [&](const v1::DeleteJobRequest& request, v1::Job& job) {
    if (!request.validate_only()) ++deleted;
    job.set_name(request.name());
    job.set_state(v1::JOB_STATE_FAILED);
    return grpc::Status::OK;
  };
  for (const char* answer : {"\n", "no\n", "yes\n"}) {
    TerminalProgram terminal(cluster_.address(), {"delete", "first"},
                             TerminalProgram::Streams::kAll);
    terminal.WaitFor("Delete 1 job, with history, logs and checkpoints, for good? [y/N]");
    EXPECT_THAT(terminal.output(), HasSubstr("\x1b[31mFAILED\x1b[0m"));
    terminal.Type(answer);
    EXPECT_EQ(terminal.Finish(), answer[0] == 'y' ? 0 : 1);
  }
  EXPECT_EQ(deleted, 1);
  TerminalProgram plain(cluster_.address(), {"delete", "first", "--dry-run"},
                        TerminalProgram::Streams::kAll, {"NO_COLOR=1"});
  EXPECT_EQ(plain.Finish(), 0);
  EXPECT_THAT(plain.output(), HasSubstr("FAILED"));
  EXPECT_THAT(plain.output(), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace wavefield
