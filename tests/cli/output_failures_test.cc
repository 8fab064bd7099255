// What cannot be written, or read, is said with its name and is no success.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using testing::HasSubstr;
using testing::Not;

class OutputFailuresTest : public testing::Test {
 protected:
  OutputFailuresTest() {
    cluster_.get_job = [](const v1::GetJobRequest& request, v1::Job& job) {
      job.set_name(request.name());
      return grpc::Status::OK;
    };
    cluster_.list_metrics = [](const v1::ListMetricsRequest&, v1::ListMetricsResponse& response) {
      for (int64_t step = 1; step <= 2; ++step) {
        v1::StepMetrics& metrics = *response.add_steps();
        metrics.set_step(step);
        metrics.set_loss(2);
      }
      return grpc::Status::OK;
    };
  }
  // With its standard output on a device that is full.
  CommandResult RunOntoFullDisk(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"/bin/sh", "-c", "exec \"$0\" \"$@\" > /dev/full",
                                         (ProgramDirectory() / "wavefield").string()});
    return RunCommand(arguments, {"WAVEFIELD_ADDRESS=" + cluster_.address()});
  }

  TemporaryDirectory directory_;
  FakeCluster cluster_;
};

TEST_F(OutputFailuresTest, OutputThatIsLostIsNoSuccess) {
  const std::vector<std::vector<std::string>> commands = {
      {"metrics", "x", "--csv"}, {"model", "presets"},     {"job", "x", "--json"},
      {"completion", "bash"},    {"plot", "x", "-o", "-"}, {"--help"}};
  for (const std::vector<std::string>& command : commands) {
    const CommandResult result = RunOntoFullDisk(command);
    EXPECT_EQ(result.exit_code, 1) << command[0];
    EXPECT_THAT(result.err, HasSubstr("cannot write to the standard output")) << command[0];
  }
  EXPECT_THAT(RunOntoFullDisk({"metrics", "x", "--csv"}).err,
              HasSubstr("standard output: No space left on device"));
  EXPECT_EQ(RunOntoFullDisk({"jobs", "--no-such-flag"}).exit_code, 2) << "the first error counts";
}

TEST_F(OutputFailuresTest, AFileThatCannotBeWrittenIsNamedAsItWasAskedFor) {
  const std::string file = (directory_.path() / "nowhere" / "x.svg").string();
  const CommandResult result = RunWavefield(cluster_.address(), {"plot", "x", "-o", file});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr(file + ": No such file or directory"));
  EXPECT_THAT(result.err, Not(HasSubstr(".tmp")));
}

TEST_F(OutputFailuresTest, AConfigurationThatIsNoJsonSaysWhere) {
  const std::string file = directory_.Write("config.json", "{");
  const CommandResult result = RunWavefield(cluster_.address(), {"--config", file, "jobs"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("not valid JSON: parse error at line 1"));
  EXPECT_THAT(result.err, Not(HasSubstr("json.exception")));
}

}  // namespace
}  // namespace wavefield
