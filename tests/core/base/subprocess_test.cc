#include "core/base/subprocess.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "absl/time/clock.h"
#include "core/base/clock.h"

namespace wavefield {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kSoon = absl::Seconds(10);

ProcessOptions Shell(const std::string& script) {
  ProcessOptions options;
  options.command = {"/bin/sh", "-c", script};
  return options;
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[256];
  for (ssize_t got; (got = ::read(fd, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

// The first line that comes from `fd`.
std::string ReadLine(int fd) {
  std::string line;
  for (char c; ::read(fd, &c, 1) == 1 && c != '\n';) line += c;
  return line;
}

// Orphans become children of this process, so that their end can be seen.
class SubprocessTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0); }

  // The signal that ended an orphan; −1 if it exited by itself, 0 if it lives on.
  static int SignalThatEnded(pid_t orphan) {
    for (int i = 0; i < 1000; ++i) {
      int status = 0;
      if (::waitpid(orphan, &status, WNOHANG) == orphan) {
        return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
      }
      absl::SleepFor(absl::Milliseconds(5));
    }
    ::kill(orphan, SIGKILL);
    return 0;
  }
};

TEST_F(SubprocessTest, ReportsTheExitCode) {
  auto process = Subprocess::Start(Shell("exit 3"));
  ASSERT_TRUE(process.ok()) << process.status();
  const auto exit = process->Wait(kSoon);
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 3);
  EXPECT_EQ(exit->ToString(), "exit code 3");
}

TEST_F(SubprocessTest, ReportsTheSignal) {
  auto process = Subprocess::Start(Shell("kill -9 $$"));
  ASSERT_TRUE(process.ok());
  const auto exit = process->Wait(kSoon);
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->signal, SIGKILL);
  EXPECT_EQ(exit->ToString(), "signal 9 (Killed)");
}

TEST_F(SubprocessTest, PollDoesNotBlockAndRemembersTheExit) {
  auto process = Subprocess::Start(Shell("sleep 1000"));
  ASSERT_TRUE(process.ok());
  EXPECT_FALSE(process->Poll().has_value());
  process->Signal(SIGKILL);
  ASSERT_TRUE(process->Wait(kSoon).has_value());
  EXPECT_EQ(process->Poll()->signal, SIGKILL);
  process->Signal(SIGKILL);
}

TEST_F(SubprocessTest, AMissingProgramIsNotFound) {
  ProcessOptions options;
  options.command = {"/nonexistent/program"};
  const absl::Status status = Subprocess::Start(options).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/program"));
}

TEST_F(SubprocessTest, PassesChannelStreamsArgumentsAndEnvironment) {
  auto channel = SocketPair();
  auto out = SocketPair();
  ASSERT_TRUE(channel.ok() && out.ok());
  ::setenv("WAVEFIELD_TEST_INHERITED", "inherited", 1);
  ::setenv("WAVEFIELD_TEST_REPLACED", "old", 1);
  ProcessOptions options = Shell(
      "read line <&3; echo \"$0 $1 $line $WAVEFIELD_TEST_INHERITED $WAVEFIELD_TEST_REPLACED\"");
  options.command.insert(options.command.end(), {"zero", "a b"});
  options.environment = {"WAVEFIELD_TEST_REPLACED=new"};
  options.channel_fd = channel->second.get();
  options.stdout_fd = out->second.get();
  auto process = Subprocess::Start(options);
  ASSERT_TRUE(process.ok()) << process.status();
  channel->second.Close();
  out->second.Close();
  ASSERT_EQ(::write(channel->first.get(), "hello\n", 6), 6);
  EXPECT_EQ(ReadAll(out->first.get()), "zero a b hello inherited new\n");
  EXPECT_EQ(process->Wait(kSoon)->code, 0);
}

TEST_F(SubprocessTest, InheritsNoOtherDescriptors) {
  const FileDescriptor unmarked(::open("/dev/null", O_RDONLY));
  auto out = SocketPair();
  ASSERT_TRUE(unmarked.valid() && out.ok());
  ProcessOptions options = Shell("ls /proc/$$/fd; :");
  options.stdout_fd = out->second.get();
  options.stderr_fd = out->second.get();
  auto process = Subprocess::Start(options);
  ASSERT_TRUE(process.ok());
  out->second.Close();
  EXPECT_EQ(ReadAll(out->first.get()), "0\n1\n2\n");
}

TEST_F(SubprocessTest, StopAsksFirstAndKillsAfterTheGrace) {
  auto out = SocketPair();
  ASSERT_TRUE(out.ok());
  ProcessOptions polite = Shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
  polite.stdout_fd = out->second.get();
  auto process = Subprocess::Start(polite);
  ASSERT_TRUE(process.ok());
  ASSERT_EQ(ReadLine(out->first.get()), "ready");
  EXPECT_EQ(process->Stop(kSoon).code, 7);

  ProcessOptions stubborn = Shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
  stubborn.stdout_fd = out->second.get();
  process = Subprocess::Start(stubborn);
  ASSERT_TRUE(process.ok());
  ASSERT_EQ(ReadLine(out->first.get()), "ready");
  const absl::Duration start = Clock::Real().Monotonic();
  EXPECT_EQ(process->Stop(absl::Milliseconds(100)).signal, SIGKILL);
  EXPECT_GE(Clock::Real().Monotonic() - start, absl::Milliseconds(100));
}

TEST_F(SubprocessTest, TheWholeGroupIsKilled) {
  auto out = SocketPair();
  ASSERT_TRUE(out.ok());
  ProcessOptions options = Shell("sleep 1000 & echo $!; wait");
  options.stdout_fd = out->second.get();
  pid_t grandchild = 0;
  {
    auto process = Subprocess::Start(options);
    ASSERT_TRUE(process.ok());
    grandchild = std::stoi(ReadLine(out->first.get()));
    EXPECT_EQ(::kill(grandchild, 0), 0);
  }
  EXPECT_EQ(SignalThatEnded(grandchild), SIGKILL);
}

TEST_F(SubprocessTest, ALeftoverOfAProcessThatExitedByItselfIsKilledToo) {
  auto out = SocketPair();
  ASSERT_TRUE(out.ok());
  ProcessOptions options = Shell("sleep 1000 & echo $!");
  options.stdout_fd = out->second.get();
  auto process = Subprocess::Start(options);
  ASSERT_TRUE(process.ok());
  const pid_t grandchild = std::stoi(ReadLine(out->first.get()));
  EXPECT_EQ(process->Wait(kSoon)->code, 0);
  EXPECT_EQ(SignalThatEnded(grandchild), SIGKILL);
}

TEST_F(SubprocessTest, IsKilledWhenItsOwnerIs) {
  auto out = SocketPair();
  ASSERT_TRUE(out.ok());
  const pid_t owner = ::fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    ProcessOptions options = Shell("echo $$; exec sleep 1000");
    options.stdout_fd = out->second.get();
    auto process = Subprocess::Start(options);
    while (process.ok()) ::pause();
    ::_exit(1);
  }
  const pid_t orphan = std::stoi(ReadLine(out->first.get()));
  ASSERT_GT(orphan, 0);
  EXPECT_EQ(::kill(orphan, 0), 0);
  ::kill(owner, SIGKILL);
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  EXPECT_EQ(SignalThatEnded(orphan), SIGKILL);
}

TEST_F(SubprocessTest, MovingKeepsOneOwner) {
  auto first = Subprocess::Start(Shell("sleep 1000"));
  ASSERT_TRUE(first.ok());
  const pid_t pid = first->pid();
  Subprocess second(*std::move(first));
  EXPECT_EQ(second.pid(), pid);
  EXPECT_FALSE(second.Poll().has_value());
  EXPECT_EQ(second.Stop(absl::ZeroDuration()).signal, SIGKILL);
}

}  // namespace
}  // namespace wavefield
