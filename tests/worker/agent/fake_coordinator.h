#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {

// The worker's side of a coordinator, in this process. Its memory outlives Stop() and Start(), like
// a real one's store. Thread-safe.
class FakeCoordinator final : public v1::WorkerService::Service {
 public:
  FakeCoordinator() { Start(); }
  ~FakeCoordinator() override { Stop(); }

  // On the same port each time.
  void Start();
  void Stop();
  std::string address() const;

  void Assign(const std::vector<v1::Assignment>& assignments);
  // The next heartbeat finds the worker unknown.
  void ForgetWorkers();

  std::vector<v1::RegisterWorkerRequest> Registrations() const;
  int64_t Heartbeats() const;
  // The last one.
  v1::HeartbeatRequest LastHeartbeat() const;
  std::vector<v1::WorkerEvent> Events() const;
  // Those of one task, shortly: "started", "training_started", "step", "warning TEXT", "exit 0",
  // "signal 9" …
  std::vector<std::string> Story(const std::string& task_id) const;
  // What came of a task's log, one line each; "(N lost)" where lines are missing.
  std::vector<std::string> Log(const std::string& task_id) const;
  // The worker said that nothing more comes.
  bool LogIsComplete(const std::string& task_id) const;
  // The largest of them.
  int64_t LargestLogReport() const;
  // Waits until `done` holds; false after ten seconds.
  bool WaitUntil(const std::function<bool()>& done) const;
  bool WaitForStory(const std::string& task_id, const std::string& last) const;

  grpc::Status RegisterWorker(grpc::ServerContext*, const v1::RegisterWorkerRequest* request,
                              v1::RegisterWorkerResponse* response) override;
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse*) override;
  grpc::Status WatchAssignments(grpc::ServerContext* context, const v1::WatchAssignmentsRequest*,
                                grpc::ServerWriter<v1::AssignmentList>* writer) override;
  grpc::Status ReportEvents(grpc::ServerContext*, const v1::ReportEventsRequest* request,
                            v1::ReportEventsResponse* response) override;
  grpc::Status ReportLogs(grpc::ServerContext*, const v1::ReportLogsRequest* request,
                          v1::ReportLogsResponse* response) override;
  grpc::Status SetRendezvous(grpc::ServerContext*, const v1::SetRendezvousRequest* request,
                             v1::SetRendezvousResponse*) override;
  grpc::Status WaitRendezvous(grpc::ServerContext* context,
                              const v1::WaitRendezvousRequest* request,
                              v1::WaitRendezvousResponse* response) override;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  mutable absl::Mutex mutex_;
  bool stopping_ = false;
  std::string incarnation_;  // of the worker known
  std::vector<v1::RegisterWorkerRequest> registrations_;
  int64_t heartbeats_ = 0;
  v1::HeartbeatRequest last_heartbeat_;
  v1::AssignmentList list_;
  std::map<std::string, std::vector<v1::WorkerEvent>> events_;  // by incarnation
  struct TaskLog {
    std::vector<std::string> lines;
    int64_t next = 0;
    bool complete = false;
  };
  std::map<std::string, TaskLog> logs_;  // by task id
  int64_t largest_log_report_ = 0;
  std::map<std::string, std::string> rendezvous_;
};

}  // namespace wavefield
