#include "coordinator/admission/references.h"

#include <fmt/format.h>

#include "absl/strings/strip.h"
#include "coordinator/admission/spec_defaults.h"
#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/jobs/names.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Dependency;

constexpr int kMaxDependencies = 100;

absl::Status Gone(const std::string& name) {
  return absl::FailedPreconditionError(name + " does not exist any more");
}

absl::StatusOr<bool> Exists(StoreReader& reader, const std::string& id,
                            const std::set<std::string>& created_along) {
  if (created_along.contains(id)) return true;
  const absl::Status found = reader.GetJob(id).status();
  if (absl::IsNotFound(found)) return false;
  WF_RETURN_IF_ERROR(found);
  return true;
}

}  // namespace

absl::Status CheckAfter(StoreReader& reader, const std::string& id,
                        const std::set<std::string>& created_along, wavefield::v1::JobSpec& spec,
                        std::vector<FieldViolation>& violations) {
  if (spec.after_size() > kMaxDependencies) {
    violations.push_back({"after", fmt::format("has {} entries; at most {} are allowed",
                                               spec.after_size(), kMaxDependencies)});
    return absl::OkStatus();
  }
  std::set<std::string> named;
  for (int i = 0; i < spec.after_size(); ++i) {
    Dependency& dependency = *spec.mutable_after(i);
    const auto refuse = [&](const std::string& field, const std::string& description) {
      violations.push_back({fmt::format("after[{}].{}", i, field), description});
    };
    if (!dependency.has_on()) dependency.set_on("success");
    if (dependency.on() != "success" && dependency.on() != "end") {
      refuse("on",
             fmt::format("is '{}'; allowed: 'success', 'end'", Shortened(dependency.on(), 60)));
    }
    const std::string other(absl::StripPrefix(dependency.job(), "jobs/"));
    if (!IsResourceId(other)) {
      refuse("job",
             fmt::format("is '{}'; name a job, as jobs/ID or ID", Shortened(dependency.job(), 80)));
      continue;
    }
    dependency.set_job("jobs/" + other);
    if (other == id) {
      refuse("job", "is this job itself");
    } else if (!named.insert(other).second) {
      refuse("job", fmt::format("is jobs/{}, which is named twice", other));
    } else {
      WF_ASSIGN_OR_RETURN(const bool exists, Exists(reader, other, created_along));
      if (!exists) {
        refuse("job", fmt::format("is jobs/{}, which does not exist; `wavefield jobs` shows those "
                                  "that do",
                                  other));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<InitialWeights>> ResolveInitFrom(
    StoreReader& reader, JobRecord& record, std::vector<FieldViolation>& violations) {
  std::string& name = *record.mutable_job()->mutable_spec()->mutable_init_from();
  std::optional<InitialWeights> weights;
  if (name.empty()) return weights;
  const auto refuse = [&](const std::string& description) {
    violations.push_back({"init_from", description});
    return weights;
  };
  const auto checkpoint = ResolveCheckpoint(reader, name);
  if (absl::IsNotFound(checkpoint.status()) || absl::IsInvalidArgument(checkpoint.status())) {
    return refuse(fmt::format("is '{}': {}", Shortened(name, 150),
                              Shortened(std::string(checkpoint.status().message()), 400)));
  }
  WF_RETURN_IF_ERROR(checkpoint.status());
  if (!checkpoint->damage().empty()) {
    return refuse(fmt::format("is {}, which is damaged: {}; take another one", checkpoint->name(),
                              Shortened(checkpoint->damage(), 300)));
  }
  WF_ASSIGN_OR_RETURN(const JobRecord source, reader.GetJob(JobOfCheckpoint(checkpoint->name())));
  name = checkpoint->name();
  record.set_init_from_directory(checkpoint->directory());
  weights =
      InitialWeights{checkpoint->name(), ModelConfigOf(source.job().spec().model(), ModelConfig())};
  return weights;
}

void CheckSameModel(const ModelConfig& model, const InitialWeights& weights,
                    std::vector<FieldViolation>& violations) {
  const nlohmann::json here = ToJson(model);
  const nlohmann::json there = ToJson(weights.model);
  for (const auto& [key, value] : here.items()) {
    if (value == there.at(key)) continue;
    violations.push_back(
        {"model." + key, fmt::format("is {}; {}, from which the job starts, has {}", value.dump(),
                                     weights.checkpoint, there.at(key).dump())});
  }
}

absl::Status CheckReferencesAgain(StoreReader& reader, const JobRecord& record) {
  for (const Dependency& dependency : record.job().spec().after()) {
    WF_ASSIGN_OR_RETURN(const bool exists, Exists(reader, IdIn(dependency.job()), {}));
    if (!exists) return Gone(dependency.job());
  }
  return CheckInitFromAgain(reader, record);
}

absl::Status CheckInitFromAgain(StoreReader& reader, const JobRecord& record) {
  const std::string& name = record.job().spec().init_from();
  if (name.empty()) return absl::OkStatus();
  const absl::Status source = reader.GetCheckpoint(name).status();
  return absl::IsNotFound(source) ? Gone(name) : source;
}

}  // namespace wavefield::coordinator
