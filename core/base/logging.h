#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

// How the programs log: lines on stderr, for people or for machines. Lines come from spdlog's
// functions.
namespace wavefield {

struct LogOptions {
  std::string format = "text";  // or "json"
  std::string level = "info";   // trace, debug, info, warn or error
};

// Adds --log-format and --log-level.
void AddLogFlags(CLI::App& app, LogOptions& options);

// From here on every line of this process goes to stderr as
//   text  [2026-01-31 12:00:00.123] [trainer] [info] [words epoch 1 rank 0 step 20] MESSAGE
//   json  {"time":"2026-01-31T12:00:00.123456Z","level":"info","program":"trainer",
//          "message":"MESSAGE","job":"words","rank":0,"epoch":1,"step":20}
// on one line. Both have the fields of the process, JSON also those of a LogScope. JSON is valid
// UTF-8 whatever a message holds: other bytes come as U+FFFD. Once, before there are other threads.
void StartLogging(const std::string& program, const LogOptions& options);

// What a line is about, as far as that is known.
struct LogFields {
  std::string job;  // its id, without "jobs/"; empty: not known
  std::optional<int64_t> rank;
  std::optional<int64_t> epoch;
  std::optional<int64_t> step;  // optimizer steps done
};

// Of all lines of this process from here on. Thread-safe.
void SetLogFields(const LogFields& fields);
// The step alone.
void SetLogStep(int64_t step);

// While it lives, lines of this thread have these fields in place of the process's: for lines whose
// text names what they are about. The innermost counts.
class LogScope {
 public:
  explicit LogScope(LogFields fields);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  const LogFields& fields() const { return fields_; }

 private:
  const LogFields fields_;
  const LogScope* const outer_;
};

}  // namespace wavefield
