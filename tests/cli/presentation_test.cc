// What people see: numbers, tables, bars, job pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "absl/time/clock.h"
#include "cli/views/format.h"
#include "cli/views/job_progress.h"
#include "cli/views/job_view.h"
#include "cli/views/progress_bar.h"
#include "cli/views/table.h"
#include "cli/views/terminal.h"

namespace wavefield {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(FormatTest, DurationsUseTheTwoLargestUnits) {
  EXPECT_EQ(FormatDuration(0), "0ms");
  EXPECT_EQ(FormatDuration(0.00012), "120us");
  EXPECT_EQ(FormatDuration(0.0009999), "1ms");
  EXPECT_EQ(FormatDuration(0.85), "850ms");
  EXPECT_EQ(FormatDuration(0.9999), "1.0s");
  EXPECT_EQ(FormatDuration(12.34), "12.3s");
  EXPECT_EQ(FormatDuration(59.99), "1m00s");
  EXPECT_EQ(FormatDuration(252), "4m12s");
  EXPECT_EQ(FormatDuration(3599.9), "1h00m");
  EXPECT_EQ(FormatDuration(3720), "1h02m");
  EXPECT_EQ(FormatDuration(3 * 86400 + 4 * 3600), "3d04h");
  EXPECT_EQ(FormatDuration(-1), "-");
  EXPECT_EQ(FormatDuration(std::nan("")), "-");
}

TEST(FormatTest, BytesAndCountsChangeUnitWhereRoundingWould) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(FormatBytes(1.25 * 1024 * 1024 * 1024), "1.2 GiB");
  EXPECT_EQ(FormatCompact(999), "999");
  EXPECT_EQ(FormatCompact(999.9), "1.0k");
  EXPECT_EQ(FormatCompact(12345), "12.3k");
  EXPECT_EQ(FormatCompact(2719752), "2.7M");
  EXPECT_EQ(FormatCompact(2.5e11), "250.0G");
}

TEST(FormatTest, IntegersAreGroupedByThousands) {
  EXPECT_EQ(FormatInteger(0), "0");
  EXPECT_EQ(FormatInteger(999), "999");
  EXPECT_EQ(FormatInteger(1000), "1,000");
  EXPECT_EQ(FormatInteger(2719752), "2,719,752");
  EXPECT_EQ(FormatInteger(-100), "-100");
  EXPECT_EQ(FormatInteger(-123456), "-123,456");
  EXPECT_EQ(FormatInteger(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(FormatTest, NonFiniteValuesAreShownAsWhatTheyAre) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(FormatFixed(nan, 4), "NaN");
  EXPECT_EQ(FormatFixed(inf, 4), "Infinity");
  EXPECT_EQ(FormatCompact(-inf), "-Infinity");
  EXPECT_EQ(FormatSignificant(nan, 4), "NaN");
  EXPECT_EQ(FormatBytes(inf), "Infinity");
}

TEST(FormatTest, MomentsAreToldFromNow) {
  const absl::Time now = absl::FromUnixSeconds(1000000);
  const auto at = [&](int64_t seconds_ago) {
    google::protobuf::Timestamp time;
    time.set_seconds(1000000 - seconds_ago);
    return FormatMoment(time, now);
  };
  EXPECT_EQ(at(0), "now");
  EXPECT_EQ(at(59), "59 s ago");
  EXPECT_EQ(at(60), "1 min ago");
  EXPECT_EQ(at(7199), "1 h ago");
  EXPECT_EQ(at(86400), "1 day ago");
  EXPECT_EQ(at(300 * 86400), "300 days ago");
  EXPECT_EQ(at(-125), "in 2 min");
  EXPECT_EQ(FormatMoment(google::protobuf::Timestamp(), now), "-");
}

TEST(TableTest, ColoursTakeNoRoom) {
  Table table({{"STATE"}, {"N", Align::kRight}});
  table.AddRow({{"RUNNING", Color::kGreen}, "1"});
  table.AddRow({{"", Color::kRed}, {"23", Color::kDim}});
  EXPECT_EQ(table.ToString(), "STATE     N\nRUNNING   1\n         23\n");
  EXPECT_EQ(table.ToString(true),
            "STATE     N\n\x1b[32mRUNNING\x1b[0m   1\n         \x1b[2m23\x1b[0m\n");
}

TEST(TableTest, ControlCharactersAreNotPassedOn) {
  Table table({{"A"}});
  table.AddRow({"\x1b[31m\a\x7f\xc2\x9b\xc3\xa4"});
  EXPECT_EQ(table.ToString(), "A\n [31m   \xc3\xa4\n");
}

TEST(JobViewTest, EveryStateAndReasonHasAText) {
  for (int state = v1::JobState_MIN; state <= v1::JobState_MAX; ++state) {
    v1::Job job;
    job.set_name("jobs/a");
    job.set_state(static_cast<v1::JobState>(state));
    EXPECT_EQ(StateColor(job.state()) == Color::kNone, state == 0) << StateName(job.state());
    EXPECT_EQ(FormatJobLine(job), "a " + StateName(job.state()));
  }
  EXPECT_EQ(ReasonText(v1::JOB_REASON_WAITING_FOR_QUOTA), "waiting for quota");
  EXPECT_EQ(ReasonText(static_cast<v1::JobReason>(99)), "reason 99") << "of a later coordinator";
}

TEST(TableTest, AlignsColumnsAndLeavesNoTrailingSpaces) {
  Table table({{"JOB"}, {"STEP", Align::kRight}, {"WHY"}});
  table.AddRow({"a", "1,000", ""});
  table.AddRow({"größe", "2", "waits\nfor slots"});
  EXPECT_EQ(table.ToString(),
            "JOB     STEP  WHY\n"
            "a      1,000\n"
            "größe      2  waits for slots\n");
}

TEST(TableTest, FieldsAlignTheirValues) {
  EXPECT_EQ(FormatFields({{"job", "a"}, {"parameters", "3"}}), "job         a\nparameters  3\n");
}

TEST(ProgressBarTest, FillsInProportionAndClamps) {
  EXPECT_EQ(RenderBar(0, 12), "[----------]");
  EXPECT_EQ(RenderBar(0.5, 12), "[#####-----]");
  EXPECT_EQ(RenderBar(1, 12), "[##########]");
  EXPECT_EQ(RenderBar(7, 12), "[##########]");
  EXPECT_EQ(RenderBar(-1, 12), "[----------]");
  EXPECT_EQ(RenderBar(std::nan(""), 12), "[----------]");
}

// A program that writes to its stdout without pause, interrupted; what it wrote.
std::string OutputOfAnInterruptedProgram() {
  int fds[2];
  EXPECT_EQ(pipe(fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(fds[1], STDOUT_FILENO);
    close(fds[0]);
    close(fds[1]);
    EndCleanlyOnInterrupt();
    SetTerminalRestoration("restored");
    std::thread([] {
      while (true) WriteToTerminal("page ");
    }).join();
  }
  close(fds[1]);
  std::string output;
  char buffer[4096];
  ssize_t count;
  while ((count = read(fds[0], buffer, sizeof(buffer))) > 0) {
    if (output.empty()) kill(child, SIGINT);
    output.append(buffer, static_cast<size_t>(count));
  }
  close(fds[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGINT) << status;
  return output;
}

TEST(TerminalTest, NothingIsWrittenAfterAnInterruptRestoredTheTerminal) {
  for (int i = 0; i < 50; ++i) {
    const std::string output = OutputOfAnInterruptedProgram();
    ASSERT_THAT(output.substr(output.size() - std::min<size_t>(output.size(), 40)),
                EndsWith("page restored"));
  }
}

TEST(CompletionTest, TheBudgetThatEndsFirstCounts) {
  v1::Job job;
  v1::StepMetrics step;
  step.set_step(100);
  step.set_trained_seconds(30);
  EXPECT_LT(EstimateCompletion(job, step, 0.5).fraction, 0);
  EXPECT_LT(EstimateCompletion(job, step, 0.5).remaining_seconds, 0);

  job.set_max_steps(1000);
  EXPECT_DOUBLE_EQ(EstimateCompletion(job, step, 0.5).fraction, 0.1);
  EXPECT_DOUBLE_EQ(EstimateCompletion(job, step, 0.5).remaining_seconds, 450);

  job.mutable_spec()->mutable_training()->set_max_minutes(1);
  EXPECT_DOUBLE_EQ(EstimateCompletion(job, step, 0.5).fraction, 0.5);
  EXPECT_DOUBLE_EQ(EstimateCompletion(job, step, 0.5).remaining_seconds, 30);
}

TEST(JobViewTest, StatesAreParsedInAnyCaseAndSuggested) {
  EXPECT_EQ(ParseStateName("running").value(), "RUNNING");
  EXPECT_EQ(ParseStateName("JOB_STATE_FAILED").value(), "FAILED");
  EXPECT_THAT(std::string(ParseStateName("runing").status().message()), HasSubstr("'RUNNING'"));
  EXPECT_THAT(std::string(ParseStateName("xyzzy").status().message()), HasSubstr("SUCCEEDED"));
  EXPECT_FALSE(ParseStateName("UNSPECIFIED").ok());
}

TEST(JobViewTest, TheJobPageShowsPlacementsWarningsAndCheckpoints) {
  v1::Job job;
  job.set_name("jobs/first");
  job.set_state(v1::JOB_STATE_RUNNING);
  job.set_latest_checkpoint("jobs/first/checkpoints/100-2");
  job.add_warnings("no space for the checkpoint of step 120");
  auto* placement = job.add_placements();
  placement->set_worker("workers/host");
  placement->set_pid(4242);
  job.mutable_last_step()->set_loss(std::nan(""));
  const std::string page = FormatJob(job, 3, {.now = absl::Now()});
  EXPECT_THAT(page, HasSubstr("RUNNING"));
  EXPECT_THAT(page, HasSubstr("3, newest first@100-2"));
  EXPECT_THAT(page, HasSubstr("no space for the checkpoint of step 120"));
  EXPECT_THAT(page, HasSubstr("host, slot 0, pid 4242"));
  EXPECT_THAT(page, HasSubstr("loss NaN"));
  EXPECT_THAT(page, Not(HasSubstr("last evaluation")));
}

}  // namespace
}  // namespace wavefield
