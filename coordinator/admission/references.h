#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/store/store.h"
#include "core/model/config/field_violation.h"
#include "core/model/config/model_config.h"

namespace wavefield::coordinator {

// The other jobs that a spec speaks of.

// Checks the spec's `after` and fills in its defaults. `id`: the job's own, empty if it has none
// yet. `created_along`: jobs that will be there together with this one.
absl::Status CheckAfter(StoreReader& reader, const std::string& id,
                        const std::set<std::string>& created_along, wavefield::v1::JobSpec& spec,
                        std::vector<FieldViolation>& violations);

// The weights that a job starts from.
struct InitialWeights {
  std::string checkpoint;  // name
  ModelConfig model;
};
// Resolves the spec's `init_from`, by which the record then names one checkpoint; nothing: there is
// none, or it is in the violations.
absl::StatusOr<std::optional<InitialWeights>> ResolveInitFrom(
    StoreReader& reader, JobRecord& record, std::vector<FieldViolation>& violations);

// One violation for each field of `model` that is another in the weights.
void CheckSameModel(const ModelConfig& model, const InitialWeights& weights,
                    std::vector<FieldViolation>& violations);

// Whether all that an admitted job refers to is there still. FAILED_PRECONDITION names what is not.
absl::Status CheckReferencesAgain(StoreReader& reader, const JobRecord& record);
// The same of its `init_from` alone.
absl::Status CheckInitFromAgain(StoreReader& reader, const JobRecord& record);

}  // namespace wavefield::coordinator
