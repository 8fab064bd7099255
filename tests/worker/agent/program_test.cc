#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/subprocess.h"
#include "tests/core/base/temporary_directory.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "tests/worker/agent/fake_tasks.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;

// A run of wavefield-worker, with what it prints.
class WorkerRun {
 public:
  explicit WorkerRun(std::vector<std::string> arguments) {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    output_ = FileDescriptor(fds[0]);
    const FileDescriptor write_end(fds[1]);
    ProcessOptions options;
    options.command = std::move(arguments);
    options.command.insert(options.command.begin(), ProgramDirectory() / "wavefield-worker");
    options.stdout_fd = options.stderr_fd = write_end.get();
    process_.emplace(*Subprocess::Start(options));
  }

  // Reads until `text` was printed; false if the output ends or ten seconds pass before.
  bool WaitForOutput(const std::string& text) {
    while (printed_.find(text) == std::string::npos) {
      pollfd poll_fd = {output_.get(), POLLIN, 0};
      char buffer[4096];
      if (::poll(&poll_fd, 1, 10000) <= 0) return false;
      const ssize_t got = ::read(output_.get(), buffer, sizeof(buffer));
      if (got <= 0) return false;
      printed_.append(buffer, static_cast<size_t>(got));
    }
    return true;
  }

  void Signal(int signal) { process_->Signal(signal); }
  // Exit code; −1 if it was killed or did not end.
  int Wait() {
    WaitForOutput("\n\n\n");
    const auto exit = process_->Wait(absl::Seconds(10));
    return exit && exit->code ? *exit->code : -1;
  }
  const std::string& printed() const { return printed_; }

 private:
  FileDescriptor output_;
  std::optional<Subprocess> process_;
  std::string printed_;
};

class WorkerProgramTest : public ::testing::Test {
 protected:
  WorkerProgramTest() {
    EXPECT_TRUE(WriteFileAtomically(directory_.path() / "probe", "the probe").ok());
  }
  std::vector<std::string> Arguments() {
    return {"--coordinator",  coordinator_.address(),
            "--storage-root", directory_.path(),
            "--data-dir",     directory_.path() / "worker",
            "--name",         "w1",
            "--slots",        "2"};
  }

  TemporaryDirectory directory_;
  FakeCoordinator coordinator_;
};

TEST_F(WorkerProgramTest, SaysReadyRefusesASecondOneAndEndsOnSigterm) {
  WorkerRun worker(Arguments());
  ASSERT_TRUE(worker.WaitForOutput("ready w1\n")) << worker.printed();
  ASSERT_EQ(coordinator_.Registrations().size(), 1u);
  EXPECT_EQ(coordinator_.Registrations()[0].address(), "127.0.0.1");
  EXPECT_GT(coordinator_.Registrations()[0].memory_per_slot(), 0);

  WorkerRun second(Arguments());
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.printed(), HasSubstr("another worker uses"));

  worker.Signal(SIGTERM);
  EXPECT_EQ(worker.Wait(), 0) << worker.printed();
}

TEST_F(WorkerProgramTest, LogsJsonLinesThatTellTheTask) {
  std::vector<std::string> arguments = Arguments();
  arguments.insert(arguments.end(), {"--log-format", "json"});
  WorkerRun worker(arguments);
  ASSERT_TRUE(worker.WaitForOutput("ready w1\n")) << worker.printed();
  // The real trainer refuses it at once: it has no spec.
  coordinator_.Assign({FakeTask(4, 1, "finish")});
  ASSERT_TRUE(worker.WaitForOutput("ended with")) << worker.printed();
  worker.Signal(SIGTERM);
  EXPECT_EQ(worker.Wait(), 0);
  std::istringstream printed(worker.printed());
  int about_the_task = 0;
  for (std::string line; std::getline(printed, line);) {
    if (!line.starts_with('{')) continue;  // libraries write to stderr as they please
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json.at("program"), "worker") << line;
    if (json.at("message").get<std::string>().starts_with("task a/4/1: ")) {
      ++about_the_task;
      EXPECT_EQ(json.at("job"), "a");
      EXPECT_EQ(json.at("epoch"), 4);
      EXPECT_EQ(json.at("rank"), 1);
    } else {
      EXPECT_FALSE(json.contains("job")) << line;
    }
  }
  EXPECT_GE(about_the_task, 2);

  // The trainer took its worker's choice: its log is JSON too.
  std::ifstream log(directory_.path() / "worker/logs/a/epoch-4-rank-1.log");
  std::string line;
  while (std::getline(log, line) && !line.starts_with('{')) {
  }
  ASSERT_TRUE(log) << "no line of JSON";
  EXPECT_EQ(nlohmann::json::parse(line).at("program"), "trainer") << line;
}

TEST_F(WorkerProgramTest, RefusesBadFlagsWithTheReason) {
  const auto refused = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = Arguments();
    arguments.insert(arguments.end(), more.begin(), more.end());
    WorkerRun run(arguments);
    EXPECT_NE(run.Wait(), 0);
    return run.printed();
  };
  EXPECT_THAT(refused({"--slotz", "2"}), HasSubstr("--slots"));
  EXPECT_THAT(refused({"--threads-per-slot", "0"}), HasSubstr("--threads-per-slot"));
  EXPECT_THAT(refused({"--log-level", "loud"}), HasSubstr("debug"));
  EXPECT_THAT(refused({"--log-format", "xml"}), HasSubstr("json"));
  EXPECT_THAT(refused({"--orphan-timeout", "-1"}), HasSubstr("--orphan-timeout"));
}

TEST_F(WorkerProgramTest, RefusesWhatOnlyTheHostCanTell) {
  WorkerRun bad_name({"--storage-root", directory_.path(), "--data-dir", directory_.path() / "w",
                      "--name", "Not Valid"});
  EXPECT_EQ(bad_name.Wait(), 1);
  EXPECT_THAT(bad_name.printed(), HasSubstr("'Not Valid'"));
  WorkerRun no_storage({"--storage-root", directory_.path() / "absent", "--data-dir",
                        directory_.path() / "w", "--name", "w1"});
  EXPECT_EQ(no_storage.Wait(), 1);
  EXPECT_THAT(no_storage.printed(), HasSubstr("absent is not a directory"));
}

}  // namespace
}  // namespace wavefield
