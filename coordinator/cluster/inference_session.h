#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/cluster/signal.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// One evaluation, generation or audit on a worker's slot: what its process says, for the call that
// waits for it. Thread-safe.
class InferenceSession {
 public:
  // Unchanging.
  const std::string task_id;
  const std::string worker;
  const std::string incarnation;
  const int32_t slot;
  const wavefield::v1::InferenceTask task;

  InferenceSession(std::string task_id, std::string worker, std::string incarnation, int32_t slot,
                   wavefield::v1::InferenceTask task)
      : task_id(std::move(task_id)),
        worker(std::move(worker)),
        incarnation(std::move(incarnation)),
        slot(slot),
        task(std::move(task)) {}

  const char* Describe() const {
    if (task.has_audit_causality()) return "an audit";
    return task.has_generate() ? "a generation" : "an evaluation";
  }

  // From the worker. More than a bounded number of outputs that nobody takes ends the session.
  void Take(const wavefield::v1::WorkerEvent& event);
  // No process any more. The first status counts.
  void End(absl::Status status);

  // The next output; waits for it. Nothing: see `ended`, or the timeout is over.
  std::optional<wavefield::v1::InferenceOutput> Next(absl::Duration timeout);
  // How it ended, when it has and all outputs were taken.
  std::optional<absl::Status> ended() const;

  bool started() const;

 private:
  void EndLocked(absl::Status status);

  mutable std::mutex mutex_;
  Signal changed_;
  std::deque<wavefield::v1::InferenceOutput> outputs_;
  std::optional<absl::Status> end_;
  wavefield::v1::TrainerFailure failure_;
  bool started_ = false;
  bool complete_ = false;
};

}  // namespace wavefield::coordinator
