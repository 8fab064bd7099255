#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/store/records.pb.h"

namespace wavefield::coordinator {

// How a queued job stands with the jobs in its spec's `after`.
struct DependencyState {
  enum class Kind {
    kReady,    // nothing is left to wait for
    kWaiting,  // some have not ended yet
    kFailed,   // one ended in a way that this job does not allow
  };
  Kind kind = Kind::kReady;
  // Unless kReady, for people: how many it waits for and what they do, or which one failed and how.
  std::string message;
  // Names of those it waits for, or of the one that failed.
  std::vector<std::string> jobs;
};

// The job with this id ("a" of "jobs/a"); nothing: there is none.
using JobLookup = std::function<std::optional<wavefield::v1::Job>(const std::string& id)>;

// A job that was started once waits no more, whatever becomes of those before it. Pure.
DependencyState CheckDependencies(const JobRecord& record, const JobLookup& lookup);

// Whether the record still waits for the job of this name: that must not be deleted.
bool WaitsFor(const JobRecord& record, const std::string& job_name);

}  // namespace wavefield::coordinator
