// How long lists take in a full catalogue: a store with jobs and checkpoints, a coordinator in this
// process over it, and a client that lists, filters, orders and pages.
// Usage: catalogue_bench [JOBS [CHECKPOINTS]], default 1000 10000.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "coordinator/jobs/timestamps.h"
#include "coordinator/server/server.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"
#include "proto/rpc/channel.h"
#include "proto/rpc/status.h"
#include "tests/core/base/temporary_directory.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield::coordinator {
namespace {

constexpr int kRepetitions = 15;
constexpr int kFilesOfACheckpoint = 6;

void Require(const absl::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "catalogue_bench: {}\n", std::string(status.message()));
  std::exit(1);
}

template <typename T>
T Require(absl::StatusOr<T> value) {
  Require(value.status());
  return *std::move(value);
}

JobRecord MakeJob(int number) {
  JobRecord record;
  v1::Job& job = *record.mutable_job();
  job.set_name(fmt::format("jobs/job-{}", number));
  job.set_state(number % 3 == 0 ? v1::JOB_STATE_FAILED : v1::JOB_STATE_SUCCEEDED);
  job.set_reason(v1::JOB_REASON_BUDGET_REACHED);
  job.set_state_message("the budget is used up at step 20000");
  *job.mutable_create_time() = ToTimestamp(absl::FromUnixSeconds(1'700'000'000 + number * 60));
  *job.mutable_end_time() = ToTimestamp(absl::FromUnixSeconds(1'700'003'600 + number * 60));
  v1::JobSpec& spec = *job.mutable_spec();
  spec.mutable_model()->set_preset("wave-field-30m");
  spec.set_dataset("datasets/words");
  spec.set_priority(number % 7);
  (*spec.mutable_labels())["team"] = number % 2 == 0 ? "a" : "b";
  (*spec.mutable_labels())["seed"] = std::to_string(number % 10);
  job.mutable_last_step()->set_step(20'000 - number);
  job.mutable_last_step()->set_loss(3.0 + 0.001 * number);
  job.mutable_last_evaluation()->set_loss(3.1 + 0.001 * number);
  record.set_checkpoint_directory(fmt::format("checkpoints/job-{}", number));
  return record;
}

v1::Checkpoint MakeCheckpoint(int job, int number) {
  v1::Checkpoint checkpoint;
  const int step = 1000 * (number + 1);
  checkpoint.set_name(fmt::format("jobs/job-{}/checkpoints/{}-1", job, step));
  checkpoint.set_step(step);
  checkpoint.set_attempt(1);
  checkpoint.set_epoch(1);
  *checkpoint.mutable_create_time() =
      ToTimestamp(absl::FromUnixSeconds(1'700'000'000 + job * 60 + number));
  checkpoint.set_loss(4.0 - 0.01 * number);
  checkpoint.set_evaluation_loss(4.1 - 0.01 * number);
  checkpoint.set_evaluated(true);
  checkpoint.set_pinned(number == 3);
  checkpoint.set_directory(fmt::format("checkpoints/job-{}/{:012}-1", job, step));
  for (int i = 0; i < kFilesOfACheckpoint; ++i) {
    v1::CheckpointFile& file = *checkpoint.add_files();
    file.set_path(fmt::format("model-{:05}-of-{:05}.safetensors", i, kFilesOfACheckpoint));
    file.set_bytes(123'456'789);
    file.set_sha256(std::string(64, 'a'));
    checkpoint.set_bytes(checkpoint.bytes() + file.bytes());
  }
  return checkpoint;
}

void Fill(const std::filesystem::path& directory, int jobs, int checkpoints) {
  Require(CreateDirectories(directory));
  const auto store = Require(SqliteStore::Open(directory / "coordinator.db", {}));
  Require(store->Write([&](Transaction& transaction) {
    for (int i = 0; i < jobs; ++i) {
      JobRecord record = MakeJob(i);
      if (absl::Status put = transaction.PutJob(record); !put.ok()) return put;
    }
    for (int i = 0; i < checkpoints; ++i) {
      const int job = i % jobs;
      const absl::Status put =
          transaction.PutCheckpoint(fmt::format("job-{}", job), MakeCheckpoint(job, i / jobs));
      if (!put.ok()) return put;
    }
    return absl::OkStatus();
  }));
}

// One line: the best, the median and the worst of several calls.
void Print(const std::string& what, const std::function<int()>& call) {
  std::vector<double> milliseconds;
  int found = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    const absl::Time start = absl::Now();
    found = call();
    milliseconds.push_back(absl::ToDoubleMilliseconds(absl::Now() - start));
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  fmt::print("{:<62} {:>6} found {:>8.2f} {:>8.2f} {:>8.2f} ms\n", what, found,
             milliseconds.front(), milliseconds[milliseconds.size() / 2], milliseconds.back());
}

class Lists {
 public:
  explicit Lists(const std::shared_ptr<grpc::Channel>& channel)
      : jobs_(v1::JobService::NewStub(channel)),
        checkpoints_(v1::CheckpointService::NewStub(channel)) {}

  int Jobs(const std::string& filter, const std::string& order, int page) {
    v1::ListJobsRequest request;
    request.set_page_size(page);
    request.set_filter(filter);
    request.set_order_by(order);
    request.set_page_token(job_token_);
    v1::ListJobsResponse response;
    grpc::ClientContext context;
    Require(FromGrpcStatus(jobs_->ListJobs(&context, request, &response)));
    next_job_token_ = response.next_page_token();
    return response.jobs_size();
  }
  int Checkpoints(const std::string& parent, const std::string& filter, const std::string& order,
                  int page) {
    v1::ListCheckpointsRequest request;
    request.set_parent(parent);
    request.set_page_size(page);
    request.set_filter(filter);
    request.set_order_by(order);
    request.set_page_token(checkpoint_token_);
    v1::ListCheckpointsResponse response;
    grpc::ClientContext context;
    Require(FromGrpcStatus(checkpoints_->ListCheckpoints(&context, request, &response)));
    next_checkpoint_token_ = response.next_page_token();
    return response.checkpoints_size();
  }
  // The next calls ask for the page after the last one; with `first`, for the first one again.
  void Turn(bool first) {
    job_token_ = first ? "" : next_job_token_;
    checkpoint_token_ = first ? "" : next_checkpoint_token_;
  }

 private:
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::CheckpointService::Stub> checkpoints_;
  std::string job_token_, next_job_token_, checkpoint_token_, next_checkpoint_token_;
};

void Run(int jobs, int checkpoints) {
  const TemporaryDirectory directory;
  Fill(directory.path() / "data", jobs, checkpoints);
  ServerOptions options;
  options.data_dir = directory.path() / "data";
  options.listen = "127.0.0.1:0";
  options.http_listen = "127.0.0.1:0";
  const auto server = Require(Server::Start(options));
  const Connection connection = Require(Connection::Open({.address = server->address()}));
  Lists lists(connection.channel());
  fmt::print("{} jobs, {} checkpoints; {} calls each: best, median, worst\n", jobs, checkpoints,
             kRepetitions);
  Print("jobs, the newest 100", [&] { return lists.Jobs("", "", 100); });
  Print("jobs, all in one page", [&] { return lists.Jobs("", "", 1000); });
  Print("jobs, state=FAILED AND labels.team=a",
        [&] { return lists.Jobs("state=FAILED AND labels.team=a", "", 1000); });
  Print("jobs, priority>=5, by loss", [&] { return lists.Jobs("priority>=5", "loss", 100); });
  lists.Jobs("priority>=1", "evaluation_loss desc", 100);
  lists.Turn(false);
  Print("jobs, the second page of priority>=1 by evaluation_loss",
        [&] { return lists.Jobs("priority>=1", "evaluation_loss desc", 100); });
  lists.Turn(true);
  Print("checkpoints of one job", [&] { return lists.Checkpoints("jobs/job-5", "", "", 100); });
  Print("checkpoints of all jobs, the newest 100",
        [&] { return lists.Checkpoints("jobs/-", "", "", 100); });
  Print("checkpoints of all jobs, pinned=true",
        [&] { return lists.Checkpoints("jobs/-", "pinned=true", "", 1000); });
  Print("checkpoints of all jobs, evaluation_loss<4.05, by loss",
        [&] { return lists.Checkpoints("jobs/-", "evaluation_loss<4.05", "loss", 100); });
  lists.Checkpoints("jobs/-", "step>2000", "bytes desc", 100);
  lists.Turn(false);
  Print("checkpoints of all jobs, the second page of step>2000 by bytes",
        [&] { return lists.Checkpoints("jobs/-", "step>2000", "bytes desc", 100); });
}

}  // namespace
}  // namespace wavefield::coordinator

int main(int argc, char** argv) {
  const int jobs = argc > 1 ? std::atoi(argv[1]) : 1000;
  const int checkpoints = argc > 2 ? std::atoi(argv[2]) : 10'000;
  if (jobs < 1 || checkpoints < 1) {
    fmt::print(stderr, "usage: catalogue_bench [JOBS [CHECKPOINTS]]\n");
    return 2;
  }
  wavefield::coordinator::Run(jobs, checkpoints);
  return 0;
}
