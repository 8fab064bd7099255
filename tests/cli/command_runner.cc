#include "tests/cli/command_runner.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace wavefield {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(20);

FileDescriptor MemoryFile(const std::string& contents) {
  FileDescriptor fd(memfd_create("stream", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), contents.data(), contents.size()), ssize_t(contents.size()));
  lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

std::string Contents(const FileDescriptor& fd) {
  std::string text(static_cast<size_t>(lseek(fd.get(), 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(fd.get(), text.data(), text.size(), 0), ssize_t(text.size()));
  return text;
}

}  // namespace

CommandResult RunCommand(const std::vector<std::string>& command,
                         const std::vector<std::string>& environment, const std::string& input) {
  const FileDescriptor in = MemoryFile(input), out = MemoryFile(""), err = MemoryFile("");
  ProcessOptions options;
  options.command = command;
  options.environment = environment;
  options.stdin_fd = in.get();
  options.stdout_fd = out.get();
  options.stderr_fd = err.get();
  absl::StatusOr<Subprocess> process = Subprocess::Start(options);
  if (!process.ok()) {
    ADD_FAILURE() << process.status();
    return {};
  }
  const auto exit = process->Wait(kLimit);
  return {.exit_code = exit && exit->code ? *exit->code : -1,
          .out = Contents(out),
          .err = Contents(err)};
}

CommandResult RunWavefield(const std::string& address, std::vector<std::string> arguments,
                           const std::string& input) {
  arguments.insert(arguments.begin(), (ProgramDirectory() / "wavefield").string());
  return RunCommand(arguments, {"WAVEFIELD_ADDRESS=" + address}, input);
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "wavefield-cli-XXXXXX").string();
  path_ = mkdtemp(pattern.data());
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryDirectory::Write(const std::string& name, const std::string& contents) const {
  std::filesystem::create_directories((path_ / name).parent_path());
  std::ofstream(path_ / name, std::ios::binary) << contents;
  return (path_ / name).string();
}

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace wavefield
