#include "coordinator/admission/policies.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "coordinator/jobs/labels.h"
#include "coordinator/jobs/text.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxLabels = 64;
constexpr double kMaxHours = 1e6;

void CheckLabels(const wavefield::v1::JobSpec& spec, ViolationList& violations) {
  if (spec.labels_size() > kMaxLabels) {
    violations.Add("labels", fmt::format("has {} entries; at most {} are allowed",
                                         spec.labels_size(), kMaxLabels));
  }
  for (const auto& [key, value] : spec.labels()) {
    if (key.empty() || !IsLabelText(key) || !IsLabelText(value)) {
      violations.Add("labels",
                     fmt::format("has '{}': '{}'; keys and values are at most 63 characters of "
                                 "[a-zA-Z0-9_.-], keys not empty",
                                 Shortened(key, 70), Shortened(value, 70)));
    }
  }
}

}  // namespace

void CheckPolicies(wavefield::v1::JobSpec& spec, std::vector<FieldViolation>& violations) {
  auto& restart = *spec.mutable_restart();
  if (!restart.has_max_restarts()) restart.set_max_restarts(3);
  auto& checkpoint = *spec.mutable_checkpoint();
  if (!checkpoint.has_keep_every_steps()) checkpoint.set_keep_every_steps(0);
  if (!checkpoint.has_keep_every_hours()) checkpoint.set_keep_every_hours(0);
  if (!checkpoint.has_keep_best()) checkpoint.set_keep_best(0);
  ViolationList list;
  list.Range("restart.max_restarts", restart.max_restarts(), 0, 1000);
  list.Range<int64_t>("checkpoint.keep_every_steps", checkpoint.keep_every_steps(), 0,
                      int64_t{1} << 53);
  list.Range("checkpoint.keep_every_hours", checkpoint.keep_every_hours(), 0.0, kMaxHours);
  list.Range("checkpoint.keep_best", checkpoint.keep_best(), 0, 1000);
  list.Range("priority", spec.priority(), -1000, 1000);
  CheckLabels(spec, list);
  std::vector<FieldViolation> found = list.Take();
  std::move(found.begin(), found.end(), std::back_inserter(violations));
}

}  // namespace wavefield::coordinator
