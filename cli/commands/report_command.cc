#include <algorithm>
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_file.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/report.h"
#include "core/base/status_macros.h"
#include "wavefield/v1/checkpoint_service.grpc.pb.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"
#include "wavefield/v1/job_service.grpc.pb.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {
namespace {

// Of longer histories every n-th step is fetched.
constexpr int64_t kMaxSteps = 10000;
constexpr int64_t kLeastPage = 100;

struct Flags {
  std::string job;
  std::string output;
};

absl::Status FetchHistory(const Session& session, ReportData& data) {
  data.stride = (data.job.last_step().step() + kMaxSteps - 1) / kMaxSteps;
  data.stride = std::max<int64_t>(1, data.stride);
  v1::ListMetricsRequest request;
  request.set_parent(data.job.name());
  request.set_stride(static_cast<int32_t>(data.stride));
  // A page tells of the evaluations in its range of steps, but of no more than 10,000.
  request.set_page_size(static_cast<int32_t>(std::max(kLeastPage, kMaxSteps / data.stride)));
  return ForEachPage(session, &v1::JobService::Stub::ListMetrics, request,
                     [&](const v1::ListMetricsResponse& page) {
                       data.history.mutable_steps()->MergeFrom(page.steps());
                       data.history.mutable_evaluations()->MergeFrom(page.evaluations());
                     });
}

absl::Status FetchFieldHealth(const Session& session, ReportData& data) {
  v1::ListFieldHealthRequest request;
  request.set_parent(data.job.name());
  request.set_page_size(1);
  WF_ASSIGN_OR_RETURN(const auto health,
                      session.Call(&v1::JobService::Stub::ListFieldHealth, request));
  if (health.points_size() > 0) data.field_health = health.points(0);
  return absl::OkStatus();
}

absl::Status FetchDataset(const Session& session, ReportData& data) {
  v1::GetDatasetRequest request;
  request.set_name(data.job.spec().dataset());
  const auto dataset = session.Call(&v1::DatasetService::Stub::GetDataset, request);
  if (absl::IsNotFound(dataset.status())) return absl::OkStatus();
  WF_RETURN_IF_ERROR(dataset.status());
  data.dataset = *dataset;
  return absl::OkStatus();
}

absl::StatusOr<ReportData> FetchData(const Session& session, const std::string& name) {
  ReportData data;
  data.written = absl::Now();
  v1::GetJobRequest job;
  job.set_name(name);
  WF_ASSIGN_OR_RETURN(data.job, session.Call(&v1::JobService::Stub::GetJob, job));
  WF_RETURN_IF_ERROR(FetchHistory(session, data));
  WF_RETURN_IF_ERROR(FetchFieldHealth(session, data));
  WF_RETURN_IF_ERROR(FetchDataset(session, data));
  v1::ListCheckpointsRequest checkpoints;
  checkpoints.set_parent(name);
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::CheckpointService::Stub::ListCheckpoints,
                                 checkpoints, [&](const v1::ListCheckpointsResponse& page) {
                                   data.checkpoints.insert(data.checkpoints.end(),
                                                           page.checkpoints().begin(),
                                                           page.checkpoints().end());
                                 }));
  WF_RETURN_IF_ERROR(ForEachPage(
      session, &v1::WorkerService::Stub::ListWorkers, v1::ListWorkersRequest(),
      [&](const v1::ListWorkersResponse& page) {
        data.workers.insert(data.workers.end(), page.workers().begin(), page.workers().end());
      }));
  return data;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::string name, ParseJobName(flags.job));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const ReportData data, FetchData(session, name));
  WF_RETURN_IF_ERROR(WriteOutput(flags.output, RenderReport(data)));
  return kExitSuccess;
}

}  // namespace

void AddReportCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "report", "Write all that is known of a job as one HTML file, to read without a cluster");
  command->add_option("JOB", flags->job, "its name")->required();
  command->add_option("-o,--output", flags->output, "the file, replaced if there is one; -: stdout")
      ->required();
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
