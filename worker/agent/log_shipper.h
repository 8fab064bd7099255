#pragma once

#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/log_outbox.h"

namespace wavefield {

// Sends the outbox to the coordinator until acknowledged: every half second, and at once when a
// task has ended. On a thread of its own, until link.Stop().
class LogShipper {
 public:
  LogShipper(const std::string& worker_id, const std::string& incarnation, CoordinatorLink& link,
             LogOutbox& outbox);
  // REQUIRES: link.Stop() was called.
  ~LogShipper();

  // Waits until all is sent, at most `timeout`.
  void Flush(absl::Duration timeout);

 private:
  void Loop();
  absl::Status SendBatch();

  const std::string name_;
  const std::string incarnation_;
  CoordinatorLink& link_;
  LogOutbox& outbox_;
  std::thread thread_;
};

}  // namespace wavefield
