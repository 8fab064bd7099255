#include "worker/trainer/run_task.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "core/base/file.h"
#include "core/base/logging.h"
#include "core/base/status_macros.h"
#include "spdlog/spdlog.h"
#include "worker/trainer/audit.h"
#include "worker/trainer/inference.h"
#include "worker/trainer/trainer.h"

namespace wavefield {
namespace {

constexpr int kChannelFd = 3;

absl::Status RunTraining(const nlohmann::json& assignment, const HostOptions& host,
                         WorkerChannel& channel, RunPosition& position) {
  WF_ASSIGN_OR_RETURN(const TrainTask task, ParseTrainTask(assignment));
  SetLogFields(LogFieldsOf(task));
  WF_ASSIGN_OR_RETURN(const auto trainer, Trainer::Create(task, host, channel, position));
  return trainer->Run();
}

absl::Status RunInference(const nlohmann::json& assignment, const HostOptions& host,
                          WorkerChannel& channel) {
  const OutputSink sink = [&](const nlohmann::json& output) {
    channel.SendEvent({{"output", output}});
  };
  if (assignment.at("inference").contains("evaluate")) {
    WF_ASSIGN_OR_RETURN(const EvaluateTask task, ParseEvaluateTask(assignment, host.storage_root));
    return Evaluate(task, host.threads, sink);
  }
  if (assignment.at("inference").contains("audit_causality")) {
    WF_ASSIGN_OR_RETURN(const AuditTask task, ParseAuditTask(assignment, host.storage_root));
    return Audit(task, host.threads, sink);
  }
  WF_ASSIGN_OR_RETURN(const GenerateTask task, ParseGenerateTask(assignment, host.storage_root));
  return Generate(task, host.threads, sink);
}

absl::Status Run(const std::filesystem::path& file, const HostOptions& host, WorkerChannel& channel,
                 RunPosition& position) {
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, 64 << 20));
  const auto assignment = nlohmann::json::parse(text, nullptr, false);
  if (assignment.is_discarded() || !assignment.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{} is not a JSON object", file.string()));
  }
  if (assignment.contains("train")) return RunTraining(assignment, host, channel, position);
  if (assignment.contains("inference")) return RunInference(assignment, host, channel);
  return absl::InvalidArgumentError(fmt::format("{} holds no task", file.string()));
}

}  // namespace

int RunTask(const std::filesystem::path& file, const HostOptions& host) {
  if (::fcntl(kChannelFd, F_GETFD) < 0) {
    spdlog::error("descriptor {} is not open: 'run' is started by wavefield-worker", kChannelFd);
    return kExitError;
  }
  WorkerChannel channel{FileDescriptor(kChannelFd)};
  RunPosition position;
  const absl::Status status = Run(file, host, channel, position);
  if (status.ok()) return kExitOk;
  if (absl::IsAborted(status)) {
    // A peer's connection may break before the worker says why: its word comes first.
    channel.WaitForAbort(absl::Seconds(3));
    spdlog::warn("ended: {}", std::string(status.message()));
    return kExitAborted;
  }
  spdlog::error("failed: {}", status.ToString());
  channel.SendEvent({{"failure",
                      {{"code", status.raw_code()},
                       {"message", WithoutRoot(std::string(status.message()), host)},
                       {"phase", position.phase},
                       {"step", position.step}}}});
  return kExitError;
}

}  // namespace wavefield
