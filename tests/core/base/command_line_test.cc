#include "core/base/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <vector>

#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A program like ours: a global flag, and a subcommand with flags of its own.
class CommandLineTest : public testing::Test {
 protected:
  void SetUp() override { Clear(); }
  void TearDown() override { Clear(); }

  // What Run() returned; 42 when the program itself ran.
  int Run(std::vector<std::string> arguments) {
    CommandLine command_line("program", "a program");
    CLI::App& app = command_line.app();
    app.add_option("--address", address, "where");
    CLI::App* up = app.add_subcommand("up", "start");
    up->add_option("--slots", slots, "how many");
    up->add_option("--data-dir", data_dir, "where");
    up->add_flag("--insecure", insecure, "no TLS");
    app.add_subcommand("watch", "look");
    arguments.insert(arguments.begin(), "program");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    const int code =
        command_line.Run(static_cast<int>(argv.size()), argv.data(), [] { return 42; });
    errors = testing::internal::GetCapturedStderr();
    output = testing::internal::GetCapturedStdout();
    return code;
  }

  std::string Config(const std::string& json) {
    const std::filesystem::path path = directory_.path() / "config.json";
    std::ofstream(path) << json;
    return path;
  }

  std::string address = "default", data_dir, errors, output;
  int slots = 1;
  bool insecure = false;

 private:
  static void Clear() {
    for (const char* name : {"WAVEFIELD_ADDRESS", "WAVEFIELD_SLOTS", "WAVEFIELD_DATA_DIR"}) {
      ::unsetenv(name);
    }
  }
  const TemporaryDirectory directory_;
};

TEST_F(CommandLineTest, RunsWithFlagsFromTheCommandLine) {
  EXPECT_EQ(Run({"--address", "a:1", "up", "--slots", "3", "--insecure"}), 42) << errors;
  EXPECT_EQ(address, "a:1");
  EXPECT_EQ(slots, 3);
  EXPECT_TRUE(insecure);
}

TEST_F(CommandLineTest, HelpAndVersionEndWithZeroAndDoNotRun) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(output, AllOf(HasSubstr("--address"), HasSubstr("up")));
  EXPECT_EQ(Run({"up", "--help"}), 0);
  EXPECT_THAT(output, HasSubstr("--slots"));
  EXPECT_EQ(Run({"--version"}), 0);
  EXPECT_THAT(output, HasSubstr("wavefield 0."));
}

TEST_F(CommandLineTest, AnUnknownFlagNamesTheNearest) {
  EXPECT_EQ(Run({"--adress=x"}), 2);
  EXPECT_THAT(errors, AllOf(HasSubstr("--adress"), HasSubstr("did you mean '--address'")));
  EXPECT_EQ(Run({"up", "--slot", "3"}), 2);
  EXPECT_THAT(errors, AllOf(HasSubstr("--slot"), HasSubstr("did you mean '--slots'")));
  EXPECT_EQ(Run({"up", "--slot=3"}), 2);
  EXPECT_THAT(errors, HasSubstr("did you mean '--slots'"));
}

TEST_F(CommandLineTest, AnUnknownSubcommandNamesTheNearest) {
  EXPECT_EQ(Run({"wathc"}), 2);
  EXPECT_THAT(errors, AllOf(HasSubstr("wathc"), HasSubstr("did you mean 'watch'")));
}

TEST_F(CommandLineTest, AValueOfTheWrongTypeIsAnErrorThatNamesTheFlag) {
  EXPECT_EQ(Run({"up", "--slots", "many"}), 2);
  EXPECT_THAT(errors, AllOf(HasSubstr("--slots"), HasSubstr("many")));
}

TEST_F(CommandLineTest, ReadsFlagsFromAJsonFile) {
  EXPECT_EQ(Run({"--config", Config(R"({"address": "file:1", "up": {"slots": 5, "data-dir": "/d",
                                        "insecure": true}})"),
                 "up"}),
            42)
      << errors;
  EXPECT_EQ(address, "file:1");
  EXPECT_EQ(slots, 5);
  EXPECT_EQ(data_dir, "/d");
  EXPECT_TRUE(insecure);
}

TEST_F(CommandLineTest, AnUnknownKeyOfTheFileNamesTheNearest) {
  EXPECT_EQ(Run({"--config", Config(R"({"adress": "x"})")}), 2);
  EXPECT_THAT(errors, AllOf(HasSubstr("adress"), HasSubstr("address'")));
  EXPECT_EQ(Run({"--config", Config(R"({"up": {"slotz": 5}})"), "up"}), 2);
  EXPECT_THAT(errors, AllOf(HasSubstr("slotz"), HasSubstr("slots'")));
}

TEST_F(CommandLineTest, AFileThatIsMissingOrNoJsonIsAnError) {
  EXPECT_EQ(Run({"--config", "/nonexistent.json"}), 2);
  EXPECT_THAT(errors, HasSubstr("/nonexistent.json"));
  EXPECT_EQ(Run({"--config", Config("{")}), 2);
  EXPECT_THAT(errors, HasSubstr("JSON"));
  EXPECT_EQ(Run({"--config", Config("[1]")}), 2);
  EXPECT_THAT(errors, HasSubstr("JSON object"));
}

TEST_F(CommandLineTest, CommandLineBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string config = Config(R"({"address": "file", "up": {"slots": 5}})");
  EXPECT_EQ(Run({"up"}), 42);
  EXPECT_EQ(address, "default");
  EXPECT_EQ(Run({"--config", config, "up"}), 42);
  EXPECT_EQ(address, "file");
  EXPECT_EQ(slots, 5);
  ::setenv("WAVEFIELD_ADDRESS", "environment", 1);
  ::setenv("WAVEFIELD_SLOTS", "6", 1);
  ::setenv("WAVEFIELD_DATA_DIR", "/e", 1);
  EXPECT_EQ(Run({"--config", config, "up"}), 42);
  EXPECT_EQ(address, "environment");
  EXPECT_EQ(slots, 6);
  EXPECT_EQ(data_dir, "/e");
  EXPECT_EQ(Run({"--config", config, "--address", "flag", "up", "--slots", "7"}), 42);
  EXPECT_EQ(address, "flag");
  EXPECT_EQ(slots, 7);
}

}  // namespace
}  // namespace wavefield
