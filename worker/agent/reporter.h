#pragma once

#include <string>
#include <thread>

#include "absl/time/time.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/spool.h"
#include "worker/agent/task_runner.h"

namespace wavefield {

// Writes the spool to disk and sends it to the coordinator, in order, until acknowledged. On a
// thread of its own, until link.Stop().
class Reporter {
 public:
  Reporter(const std::string& worker_id, const std::string& incarnation, CoordinatorLink& link,
           TaskRunner& runner, Spool& spool);
  // REQUIRES: link.Stop() was called.
  ~Reporter();

  // Waits until everything appended so far is acknowledged.
  void Flush(absl::Duration timeout);

 private:
  void Loop();
  absl::Status SendBatch();

  const std::string name_;
  const std::string incarnation_;
  CoordinatorLink& link_;
  TaskRunner& runner_;
  Spool& spool_;
  std::thread thread_;
};

}  // namespace wavefield
