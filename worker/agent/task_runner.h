#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "wavefield/v1/worker_service.pb.h"
#include "worker/agent/gpu_slots.h"
#include "worker/agent/slot_table.h"
#include "worker/agent/task.h"

namespace wavefield {

struct TaskRunnerOptions {
  TaskOptions task;
  int slots = 1;                                // of the CPU
  std::shared_ptr<GpuSlots> gpus;               // whose slots come after them; null: none
  absl::Duration end_grace = absl::Seconds(5);  // from abort to SIGKILL
};

// What a runner tells. Called on its thread: must not block.
struct TaskRunnerCallbacks {
  // A started, trainer or exited event, without sequence. Returns its sequence.
  std::function<int64_t(v1::WorkerEvent)> event;
  // A rendezvous request of a training rank, to be answered by DeliverRendezvous().
  std::function<void(const v1::Assignment&, const RendezvousSet&)> rendezvous_set;
  std::function<void(const v1::Assignment&, const RendezvousWait&)> rendezvous_wait;
  // No reply is awaited any longer.
  std::function<void(const std::string& task_id)> ended;
};

// Runs the tasks of a worker, all on one thread of its own, which starts and reaps the processes
// and reads what they say. Destruction kills what still runs. Thread-safe, but for Shutdown().
class TaskRunner {
 public:
  static absl::StatusOr<std::unique_ptr<TaskRunner>> Start(TaskRunnerOptions options,
                                                           TaskRunnerCallbacks callbacks);
  ~TaskRunner();

  // Makes what runs equal to the coordinator's list: starts what is new, stops what is asked to,
  // and ends what is gone.
  void Reconcile(v1::AssignmentList list);

  // Ends everything, giving this reason.
  void EndAll(std::string reason);

  // Starts nothing any more, asks training to end in an orderly way (with a last checkpoint), ends
  // all else, and waits until nothing runs, at most `timeout`.
  void Drain(absl::Duration timeout);

  // Ends everything, waits for that, and stops the thread: no callback comes afterwards, and other
  // calls have no effect. Once.
  void Shutdown(const std::string& reason, absl::Duration grace);

  void DeliverRendezvous(const std::string& task_id, RendezvousReply reply);

  // The coordinator knows all events up to here.
  void Acknowledge(int64_t sequence);

  // What runs, and what has ended without the coordinator knowing yet (its event is on the way).
  std::vector<v1::RunningTask> Running() const;

 private:
  TaskRunner(TaskRunnerOptions options, TaskRunnerCallbacks callbacks, FileDescriptor wake);

  void Post(std::function<void()> work);
  void AwaitIdle(absl::Duration timeout);
  void StopThread();
  void Loop();
  bool RunPosted();
  void Reap();
  void Advance();
  void StartTask(const v1::Assignment& assignment);
  void PollDescriptors();
  void Publish();
  void Receive(const v1::Assignment& assignment, TrainerMessage message);
  void ReportNotStarted(const v1::Assignment& assignment, const std::string& reason);
  void ReportExit(const std::string& task_id, v1::TaskExited exited);
  int64_t Report(const std::string& task_id, const std::function<void(v1::WorkerEvent&)>& fill);

  const TaskRunnerOptions options_;
  const TaskRunnerCallbacks callbacks_;
  const FileDescriptor wake_;  // an eventfd

  // Of the loop's thread.
  SlotTable table_;
  std::map<std::string, std::unique_ptr<Task>> tasks_;
  std::string end_reason_;
  bool closed_ = false;  // starts nothing any more

  mutable absl::Mutex mutex_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
  bool quit_ ABSL_GUARDED_BY(mutex_) = false;
  bool idle_ ABSL_GUARDED_BY(mutex_) = true;
  std::vector<v1::RunningTask> running_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // last: starts when all else is there
};

}  // namespace wavefield
