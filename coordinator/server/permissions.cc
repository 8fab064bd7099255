#include "coordinator/server/permissions.h"

#include <algorithm>
#include <iterator>

namespace wavefield::coordinator {
namespace {

constexpr std::string_view kPackage = "wavefield.v1.";
constexpr bool kAudited = true;

// Every method of the server: what it takes to call it, and whether it is audited.
constexpr MethodRule kRules[] = {
    {"JobService.CreateJob", Role::kUser, kAudited},
    {"JobService.BatchCreateJobs", Role::kUser, kAudited},
    {"JobService.GetJob", Role::kViewer, false},
    {"JobService.ListJobs", Role::kViewer, false},
    {"JobService.UpdateJob", Role::kUser, kAudited},
    {"JobService.PauseJob", Role::kUser, kAudited},
    {"JobService.ResumeJob", Role::kUser, kAudited},
    {"JobService.DeleteJob", Role::kUser, kAudited},
    {"JobService.CancelJob", Role::kUser, kAudited},
    {"JobService.CancelJobs", Role::kUser, kAudited},
    {"JobService.WatchJob", Role::kViewer, false},
    {"JobService.WatchJobs", Role::kViewer, false},
    {"JobService.ExplainJob", Role::kViewer, false},
    {"JobService.ListQueue", Role::kViewer, false},
    {"JobService.ReadLogs", Role::kViewer, false},
    {"JobService.ListMetrics", Role::kViewer, false},
    {"JobService.ListFieldHealth", Role::kViewer, false},
    {"CheckpointService.ListCheckpoints", Role::kViewer, false},
    {"CheckpointService.GetCheckpoint", Role::kViewer, false},
    {"CheckpointService.DownloadCheckpoint", Role::kUser, false},
    {"CheckpointService.UpdateCheckpoint", Role::kUser, kAudited},
    {"CheckpointService.VerifyCheckpoint", Role::kUser, kAudited},
    {"CheckpointService.DeleteCheckpoint", Role::kUser, kAudited},
    {"CheckpointService.DeleteCheckpoints", Role::kUser, kAudited},
    {"CheckpointService.CollectGarbage", Role::kUser, kAudited},
    {"CheckpointService.UploadCheckpoint", Role::kUser, kAudited},
    {"CheckpointService.DiffCheckpoints", Role::kViewer, false},
    {"CheckpointService.GetLineage", Role::kViewer, false},
    {"DatasetService.CreateDataset", Role::kUser, kAudited},
    {"DatasetService.GetDataset", Role::kViewer, false},
    {"DatasetService.InspectDataset", Role::kViewer, false},
    {"DatasetService.ListDatasets", Role::kViewer, false},
    // They change nothing, but they take a slot.
    {"InferenceService.Evaluate", Role::kUser, false},
    {"InferenceService.Generate", Role::kUser, false},
    {"InferenceService.AuditCausality", Role::kUser, false},
    {"WorkerService.ListWorkers", Role::kViewer, false},
    {"WorkerService.CordonWorker", Role::kAdmin, kAudited},
    {"WorkerService.UncordonWorker", Role::kAdmin, kAudited},
    {"WorkerService.DrainWorker", Role::kAdmin, kAudited},
    {"WorkerService.RegisterWorker", Role::kWorker, kAudited},
    // What workers say all the time is in the history of the jobs.
    {"WorkerService.Heartbeat", Role::kWorker, false},
    {"WorkerService.WatchAssignments", Role::kWorker, false},
    {"WorkerService.ReportEvents", Role::kWorker, false},
    {"WorkerService.ReportLogs", Role::kWorker, false},
    {"WorkerService.SetRendezvous", Role::kWorker, false},
    {"WorkerService.WaitRendezvous", Role::kWorker, false},
    {"AuditService.ListAuditEntries", Role::kAdmin, false},
    {"grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo", Role::kViewer, false},
};

}  // namespace

const char* NameOf(Role role) {
  switch (role) {
    case Role::kViewer:
      return "viewer";
    case Role::kUser:
      return "user";
    case Role::kWorker:
      return "worker";
    case Role::kAdmin:
      break;
  }
  return "admin";
}

std::optional<Role> RoleOf(std::string_view name) {
  for (const Role role : {Role::kViewer, Role::kUser, Role::kWorker, Role::kAdmin}) {
    if (name == NameOf(role)) return role;
  }
  return std::nullopt;
}

const MethodRule* RuleFor(std::string_view path) {
  if (!path.starts_with('/')) return nullptr;
  path.remove_prefix(1);
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) return nullptr;
  std::string_view service = path.substr(0, slash);
  const std::string_view name = path.substr(slash + 1);
  if (service.starts_with(kPackage)) {
    service.remove_prefix(kPackage.size());
  } else if (!service.starts_with("grpc.")) {
    return nullptr;
  }
  const auto* rule =
      std::find_if(std::begin(kRules), std::end(kRules), [&](const MethodRule& rule) {
        return rule.method.size() == service.size() + 1 + name.size() &&
               rule.method.starts_with(service) && rule.method[service.size()] == '.' &&
               rule.method.ends_with(name);
      });
  return rule == std::end(kRules) ? nullptr : rule;
}

bool Allows(Role has, Role least) {
  return has == Role::kAdmin || has == least || (has == Role::kUser && least == Role::kViewer);
}

}  // namespace wavefield::coordinator
