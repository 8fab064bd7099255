#include "coordinator/jobs/checkpoint_catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Checkpoint;
using wavefield::v1::CheckpointFile;

constexpr int kMaxCheckpointsOfJob = 100'000;
constexpr size_t kMaxFiles = 4096;

double NumberAt(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0.0;
}

std::string TextAt(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

absl::Status BadManifest(const std::string& directory, const std::string& what) {
  return absl::InvalidArgumentError(
      fmt::format("the checkpoint {} was not catalogued: its manifest {}", directory, what));
}

}  // namespace

bool IsSafeRelativePath(const std::string& path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/') return false;
  if (path.find('\0') != std::string::npos) return false;
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

absl::StatusOr<Checkpoint> CheckpointFromReport(const JobRecord& record,
                                                const wavefield::v1::CheckpointSaved& saved,
                                                absl::Time now) {
  const std::string& directory = saved.directory();
  if (!IsSafeRelativePath(directory) ||
      directory.rfind(record.checkpoint_directory() + "/", 0) != 0) {
    return absl::InvalidArgumentError(fmt::format(
        "the checkpoint '{}' was not catalogued: it is not below the job's directory {}", directory,
        record.checkpoint_directory()));
  }
  const nlohmann::json manifest = nlohmann::json::parse(saved.manifest(), nullptr, false);
  if (!manifest.is_object()) return BadManifest(directory, "is not a JSON object");
  const auto files = manifest.find("files");
  if (files == manifest.end() || !files->is_array() || files->empty() ||
      files->size() > kMaxFiles) {
    return BadManifest(directory, fmt::format("needs 'files', 1 to {} of them", kMaxFiles));
  }
  Checkpoint checkpoint;
  int64_t bytes = 0;
  for (const auto& entry : *files) {
    const std::string name = entry.is_object() ? TextAt(entry, "name") : std::string();
    if (!IsSafeRelativePath(name))
      return BadManifest(directory, "has a file without a proper name");
    CheckpointFile& file = *checkpoint.add_files();
    file.set_path(name);
    file.set_bytes(static_cast<int64_t>(NumberAt(entry, "bytes")));
    file.set_sha256(TextAt(entry, "sha256"));
    bytes += file.bytes();
  }
  // The manifest does not list itself, but belongs to the whole.
  CheckpointFile& manifest_file = *checkpoint.add_files();
  manifest_file.set_path("manifest.json");
  manifest_file.set_bytes(static_cast<int64_t>(saved.manifest().size()));
  manifest_file.set_sha256(Sha256Hex(saved.manifest()));
  const wavefield::v1::Job& job = record.job();
  checkpoint.set_name(fmt::format("{}/checkpoints/{}-{}", job.name(), saved.step(), job.epoch()));
  checkpoint.set_step(saved.step());
  checkpoint.set_attempt(job.attempt());
  checkpoint.set_epoch(job.epoch());
  *checkpoint.mutable_create_time() = ToTimestamp(now);
  checkpoint.set_bytes(std::max(saved.bytes(), bytes));
  checkpoint.set_directory(directory);
  checkpoint.set_fingerprint(record.fingerprint());
  checkpoint.set_total_tokens(job.last_step().total_tokens());
  checkpoint.set_loss(job.last_step().loss());
  checkpoint.set_evaluation_loss(job.last_evaluation().loss());
  if (const auto metrics = manifest.find("metrics");
      metrics != manifest.end() && metrics->is_object()) {
    if (metrics->contains("loss")) checkpoint.set_loss(NumberAt(*metrics, "loss"));
    if (metrics->contains("evaluation_loss")) {
      checkpoint.set_evaluation_loss(NumberAt(*metrics, "evaluation_loss"));
    }
  }
  if (manifest.contains("tokens")) {
    checkpoint.set_total_tokens(static_cast<int64_t>(NumberAt(manifest, "tokens")));
  }
  return checkpoint;
}

absl::Status CommitCheckpoint(Transaction& transaction, JobRecord& record,
                              const Checkpoint& checkpoint) {
  const std::string id = JobId(record);
  WF_ASSIGN_OR_RETURN(auto older, transaction.ListCheckpoints(id, INT64_MAX, kMaxCheckpointsOfJob));
  Checkpoint committed = checkpoint;
  for (const auto& [revision, other] : older) {
    if (!record.resumed_from().empty() && other.directory() == record.resumed_from()) {
      committed.set_parent(other.name());
    }
  }
  WF_RETURN_IF_ERROR(transaction.PutCheckpoint(id, committed));
  record.mutable_job()->set_latest_checkpoint(committed.name());

  // Until its ranks have loaded their state they may read any of these.
  std::set<std::string> in_use;
  if (!record.training_started()) {
    in_use.insert(record.resume_candidates().begin(), record.resume_candidates().end());
  }
  int kept = 1;
  for (const auto& [revision, other] : older) {
    if (other.name() == committed.name()) continue;
    if (kept < record.job().spec().checkpoint().keep_last()) {
      ++kept;
    } else if (!other.pinned() && !in_use.contains(other.directory())) {
      WF_RETURN_IF_ERROR(transaction.DeleteCheckpoint(other));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ResumeCandidates(StoreReader& reader,
                                                          const std::string& job) {
  WF_ASSIGN_OR_RETURN(auto checkpoints, reader.ListCheckpoints(job, INT64_MAX, 100));
  std::vector<std::string> directories;
  for (const auto& [revision, checkpoint] : checkpoints)
    directories.push_back(checkpoint.directory());
  return directories;
}

absl::StatusOr<Checkpoint> ResolveCheckpoint(StoreReader& reader, const std::string& name) {
  const std::string middle = "/checkpoints/";
  const size_t at = name.find(middle);
  if (name.rfind("jobs/", 0) != 0 || at == std::string::npos || at + middle.size() == name.size()) {
    return absl::InvalidArgumentError(fmt::format(
        "'{}' is not the name of a checkpoint: jobs/JOB/checkpoints/STEP, …/STEP-EPOCH or "
        "…/latest",
        name));
  }
  const std::string job = name.substr(5, at - 5);
  const std::string reference = name.substr(at + middle.size());
  WF_RETURN_IF_ERROR(reader.GetJob(job).status());
  if (reference.find('-') != std::string::npos) {
    const auto exact = reader.GetCheckpoint(name);
    if (!absl::IsNotFound(exact.status())) return exact;
  }
  WF_ASSIGN_OR_RETURN(auto all, reader.ListCheckpoints(job, INT64_MAX, kMaxCheckpointsOfJob));
  if (all.empty()) {
    return absl::NotFoundError(fmt::format("the job jobs/{} has no checkpoint yet", job));
  }
  if (reference == "latest") return all[0].second;
  std::string known;
  for (size_t i = 0; i < all.size(); ++i) {
    const Checkpoint& checkpoint = all[i].second;
    if (std::to_string(checkpoint.step()) == reference) return checkpoint;
    if (i < 10) known += fmt::format("{}{}", i == 0 ? "" : ", ", checkpoint.step());
  }
  return absl::NotFoundError(fmt::format(
      "there is no checkpoint '{}'; the newest of jobs/{} are of steps {}", name, job, known));
}

}  // namespace wavefield::coordinator
