#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/scheduler/snapshot.h"

namespace wavefield::coordinator {

// "KEY=VALUE:SLOTS" each. INVALID_ARGUMENT names the text and what is wrong with it.
absl::StatusOr<std::vector<Quota>> ParseQuotas(const std::vector<std::string>& texts);

// How much of each quota is in use while a plan is made.
class QuotaUse {
 public:
  // A quota as it binds a job.
  struct Bound {
    std::string label;  // "KEY=VALUE"
    int64_t limit = 0;
  };

  // With what the snapshot's jobs hold. The snapshot must outlive it.
  explicit QuotaUse(const SchedulerSnapshot& snapshot);

  std::vector<Bound> BoundsOf(const SchedulerSnapshot::Labels& labels) const;
  int64_t Used(const Bound& bound) const;
  void Add(const SchedulerSnapshot::Labels& labels, int64_t slots);

 private:
  const std::vector<Quota>& quotas_;
  std::map<std::string, int64_t> used_;  // by label
};

}  // namespace wavefield::coordinator
