#include "coordinator/scheduler/quotas.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <set>

#include "coordinator/jobs/labels.h"

namespace wavefield::coordinator {
namespace {

constexpr int64_t kMostSlots = 1'000'000;

std::optional<Quota> ParseQuota(const std::string& text) {
  const size_t equals = text.find('=');
  const size_t colon = text.rfind(':');
  if (equals == std::string::npos || colon == std::string::npos || colon < equals) return {};
  Quota quota{text.substr(0, equals), text.substr(equals + 1, colon - equals - 1), -1};
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, quota.slots);
  const bool number = parsed.ec == std::errc() && parsed.ptr == end;
  if (!number || quota.slots < 0 || quota.slots > kMostSlots) return {};
  if (quota.key.empty() || !IsLabelText(quota.key)) return {};
  if (quota.value != "*" && (quota.value.empty() || !IsLabelText(quota.value))) return {};
  return quota;
}

// The quota for this value of the label, else the one for each value.
const Quota* Find(const std::vector<Quota>& quotas, const std::string& key,
                  const std::string& value) {
  const Quota* each = nullptr;
  for (const Quota& quota : quotas) {
    if (quota.key != key) continue;
    if (quota.value == value) return &quota;
    if (quota.value == "*") each = &quota;
  }
  return each;
}

}  // namespace

absl::StatusOr<std::vector<Quota>> ParseQuotas(const std::vector<std::string>& texts) {
  std::vector<Quota> quotas;
  std::set<std::pair<std::string, std::string>> seen;
  for (const std::string& text : texts) {
    const auto quota = ParseQuota(text);
    if (!quota) {
      return absl::InvalidArgumentError(
          fmt::format("--quota is '{}'; it must be KEY=VALUE:SLOTS, with a label's key and value "
                      "(or * for each "
                      "value) of 1 to 63 characters of [a-zA-Z0-9_.-], and 0 to {} slots",
                      text.substr(0, 200), kMostSlots));
    }
    if (!seen.emplace(quota->key, quota->value).second) {
      return absl::InvalidArgumentError(
          fmt::format("--quota is given twice for {}={}; give it once", quota->key, quota->value));
    }
    quotas.push_back(*quota);
  }
  return quotas;
}

QuotaUse::QuotaUse(const SchedulerSnapshot& snapshot) : quotas_(snapshot.options.quotas) {
  for (const SchedulerSnapshot::HoldingJob& job : snapshot.holding) Add(job.labels, job.slots);
}

std::vector<QuotaUse::Bound> QuotaUse::BoundsOf(const SchedulerSnapshot::Labels& labels) const {
  std::vector<Bound> bounds;
  if (quotas_.empty()) return bounds;
  for (const auto& [key, value] : labels) {
    if (const Quota* quota = Find(quotas_, key, value)) {
      bounds.push_back({key + "=" + value, quota->slots});
    }
  }
  return bounds;
}

int64_t QuotaUse::Used(const Bound& bound) const {
  const auto found = used_.find(bound.label);
  return found == used_.end() ? 0 : found->second;
}

void QuotaUse::Add(const SchedulerSnapshot::Labels& labels, int64_t slots) {
  for (const Bound& bound : BoundsOf(labels)) used_[bound.label] += slots;
}

}  // namespace wavefield::coordinator
