#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/file.h"
#include "core/base/subprocess.h"

namespace wavefield {

// `wavefield` with a terminal of 60 columns and 12 rows: its stdout, or all three streams.
class TerminalProgram {
 public:
  enum class Streams { kOutput, kAll };

  TerminalProgram(const std::string& address, std::vector<std::string> arguments,
                  Streams streams = Streams::kOutput, std::vector<std::string> environment = {});
  ~TerminalProgram();

  std::string output();
  // Waits until `text` is in the output behind its first `begin` bytes; fails after a minute.
  void WaitFor(const std::string& text, size_t begin = 0);
  void WaitUntilStopped();
  // Types `text`, where all streams are the terminal.
  void Type(const std::string& text);
  Subprocess& process() { return *process_; }
  // The exit code once all output has come; −1 when it is not there after 20 s.
  int Finish();

 private:
  FileDescriptor master_;
  std::optional<Subprocess> process_;
  std::mutex mutex_;
  std::string output_;
  std::thread reader_;
};

}  // namespace wavefield
