#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/store.h"
#include "core/model/config/field_violation.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield::coordinator {

// What a job is judged by, beside the store.
struct AdmissionFacts {
  std::vector<wavefield::v1::Worker> workers;  // all that were ever seen
  std::filesystem::path storage_root;
  std::set<std::string> created_along;  // ids of jobs that will be there when this one is
};

// The job as it would be created: queued, every default filled in, its preset spelled out, its name
// set if the request has one. INVALID_ARGUMENT with every violation as BadRequest details.
absl::StatusOr<JobRecord> AdmitJob(const wavefield::v1::CreateJobRequest& request,
                                   StoreReader& reader, const AdmissionFacts& facts,
                                   absl::Time now);

// All of them in one status; as many as fit the wire, the rest counted.
absl::Status ViolationsToStatus(const std::vector<FieldViolation>& violations);

// What is wrong with a dataset's files, or OK: present, with the sizes they were catalogued with.
absl::Status CheckDatasetFiles(const DatasetRecord& record,
                               const std::filesystem::path& storage_root);

}  // namespace wavefield::coordinator
