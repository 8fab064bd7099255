#include "coordinator/checkpoints/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "coordinator/checkpoints/removal.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/manifest.h"
#include "core/checkpoint/writer.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Checkpoint;
using wavefield::v1::CheckpointFile;

constexpr int kVisited = 1000;  // checkpoints that are read at a time
constexpr size_t kMaxCandidates = 100;

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

// The checkpoint that the attempt under way goes back to: the one it resumed from, else the one of
// another job that the job starts from.
std::string ParentOf(const JobRecord& record, const std::vector<Checkpoint>& of_job) {
  const std::string& directory = record.resumed_from();
  if (directory.empty()) return record.job().spec().init_from();
  for (const Checkpoint& checkpoint : of_job) {
    if (checkpoint.directory() == directory) return checkpoint.name();
  }
  const auto id = ParseCheckpointDirectoryName(directory.substr(directory.rfind('/') + 1));
  if (!id) return "";
  return fmt::format("{}/checkpoints/{}-{}", record.job().name(), id->step, id->epoch);
}

// `name` if the catalogue has, or remembers, a checkpoint of this name; else nothing.
absl::StatusOr<std::string> KnownOnly(StoreReader& reader, std::string name) {
  if (name.empty()) return name;
  const absl::Status found = reader.GetCheckpoint(name).status();
  if (found.ok()) return name;
  if (!absl::IsNotFound(found)) return found;
  WF_ASSIGN_OR_RETURN(const auto removed, reader.RemovedCheckpoints());
  const bool remembered = std::any_of(removed.begin(), removed.end(),
                                      [&](const auto& node) { return node.name() == name; });
  return remembered ? name : std::string();
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
      files->size() > kMaxCheckpointFiles) {
    return BadManifest(directory,
                       fmt::format("needs 'files', 1 to {} of them", kMaxCheckpointFiles));
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
  manifest_file.set_path(kManifestFile);
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
    if (const auto loss = metrics->find("evaluation_loss");
        loss != metrics->end() && loss->is_number()) {
      checkpoint.set_evaluation_loss(loss->get<double>());
      checkpoint.set_evaluated(true);
    }
  }
  if (manifest.contains("tokens")) {
    checkpoint.set_total_tokens(static_cast<int64_t>(NumberAt(manifest, "tokens")));
  }
  return checkpoint;
}

absl::Status CommitCheckpoint(Transaction& transaction, JobRecord& record,
                              const Checkpoint& checkpoint, const CheckpointReads& reads) {
  const std::string id = JobId(record);
  WF_ASSIGN_OR_RETURN(const auto older, CheckpointsOf(transaction, id));
  Checkpoint committed = checkpoint;
  WF_ASSIGN_OR_RETURN(*committed.mutable_parent(), KnownOnly(transaction, ParentOf(record, older)));
  WF_RETURN_IF_ERROR(transaction.PutCheckpoint(id, committed));
  record.mutable_job()->set_latest_checkpoint(committed.name());
  return ApplyRetention(transaction, record, reads);
}

absl::StatusOr<std::vector<std::string>> ResumeCandidates(StoreReader& reader,
                                                          const std::string& job) {
  std::vector<std::string> directories;
  std::vector<std::string> damaged;
  WF_RETURN_IF_ERROR(VisitCheckpoints(reader, job, INT64_MAX, [&](int64_t, Checkpoint& checkpoint) {
    (checkpoint.damage().empty() ? directories : damaged).push_back(checkpoint.directory());
    return directories.size() + damaged.size() < kMaxCandidates;
  }));
  // A rank refuses to start when none is sound; without any it would begin anew.
  directories.insert(directories.end(), damaged.begin(), damaged.end());
  return directories;
}

std::string JobOfCheckpoint(const std::string& name) {
  return name.substr(5, name.find('/', 5) - 5);
}

absl::Status VisitCheckpoints(StoreReader& reader, const std::string& job, int64_t before,
                              const std::function<bool(int64_t, Checkpoint&)>& visit) {
  while (true) {
    WF_ASSIGN_OR_RETURN(auto some, reader.ListCheckpoints(job, before, kVisited));
    for (auto& [revision, checkpoint] : some) {
      if (!visit(revision, checkpoint)) return absl::OkStatus();
    }
    if (some.size() < kVisited) return absl::OkStatus();
    before = some.back().first;
  }
}

absl::StatusOr<std::vector<Checkpoint>> CheckpointsOf(StoreReader& reader, const std::string& job) {
  std::vector<Checkpoint> checkpoints;
  WF_RETURN_IF_ERROR(VisitCheckpoints(reader, job, INT64_MAX, [&](int64_t, Checkpoint& checkpoint) {
    checkpoints.push_back(std::move(checkpoint));
    return true;
  }));
  return checkpoints;
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
  std::optional<Checkpoint> found;
  std::string known;
  int visited = 0;
  WF_RETURN_IF_ERROR(VisitCheckpoints(reader, job, INT64_MAX, [&](int64_t, Checkpoint& checkpoint) {
    if (reference == "latest" || std::to_string(checkpoint.step()) == reference) {
      found = std::move(checkpoint);
      return false;
    }
    if (visited < 10) known += fmt::format("{}{}", visited == 0 ? "" : ", ", checkpoint.step());
    ++visited;
    return true;
  }));
  if (found) return *std::move(found);
  if (visited == 0) {
    return absl::NotFoundError(fmt::format("the job jobs/{} has no checkpoint yet", job));
  }
  return absl::NotFoundError(fmt::format(
      "there is no checkpoint '{}'; the newest of jobs/{} are of steps {}", name, job, known));
}

}  // namespace wavefield::coordinator
