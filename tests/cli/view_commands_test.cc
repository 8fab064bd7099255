// watch on a terminal, plot, report and CSV, run as programs against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/strings/str_split.h"
#include "core/base/file.h"
#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"
#include "tests/cli/terminal_program.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kLeave[] = "\x1b[?7h\x1b[?25h\x1b[?1049l";

v1::StepMetrics MakeStep(int64_t step) {
  v1::StepMetrics metrics;
  metrics.set_step(step);
  metrics.set_attempt(1);
  metrics.set_loss(8.0 / static_cast<double>(step));
  metrics.set_grad_norm(step == 3 ? HUGE_VAL : 0.1);
  metrics.set_tokens(64);
  metrics.set_step_seconds(0.5);
  metrics.mutable_phase_seconds()->set_backward(0.25);
  metrics.set_batch_digest(18446744073709551615u);
  return metrics;
}

class ViewCommandsTest : public testing::Test {
 protected:
  ViewCommandsTest() {
    cluster_.get_job = [](const v1::GetJobRequest& request, v1::Job& job) {
      if (request.name() == "jobs/missing") {
        return grpc::Status(grpc::StatusCode::NOT_FOUND, "no job jobs/missing");
      }
      job.set_name(request.name());
      job.set_state(v1::JOB_STATE_RUNNING);
      job.set_max_steps(8);
      *job.mutable_last_step() = MakeStep(4);
      return grpc::Status::OK;
    };
    // Two pages of two steps; the job "empty" has none.
    cluster_.list_metrics = [](const v1::ListMetricsRequest& request,
                               v1::ListMetricsResponse& response) {
      if (request.parent() == "jobs/empty") return grpc::Status::OK;
      const bool first = request.page_token().empty();
      for (const int step : {1, 2}) *response.add_steps() = MakeStep(first ? step : step + 2);
      if (first) {
        response.set_next_page_token("more");
      } else {
        v1::EvaluationResult& evaluation = *response.add_evaluations();
        evaluation.set_step(4);
        evaluation.set_loss(2.5);
        evaluation.set_bits_per_byte(std::nan(""));
      }
      return grpc::Status::OK;
    };
  }
  CommandResult Run(std::vector<std::string> arguments) {
    return RunWavefield(cluster_.address(), std::move(arguments));
  }

  FakeCluster cluster_;
  TemporaryDirectory directory_;
};

TEST_F(ViewCommandsTest, CsvHasEveryStepOfEveryPage) {
  const CommandResult result = Run({"metrics", "first", "--csv"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<std::string> lines = absl::StrSplit(result.out, "\r\n");
  ASSERT_EQ(lines.size(), 6u) << result.out;
  EXPECT_EQ(lines[5], "") << "the last record is ended too";
  const std::vector<std::string> header = absl::StrSplit(lines[0], ',');
  EXPECT_EQ(header.front(), "step");
  EXPECT_EQ(header.back(), "batch_digest");
  for (size_t i = 1; i < 5; ++i) {
    const std::vector<std::string> fields = absl::StrSplit(lines[i], ',');
    ASSERT_EQ(fields.size(), header.size());
    EXPECT_EQ(fields[0], std::to_string(i));
    EXPECT_EQ(fields.back(), "18446744073709551615");
  }
  EXPECT_THAT(lines[3], StartsWith("3,1,,2.6666666666666665,0,Infinity,"));
  EXPECT_THAT(result.out, HasSubstr("backward_seconds"));
}

TEST_F(ViewCommandsTest, EvaluationsComeAsTableCsvAndJson) {
  const CommandResult csv = Run({"metrics", "first", "--evaluations", "--csv"});
  EXPECT_EQ(csv.out,
            "step,attempt,time,loss,perplexity,bits_per_byte,accuracy,tokens,text_bytes,seconds,"
            "ema_loss\r\n4,0,,2.5,0,NaN,0,0,0,0,\r\n");
  EXPECT_THAT(Run({"metrics", "first", "--evaluations"}).out,
              testing::ContainsRegex("\n *4 +0 +2.5000 +0.00 +NaN"));
  const std::string json = Run({"metrics", "first", "--evaluations", "--json"}).out;
  EXPECT_THAT(json, HasSubstr("\"bits_per_byte\": \"NaN\""));
  EXPECT_THAT(json, Not(HasSubstr("phase_seconds")));
}

TEST_F(ViewCommandsTest, PlotWritesAFileAndReplacesIt) {
  const std::string path = directory_.Write("loss.svg", "old");
  const CommandResult result = Run({"plot", "first", "second", "--log-y", "-o", path});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  const std::string svg = ReadText(path);
  EXPECT_THAT(svg, StartsWith("<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, HasSubstr(">first</text>"));
  EXPECT_THAT(svg, HasSubstr(">second</text>"));
  EXPECT_THAT(svg, HasSubstr("optimizer steps"));
  EXPECT_EQ(Run({"plot", "first", "second", "--log-y", "-o", "-"}).out, svg);
  EXPECT_NE(Run({"plot", "first", "second", "--smooth", "0.5", "-o", "-"}).out, svg);
  EXPECT_THAT(Run({"plot", "first", "--metric", "evaluation_loss", "--x", "tokens", "-o", "-"}).out,
              HasSubstr("<circle"));
}

TEST_F(ViewCommandsTest, PlotSaysWhatIsWrong) {
  const std::string path = (directory_.path() / "x.svg").string();
  const CommandResult unknown = Run({"plot", "first", "--metric", "lose", "-o", path});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean 'loss'?"));
  EXPECT_THAT(unknown.err, HasSubstr("tokens_per_second"));
  const CommandResult empty = Run({"plot", "empty", "-o", path});
  EXPECT_EQ(empty.exit_code, 1);
  EXPECT_THAT(empty.err, HasSubstr("jobs/empty has no loss yet"));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(Run({"plot", "missing", "-o", path}).exit_code, 3);
  EXPECT_EQ(Run({"plot", "first", "-o", (directory_.path() / "none" / "x").string()}).exit_code, 3);
  EXPECT_EQ(Run({"plot", "first", "-o", "/dev/null"}).exit_code, 2);
  EXPECT_EQ(Run({"plot", "first", "-o", path, "--x", "phase"}).exit_code, 2);
  EXPECT_EQ(Run({"plot", "first", "-o", path, "--smooth", "1"}).exit_code, 2);
  const CommandResult partly = Run({"plot", "first", "empty", "-o", path});
  EXPECT_EQ(partly.exit_code, 0);
  EXPECT_THAT(partly.err, HasSubstr("jobs/empty has no loss yet"));
}

TEST_F(ViewCommandsTest, ReportFetchesAllPagesOfAllKinds) {
  cluster_.list_field_health = [](const v1::ListFieldHealthRequest&,
                                  v1::ListFieldHealthResponse& response) {
    response.add_points()->add_layers()->set_residual_rms(1.625);
    return grpc::Status::OK;
  };
  cluster_.get_dataset = [](const v1::GetDatasetRequest&, v1::Dataset&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "gone");
  };
  cluster_.list_checkpoints = [](const v1::ListCheckpointsRequest& request,
                                 v1::ListCheckpointsResponse& response) {
    const bool first = request.page_token().empty();
    response.add_checkpoints()->set_name(request.parent() +
                                         (first ? "/checkpoints/4-1" : "/checkpoints/2-1"));
    if (first) response.set_next_page_token("more");
    return grpc::Status::OK;
  };
  cluster_.list_workers = [](const v1::ListWorkersRequest&, v1::ListWorkersResponse& response) {
    response.add_workers()->set_name("workers/host");
    return grpc::Status::OK;
  };
  const std::string path = (directory_.path() / "report.html").string();
  const CommandResult result = Run({"report", "first", "-o", path});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string html = ReadText(path);
  for (const char* expected : {"first@4-1", "first@2-1", ">host</td>", "1.625", "chart-loss",
                               "chart-grad-norm", ">2.5000</td>"}) {
    EXPECT_THAT(html, HasSubstr(expected));
  }
  EXPECT_EQ(Run({"report", "missing", "-o", path}).exit_code, 3);
  EXPECT_EQ(Run({"report", "first"}).exit_code, 2);
}

TEST_F(ViewCommandsTest, WatchDrawsAPageOnATerminalAndLeavesTheLastOneBehind) {
  std::atomic<bool> end = false;
  cluster_.watch_job = [&](const v1::WatchJobRequest&,
                           grpc::ServerWriter<v1::WatchJobResponse>& writer) {
    v1::WatchJobResponse update;
    *update.add_steps() = MakeStep(5);
    writer.Write(update);
    while (!end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    update.Clear();
    update.mutable_job()->set_name("jobs/first");
    update.mutable_job()->set_state(v1::JOB_STATE_SUCCEEDED);
    *update.mutable_job()->mutable_last_step() = MakeStep(8);
    update.mutable_job()->set_max_steps(8);
    writer.Write(update);
    return grpc::Status::OK;
  };
  TerminalProgram terminal(cluster_.address(), {"watch", "first"});
  terminal.WaitFor("step 5/8  ETA 1.5s");
  EXPECT_THAT(terminal.output(), HasSubstr("█▄▂▁▁  steps 1 to 5"));
  EXPECT_THAT(terminal.output(), Not(HasSubstr(kLeave)));
  end = true;
  EXPECT_EQ(terminal.Finish(), 0);
  const std::string output = terminal.output();
  EXPECT_THAT(output, StartsWith("\x1b[?1049h\x1b[?25l\x1b[?7l"));
  const std::string left = output.substr(output.find(kLeave) + sizeof(kLeave) - 1);
  EXPECT_THAT(left, StartsWith("first  SUCCEEDED "));
  EXPECT_THAT(left, HasSubstr("100 %  step 8/8\r\n"));
  EXPECT_THAT(left, Not(HasSubstr("\x1b")));
}

TEST_F(ViewCommandsTest, AnInterruptGivesTheTerminalBack) {
  // The server ends after the test's own variables.
  const auto end = std::make_shared<std::atomic<bool>>(false);
  cluster_.watch_job = [end](const v1::WatchJobRequest&,
                             grpc::ServerWriter<v1::WatchJobResponse>&) {
    while (!*end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::OK;
  };
  TerminalProgram terminal(cluster_.address(), {"watch", "first"});
  terminal.WaitFor("step 4/8");
  terminal.process().Signal(SIGINT);
  EXPECT_EQ(terminal.Finish(), 130);
  EXPECT_THAT(terminal.output(), HasSubstr(kLeave));
  EXPECT_THAT(terminal.output().substr(terminal.output().find(kLeave)), Not(HasSubstr("step")));
  *end = true;
}

TEST_F(ViewCommandsTest, AStopGivesTheTerminalBackAndThePageIsDrawnAgain) {
  const auto end = std::make_shared<std::atomic<bool>>(false);
  cluster_.watch_job = [end](const v1::WatchJobRequest&,
                             grpc::ServerWriter<v1::WatchJobResponse>&) {
    while (!*end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::OK;
  };
  TerminalProgram terminal(cluster_.address(), {"watch", "first"});
  terminal.WaitFor("step 4/8");
  const size_t before = terminal.output().size();
  terminal.process().Signal(SIGTSTP);
  terminal.WaitUntilStopped();
  terminal.WaitFor(kLeave);
  EXPECT_THAT(terminal.output(), EndsWith(kLeave)) << "nothing is drawn after it";
  terminal.process().Signal(SIGCONT);
  terminal.WaitFor("step 4/8", before);
  const std::string again = terminal.output().substr(before);
  EXPECT_THAT(again.substr(again.find(kLeave)),
              StartsWith(std::string(kLeave) + "\x1b[?1049h\x1b[?25l\x1b[?7l"));
  terminal.process().Signal(SIGINT);
  EXPECT_EQ(terminal.Finish(), 130);
  EXPECT_THAT(terminal.output(), HasSubstr(kLeave));
  *end = true;
}

TEST_F(ViewCommandsTest, WatchPrintsLinesOnATerminalThatWantsThem) {
  cluster_.watch_job = [](const v1::WatchJobRequest&,
                          grpc::ServerWriter<v1::WatchJobResponse>& writer) {
    v1::WatchJobResponse update;
    update.mutable_job()->set_name("jobs/first");
    update.mutable_job()->set_state(v1::JOB_STATE_SUCCEEDED);
    *update.add_steps() = MakeStep(5);
    writer.Write(update);
    return grpc::Status::OK;
  };
  TerminalProgram terminal(cluster_.address(), {"watch", "first", "--plain"});
  EXPECT_EQ(terminal.Finish(), 0);
  EXPECT_THAT(terminal.output(), HasSubstr("step 5  loss 1.6000"));
  EXPECT_THAT(terminal.output(), EndsWith("first SUCCEEDED\r\n"));
  EXPECT_THAT(terminal.output(), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace wavefield
