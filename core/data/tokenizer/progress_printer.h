#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/data/tokenizer/prepare.h"

namespace wavefield {

// Tells how far a preparation is: as JSON lines on stdout, or for people on stderr. Not
// thread-safe, but for Failed().
class ProgressPrinter {
 public:
  ProgressPrinter(std::string output, bool json);

  void Update(const PrepareProgress& progress);
  void Done(const PrepareResult& result);
  void Failed(const absl::Status& status);

 private:
  const std::string output_;
  const bool json_;
  const bool terminal_;
  // What was printed last, and when.
  std::string stage_;
  int64_t done_ = 0;
  std::chrono::steady_clock::time_point printed_;
};

}  // namespace wavefield
