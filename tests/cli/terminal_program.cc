#include "tests/cli/terminal_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <chrono>
#include <functional>

#include "tests/cli/command_runner.h"

namespace wavefield {
namespace {

bool Await(const std::function<bool()>& condition) {
  for (int i = 0; i < 6000 && !condition(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

}  // namespace

TerminalProgram::TerminalProgram(const std::string& address, std::vector<std::string> arguments,
                                 Streams streams, std::vector<std::string> environment) {
  winsize size{};
  size.ws_col = 60;
  size.ws_row = 12;
  int master = -1, slave = -1;
  EXPECT_EQ(openpty(&master, &slave, nullptr, nullptr, &size), 0);
  master_ = FileDescriptor(master);
  const FileDescriptor program_side(slave);
  ProcessOptions options;
  options.command = std::move(arguments);
  options.command.insert(options.command.begin(), (ProgramDirectory() / "wavefield").string());
  options.environment = {"WAVEFIELD_ADDRESS=" + address, "TERM=xterm", "LC_ALL=C.UTF-8",
                         "COLUMNS=", "LINES="};
  options.environment.insert(options.environment.end(), environment.begin(), environment.end());
  options.stdout_fd = program_side.get();
  if (streams == Streams::kAll) options.stdin_fd = options.stderr_fd = program_side.get();
  auto process = Subprocess::Start(options);
  EXPECT_TRUE(process.ok()) << process.status();
  process_.emplace(*std::move(process));
  reader_ = std::thread([this] {
    char buffer[4096];
    ssize_t count;
    while ((count = read(master_.get(), buffer, sizeof(buffer))) > 0) {
      const std::lock_guard lock(mutex_);
      output_.append(buffer, static_cast<size_t>(count));
    }
  });
}

TerminalProgram::~TerminalProgram() {
  process_.reset();
  if (reader_.joinable()) reader_.join();
}

std::string TerminalProgram::output() {
  const std::lock_guard lock(mutex_);
  return output_;
}

void TerminalProgram::WaitFor(const std::string& text, size_t begin) {
  EXPECT_TRUE(Await([&] { return output().find(text, begin) != std::string::npos; }))
      << "no '" << text << "' in " << output();
}

void TerminalProgram::WaitUntilStopped() {
  const std::string status = "/proc/" + std::to_string(process_->pid()) + "/status";
  EXPECT_TRUE(Await([&] { return ReadText(status).find("State:\tT") != std::string::npos; }));
}

void TerminalProgram::Type(const std::string& text) {
  EXPECT_EQ(write(master_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

int TerminalProgram::Finish() {
  const auto exit = process_->Wait(absl::Seconds(20));
  reader_.join();
  return exit && exit->code ? *exit->code : -1;
}

}  // namespace wavefield
