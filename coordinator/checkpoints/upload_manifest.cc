#include "coordinator/checkpoints/upload_manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "coordinator/admission/admission.h"
#include "coordinator/admission/spec_defaults.h"
#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/cluster/random_id.h"
#include "coordinator/jobs/text.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/requests.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/manifest.h"
#include "core/model/accounting.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

constexpr size_t kMaxManifestBytesUploaded = 4 << 20;
constexpr size_t kMaxNoteBytes = 1000;
constexpr int kMaxNesting = 32;
constexpr uint64_t kMaxBytes = uint64_t{1} << 50;
constexpr uint64_t kMaxNumber = std::numeric_limits<int64_t>::max();

absl::Status BadManifest(const std::string& what) {
  return InvalidField("begin.manifest", Shortened(what, 500));
}

// How deep objects and arrays lie in each other: what is parsed is also copied, level by level, on
// the stack.
int NestingOf(const std::string& text) {
  int depth = 0, deepest = 0;
  bool in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\') ++i;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

absl::StatusOr<CheckpointManifest> ReadManifest(const std::string& text) {
  if (text.size() > kMaxManifestBytesUploaded) {
    return BadManifest(fmt::format("has {} bytes; at most {} are allowed", text.size(),
                                   kMaxManifestBytesUploaded));
  }
  if (const int nesting = NestingOf(text); nesting > kMaxNesting) {
    return BadManifest(
        fmt::format("is nested {} levels deep; at most {} are allowed", nesting, kMaxNesting));
  }
  auto manifest = ParseManifest(text);
  if (!manifest.ok()) return BadManifest(std::string(manifest.status().message()));
  if (manifest->step > kMaxNumber || manifest->epoch > kMaxNumber ||
      manifest->tokens > kMaxNumber) {
    return BadManifest(fmt::format("has a step, epoch or number of tokens beyond {}", kMaxNumber));
  }
  if (manifest->files.empty() || manifest->files.size() > kMaxCheckpointFiles) {
    return BadManifest(fmt::format("names {} files; allowed: 1 to {}", manifest->files.size(),
                                   kMaxCheckpointFiles));
  }
  uint64_t bytes = 0;
  for (const auto& file : manifest->files) {
    bytes += file.bytes;
    if (file.bytes > kMaxBytes || bytes > kMaxBytes) {
      return BadManifest(fmt::format("names files of more than {} bytes together", kMaxBytes));
    }
  }
  return manifest;
}

// What the manifest says of model and training, checked as that of a job that is submitted.
absl::Status FillSpec(const CheckpointManifest& manifest, JobSpec& spec, Job& job) {
  const auto model = ModelConfigFromJson(manifest.model_config);
  if (!model.ok()) return BadManifest(std::string(model.status().message()));
  const auto training = TrainingConfigFromSpec(manifest.training_spec);
  if (!training.ok()) return BadManifest(std::string(training.status().message()));
  WF_RETURN_IF_ERROR(ViolationsToStatus(Validate(*training, manifest.world_size)));
  SetModel(*model, *spec.mutable_model());
  SetTraining(*training, spec);
  const std::string prefix = "datasets/";
  const std::string dataset = manifest.dataset.rfind(prefix, 0) == 0
                                  ? manifest.dataset.substr(prefix.size())
                                  : manifest.dataset;
  if (IsResourceId(dataset)) spec.set_dataset(prefix + dataset);
  spec.mutable_resources()->set_device("cpu");
  spec.mutable_resources()->set_world_size(manifest.world_size);
  job.set_parameter_count(ParameterCount(*model));
  job.set_max_steps(training->max_steps);
  return absl::OkStatus();
}

Checkpoint Describe(const CheckpointManifest& manifest, const std::string& text) {
  Checkpoint checkpoint;
  int64_t bytes = 0;
  const auto add = [&](const std::string& name, int64_t size, const std::string& sha256) {
    CheckpointFile& file = *checkpoint.add_files();
    file.set_path(name);
    file.set_bytes(size);
    file.set_sha256(sha256);
    bytes += size;
  };
  for (const auto& file : manifest.files) {
    add(file.name, static_cast<int64_t>(file.bytes), file.sha256);
  }
  add(kManifestFile, static_cast<int64_t>(text.size()), Sha256Hex(text));
  checkpoint.set_bytes(bytes);
  checkpoint.set_step(static_cast<int64_t>(manifest.step));
  checkpoint.set_epoch(static_cast<int64_t>(manifest.epoch));
  checkpoint.set_total_tokens(static_cast<int64_t>(manifest.tokens));
  checkpoint.set_fingerprint(Shortened(manifest.fingerprint.dump(), 4096));
  const auto number = [&](const char* key) -> const nlohmann::json* {
    const auto found = manifest.metrics.find(key);
    return found != manifest.metrics.end() && found->is_number() ? &*found : nullptr;
  };
  if (const auto* loss = number("loss")) checkpoint.set_loss(loss->get<double>());
  if (const auto* loss = number("evaluation_loss")) {
    checkpoint.set_evaluation_loss(loss->get<double>());
    checkpoint.set_evaluated(true);
  }
  return checkpoint;
}

}  // namespace

absl::Status CheckNote(const std::string& field, const std::string& note) {
  if (note.size() > kMaxNoteBytes) {
    return InvalidField(
        field, fmt::format("has {} bytes; at most {} are allowed", note.size(), kMaxNoteBytes));
  }
  const bool clean = std::all_of(note.begin(), note.end(), [](unsigned char c) {
    return (c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t';
  });
  return clean ? absl::OkStatus()
               : InvalidField(field, "has control characters; allowed are line feeds and tabs");
}

absl::StatusOr<UploadedCheckpoint> ReadUpload(const UploadCheckpointRequest::Begin& begin,
                                              absl::Time now) {
  if (!IsResourceId(begin.job_id())) {
    return InvalidField("begin.job_id", fmt::format("is '{}'; allowed: [a-z][a-z0-9-]{{0,62}}",
                                                    Shortened(begin.job_id(), 80)));
  }
  WF_RETURN_IF_ERROR(CheckNote("begin.note", begin.note()));
  WF_ASSIGN_OR_RETURN(const CheckpointManifest manifest, ReadManifest(begin.manifest()));
  UploadedCheckpoint uploaded;
  Checkpoint& checkpoint = uploaded.checkpoint;
  checkpoint = Describe(manifest, begin.manifest());
  checkpoint.set_name(
      fmt::format("jobs/{}/checkpoints/{}-{}", begin.job_id(), manifest.step, manifest.epoch));
  checkpoint.set_note(begin.note());
  *checkpoint.mutable_create_time() = ToTimestamp(now);
  *checkpoint.mutable_verify_time() = ToTimestamp(now);

  Job& job = *uploaded.record.mutable_job();
  WF_RETURN_IF_ERROR(FillSpec(manifest, *job.mutable_spec(), job));
  job.set_name("jobs/" + begin.job_id());
  job.set_uid(RandomHex(32));
  job.set_state(JOB_STATE_SUCCEEDED);
  job.set_reason(JOB_REASON_UPLOADED);
  job.set_state_message(fmt::format("holds an uploaded checkpoint of step {}", manifest.step));
  job.set_epoch(checkpoint.epoch());
  *job.mutable_create_time() = ToTimestamp(now);
  *job.mutable_end_time() = ToTimestamp(now);
  job.set_latest_checkpoint(checkpoint.name());
  job.mutable_last_step()->set_step(checkpoint.step());
  job.mutable_last_step()->set_total_tokens(checkpoint.total_tokens());
  job.mutable_last_step()->set_loss(checkpoint.loss());
  job.mutable_last_step()->set_perplexity(std::exp(checkpoint.loss()));
  if (checkpoint.evaluated()) {
    job.mutable_last_evaluation()->set_step(checkpoint.step());
    job.mutable_last_evaluation()->set_loss(checkpoint.evaluation_loss());
    job.mutable_last_evaluation()->set_perplexity(std::exp(checkpoint.evaluation_loss()));
    job.mutable_last_evaluation()->set_bits_per_byte(std::nan(""));
  }
  uploaded.record.set_dataset_content_hash(manifest.dataset_content_hash);
  return uploaded;
}

}  // namespace wavefield::coordinator
