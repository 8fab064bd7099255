#include "worker/trainer/task.h"

#include <fmt/format.h>

#include "absl/strings/str_replace.h"
#include "core/base/json_numbers.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

absl::Status Malformed(const std::exception& error) {
  return absl::InvalidArgumentError(fmt::format("malformed task: {}", error.what()));
}

// A resolved ModelSpec is a model config and the name of the preset it came from.
absl::StatusOr<ModelConfig> ModelOf(nlohmann::json spec) {
  spec.erase("preset");
  return ModelConfigFromJson(spec);
}

}  // namespace

LogFields LogFieldsOf(const TrainTask& task, std::optional<int64_t> step) {
  return {.job = task.job.substr(task.job.rfind('/') + 1),
          .rank = task.rank,
          .epoch = task.epoch,
          .step = step};
}

std::string WithoutRoot(const std::string& message, const HostOptions& host) {
  const std::string root = std::filesystem::absolute(host.storage_root).lexically_normal().string();
  return absl::StrReplaceAll(message, {{root + "/", ""}});
}

absl::StatusOr<TrainTask> ParseTrainTask(const nlohmann::json& assignment) {
  TrainTask task;
  try {
    const auto& train = assignment.at("train");
    train.at("job").get_to(task.job);
    task.spec = train.at("spec");
    task.epoch = IntegerFromJson(train.at("epoch"));
    task.attempt = static_cast<int>(IntegerFromJson(train.at("attempt")));
    task.rank = static_cast<int>(IntegerFromJson(train.at("rank")));
    task.world_size = static_cast<int>(IntegerFromJson(train.at("world_size")));
    task.spec.at("dataset").get_to(task.dataset);
    train.at("dataset_directory").get_to(task.dataset_directory);
    train.at("dataset_content_hash").get_to(task.dataset_content_hash);
    train.at("checkpoint_directory").get_to(task.checkpoint_directory);
    train.at("resume_candidates").get_to(task.resume_candidates);
    task.init_from_directory = train.value("init_from_directory", "");
    task.device = task.spec.at("resources").value("device", task.device);
    WF_ASSIGN_OR_RETURN(task.model, ModelOf(task.spec.at("model")));
  } catch (const std::exception& error) {
    return Malformed(error);
  }
  WF_ASSIGN_OR_RETURN(task.training, TrainingConfigFromSpec(task.spec));
  return task;
}

absl::StatusOr<EvaluateTask> ParseEvaluateTask(const nlohmann::json& assignment,
                                               const std::filesystem::path& storage_root) {
  EvaluateTask task;
  try {
    const auto& inference = assignment.at("inference");
    const auto& request = inference.at("evaluate");
    task.checkpoint = storage_root / inference.at("checkpoint_directory").get<std::string>();
    const auto directory = inference.at("dataset_directory").get<std::string>();
    if (!directory.empty()) task.dataset = storage_root / directory;
    request.at("token_ids").get_to(task.token_ids);
    task.max_tokens = IntegerFromJson(request.at("max_tokens"));
    task.sequence_length = IntegerFromJson(request.at("sequence_length"));
  } catch (const std::exception& error) {
    return Malformed(error);
  }
  return task;
}

absl::StatusOr<AuditTask> ParseAuditTask(const nlohmann::json& assignment,
                                         const std::filesystem::path& storage_root) {
  AuditTask task;
  try {
    const auto& inference = assignment.at("inference");
    const auto& request = inference.at("audit_causality");
    task.checkpoint = storage_root / inference.at("checkpoint_directory").get<std::string>();
    task.dataset = storage_root / inference.at("dataset_directory").get<std::string>();
    task.windows = IntegerFromJson(request.at("windows"));
    task.sequence_length = IntegerFromJson(request.at("sequence_length"));
    task.changes_per_window = IntegerFromJson(request.at("changes_per_window"));
    task.seed = UnsignedFromJson(request.at("seed"));
  } catch (const std::exception& error) {
    return Malformed(error);
  }
  return task;
}

absl::StatusOr<GenerateTask> ParseGenerateTask(const nlohmann::json& assignment,
                                               const std::filesystem::path& storage_root) {
  GenerateTask task;
  try {
    const auto& inference = assignment.at("inference");
    const auto& request = inference.at("generate");
    task.checkpoint = storage_root / inference.at("checkpoint_directory").get<std::string>();
    request.at("prompt").get_to(task.prompt);
    task.max_tokens = IntegerFromJson(request.at("max_tokens"));
    task.temperature = NumberFromJson(request.at("temperature"));
    task.seed = static_cast<uint64_t>(UnsignedFromJson(request.at("seed")));
  } catch (const std::exception& error) {
    return Malformed(error);
  }
  return task;
}

}  // namespace wavefield
