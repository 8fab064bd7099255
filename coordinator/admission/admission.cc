#include "coordinator/admission/admission.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "coordinator/admission/policies.h"
#include "coordinator/admission/references.h"
#include "coordinator/admission/spec_defaults.h"
#include "coordinator/cluster/slot_groups.h"
#include "coordinator/jobs/text.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"
#include "core/base/suggest.h"
#include "core/model/accounting.h"
#include "core/model/memory_savings.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

constexpr int kMaxWorldSizeWithoutWorkers = 64;
// Trailers are limited to 8 KiB, details travel in base64 and beside the message.
constexpr size_t kMaxDetailBytes = 4000;
constexpr size_t kMaxMessageBytes = 1000;

double GiB(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

class Admission {
 public:
  Admission(const std::string& id, StoreReader& reader, const AdmissionFacts& facts,
            JobRecord& record)
      : id_(id),
        reader_(reader),
        facts_(facts),
        record_(record),
        spec_(*record.mutable_job()->mutable_spec()) {}

  absl::StatusOr<std::vector<FieldViolation>> Run() {
    CheckResources();
    WF_RETURN_IF_ERROR(CheckDataset());
    WF_ASSIGN_OR_RETURN(weights_, ResolveInitFrom(reader_, record_, violations_));
    CheckModel();
    CheckTraining();
    CheckPolicies(spec_, violations_);
    WF_RETURN_IF_ERROR(CheckAfter(reader_, id_, facts_.created_along, spec_, violations_));
    if (violations_.empty()) CheckMemory();
    return std::move(violations_);
  }

 private:
  void Refuse(const std::string& field, const std::string& description) {
    violations_.push_back({field, description});
  }

  // Those that programs of this version know, and what else workers offer.
  std::set<std::string> KnownDevices() const {
    std::set<std::string> devices = {"cpu", kCuda};
    for (const Worker& worker : facts_.workers) devices.insert(worker.device());
    return devices;
  }

  std::vector<SlotGroup> SlotsAskedFor() const {
    std::vector<SlotGroup> groups;
    for (const Worker& worker : facts_.workers) {
      for (SlotGroup& group : SlotGroupsOf(worker)) {
        if (group.device == spec_.resources().device()) groups.push_back(std::move(group));
      }
    }
    return groups;
  }

  void CheckResources() {
    ResourceSpec& resources = *spec_.mutable_resources();
    if (!resources.has_device()) resources.set_device("cpu");
    if (!resources.has_world_size()) resources.set_world_size(1);
    if (!resources.has_min_world_size()) resources.set_min_world_size(0);
    const std::set<std::string> known = KnownDevices();
    const bool device_known = known.contains(resources.device());
    if (!device_known) {
      Refuse("resources.device",
             fmt::format("is '{}', which is not offered by any worker; allowed: {}",
                         Shortened(resources.device(), 60), fmt::join(known, ", ")));
    }
    int64_t slots = 0;
    for (const SlotGroup& group : SlotsAskedFor()) {
      slots += static_cast<int64_t>(group.slots.size());
    }
    const int64_t limit = slots > 0 ? slots : kMaxWorldSizeWithoutWorkers;
    const int64_t world_size = resources.world_size();
    if (world_size < 1 || (device_known && world_size > limit)) {
      Refuse(
          "resources.world_size",
          fmt::format(
              "is {}; allowed: 1 to {}{}", world_size, limit,
              slots > 0 ? fmt::format(" (the {} slots of all workers)", resources.device()) : ""));
    }
    if (resources.min_world_size() != 0) {
      Refuse("resources.min_world_size",
             fmt::format("is {}; allowed: 0 (the job needs all of its ranks)",
                         resources.min_world_size()));
    }
    world_size_ = std::clamp<int64_t>(world_size, 1, 1 << 16);
  }

  absl::Status CheckDataset() {
    std::string id = spec_.dataset();
    if (id.rfind("datasets/", 0) == 0) id = id.substr(std::string("datasets/").size());
    if (id.empty()) {
      Refuse("dataset", "is not set; name a dataset (`wavefield data list` shows them)");
      return absl::OkStatus();
    }
    auto record = reader_.GetDataset(id);
    if (absl::IsNotFound(record.status())) {
      WF_ASSIGN_OR_RETURN(const auto all, reader_.ListDatasets("", 1000));
      std::vector<std::string> names;
      for (const DatasetRecord& known : all) {
        names.push_back(known.dataset().name().substr(std::string("datasets/").size()));
      }
      const std::string nearest = SuggestNearest(id, names);
      Refuse("dataset",
             fmt::format("'{}' does not exist; {}", Shortened(id, 80),
                         !nearest.empty() ? nearest
                         : names.empty()  ? "there is none yet: `wavefield data prepare` makes one"
                                          : "`wavefield data list` shows those that do"));
      return absl::OkStatus();
    }
    WF_RETURN_IF_ERROR(record.status());
    dataset_ = record->dataset();
    spec_.set_dataset(dataset_->name());
    record_.set_dataset_directory(dataset_->directory());
    record_.set_dataset_content_hash(dataset_->content_hash());
    if (const absl::Status files = CheckDatasetFiles(*record, facts_.storage_root); !files.ok()) {
      Refuse("dataset", std::string(files.message()));
    }
    return absl::OkStatus();
  }

  void CheckModel() {
    ModelSpec& model = *spec_.mutable_model();
    ModelConfig base;
    if (!model.preset().empty()) {
      const auto preset = FindPreset(model.preset());
      if (!preset.ok()) {
        Refuse("model.preset", Shortened(std::string(preset.status().message()), 400));
        return;
      }
      base = *preset;
    } else if (weights_) {
      base = weights_->model;
    } else if (!model.has_d_model()) {
      if (!spec_.init_from().empty()) return;  // would give it, and was refused
      std::string names;
      for (const Preset& preset : Presets()) names += (names.empty() ? "" : ", ") + preset.name;
      Refuse("model.preset",
             fmt::format("is not set; one of {}, or give the model's fields one by one",
                         Shortened(names, 300)));
      return;
    }
    const bool takes_vocabulary = weights_ && model.preset().empty();
    if (dataset_ && !takes_vocabulary) {
      base.vocab_size = PadVocabulary(dataset_->vocab_size());
    }
    const ModelConfig config = ModelConfigOf(model, base);
    const auto wrong = Validate(config, "model.");
    violations_.insert(violations_.end(), wrong.begin(), wrong.end());
    if (dataset_ && config.vocab_size < dataset_->vocab_size()) {
      Refuse("model.vocab_size",
             fmt::format("is {}; the dataset {} needs at least {}", config.vocab_size,
                         dataset_->name(), dataset_->vocab_size()));
    }
    if (wrong.empty()) {
      model_ = config;
      for (const FieldViolation& violation : ValidateDevice(config, spec_.resources().device())) {
        violations_.push_back(violation);
      }
      if (weights_) CheckSameModel(config, *weights_, violations_);
      SetModel(config, model);
      record_.mutable_job()->set_parameter_count(ParameterCount(config));
    }
  }

  void CheckTraining() {
    training_ = TrainingConfigOf(spec_, world_size_);
    const auto wrong = Validate(training_, world_size_);
    violations_.insert(violations_.end(), wrong.begin(), wrong.end());
    if (wrong.empty()) {
      for (const FieldViolation& violation :
           ValidateDevice(training_, spec_.resources().device())) {
        violations_.push_back(violation);
      }
    }
    if (wrong.empty() && model_) {
      for (const FieldViolation& violation : ValidateTogether(training_, *model_)) {
        violations_.push_back(violation);
      }
    }
    if (dataset_ && training_.sequence_length >= dataset_->train_tokens()) {
      Refuse("training.sequence_length",
             fmt::format("is {}; the train split of {} has {} tokens, so at most {}",
                         training_.sequence_length, dataset_->name(), dataset_->train_tokens(),
                         std::max<int64_t>(0, dataset_->train_tokens() - 1)));
    }
    if (violations_.empty()) SetTraining(training_, spec_);
    record_.mutable_job()->set_max_steps(training_.max_steps);
  }

  void CheckMemory() {
    const std::string& device = spec_.resources().device();
    int64_t largest = 0;
    for (const SlotGroup& group : SlotsAskedFor()) {
      if (!group.slots.empty()) largest = std::max(largest, group.memory);
    }
    int threads = 1;
    for (const Worker& worker : facts_.workers) {
      if (worker.device() == device) threads = std::max(threads, worker.threads_per_slot());
    }
    const MemoryEstimate estimate =
        EstimateMemory(*model_, training_, threads, device, world_size_);
    record_.mutable_job()->set_memory_estimate_bytes(estimate.total());
    if (largest == 0 || estimate.total() <= largest) return;
    Refuse("training.micro_batch_size",
           fmt::format(
               "is {} at sequence_length {}: a rank needs about {:.2f} GiB ({:.2f} parameters, "
               "gradients and optimizer state, {:.2f} activations), and the largest {} slot has "
               "{:.2f} GiB; {}",
               training_.micro_batch_size, training_.sequence_length, GiB(estimate.total()),
               GiB(estimate.parameters + estimate.gradients + estimate.optimizer),
               GiB(estimate.activations), device, GiB(largest),
               Advice(CheapestSavings(*model_, training_, threads, device, largest, world_size_))));
  }

  const std::string& id_;
  StoreReader& reader_;
  const AdmissionFacts& facts_;
  JobRecord& record_;
  JobSpec& spec_;
  std::vector<FieldViolation> violations_;
  int64_t world_size_ = 1;
  std::optional<Dataset> dataset_;
  std::optional<InitialWeights> weights_;
  std::optional<ModelConfig> model_;  // once it was found valid
  TrainingConfig training_;
};

}  // namespace

absl::Status ViolationsToStatus(const std::vector<FieldViolation>& violations) {
  if (violations.empty()) return absl::OkStatus();
  google::rpc::BadRequest details;
  std::string message = violations.size() == 1
                            ? std::string()
                            : fmt::format("{} things are wrong: ", violations.size());
  size_t bytes = 0;
  size_t told = 0;
  for (const FieldViolation& violation : violations) {
    bytes += violation.field.size() + violation.description.size() + 8;
    if (bytes > kMaxDetailBytes) break;
    auto* detail = details.add_field_violations();
    detail->set_field(violation.field);
    detail->set_description(violation.description);
    const std::string text = violation.field + " " + violation.description;
    if (message.size() + text.size() < kMaxMessageBytes) {
      message += (told == 0 ? "" : "; ") + text;
      ++told;
    }
  }
  if (told < violations.size()) message += fmt::format("; and {} more", violations.size() - told);
  absl::Status status = absl::InvalidArgumentError(message);
  AttachDetail(status, details);
  return status;
}

absl::Status CheckDatasetFiles(const DatasetRecord& record,
                               const std::filesystem::path& storage_root) {
  const std::filesystem::path directory = storage_root / record.dataset().directory();
  for (const SourceFile& file : record.files()) {
    std::error_code error;
    const auto size = std::filesystem::file_size(directory / file.path(), error);
    if (error) {
      return absl::FailedPreconditionError(
          fmt::format("'{}' has lost its file {} ({}): prepare it again", record.dataset().name(),
                      file.path(), error.message()));
    }
    if (static_cast<int64_t>(size) != file.bytes()) {
      return absl::FailedPreconditionError(fmt::format(
          "'{}' was changed: its file {} has {} bytes, catalogued were {}; prepare it again",
          record.dataset().name(), file.path(), size, file.bytes()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> AdmitJob(const CreateJobRequest& request, StoreReader& reader,
                                   const AdmissionFacts& facts, absl::Time now) {
  JobRecord record;
  Job& job = *record.mutable_job();
  *job.mutable_spec() = request.spec();
  WF_ASSIGN_OR_RETURN(auto violations, Admission(request.job_id(), reader, facts, record).Run());
  if (!request.job_id().empty() && !IsResourceId(request.job_id())) {
    violations.insert(violations.begin(),
                      {"job_id", fmt::format("is '{}'; allowed: [a-z][a-z0-9-]{{0,62}}",
                                             Shortened(request.job_id(), 80))});
  }
  WF_RETURN_IF_ERROR(ViolationsToStatus(violations));
  if (!request.job_id().empty()) job.set_name("jobs/" + request.job_id());
  job.set_state(JOB_STATE_QUEUED);
  job.set_reason(JOB_REASON_WAITING_FOR_SLOTS);
  job.set_state_message("waits for its turn");
  job.set_epoch(1);
  *job.mutable_create_time() = ToTimestamp(now);
  *job.mutable_queue_time() = ToTimestamp(now);
  return record;
}

}  // namespace wavefield::coordinator
