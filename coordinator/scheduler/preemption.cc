#include "coordinator/scheduler/preemption.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace wavefield::coordinator {
namespace {

using HoldingJob = SchedulerSnapshot::HoldingJob;

// What a job lacks to start: slots, and room in each quota that binds it.
class Deficit {
 public:
  Deficit(const SchedulerSnapshot& snapshot, const SchedulerSnapshot::QueuedJob& job,
          const Capacity& capacity, const QuotaUse& quotas)
      : quotas_(quotas),
        held_(HoldersOf(snapshot, job)),
        slots_(job.world_size - capacity.For(job).free) {
    for (const QuotaUse::Bound& bound : quotas.BoundsOf(job.labels)) {
      shares_[bound.label] = quotas.Used(bound) + job.world_size - bound.limit;
    }
  }

  bool Covered() const {
    return slots_ <= 0 && std::all_of(shares_.begin(), shares_.end(),
                                      [](const auto& share) { return share.second <= 0; });
  }

  bool IsHelpedBy(const HoldingJob& holder) const {
    if (slots_ > 0 && SuitableSlots(holder) > 0) return true;
    for (const auto& bound : quotas_.BoundsOf(holder.labels)) {
      const auto share = shares_.find(bound.label);
      if (share != shares_.end() && share->second > 0) return true;
    }
    return false;
  }

  // The holder is gone (1), or is there again (−1).
  void Take(const HoldingJob& holder, int64_t sign) {
    slots_ -= sign * SuitableSlots(holder);
    for (const auto& bound : quotas_.BoundsOf(holder.labels)) {
      const auto share = shares_.find(bound.label);
      if (share != shares_.end()) share->second -= sign * holder.slots;
    }
  }

 private:
  int64_t SuitableSlots(const HoldingJob& holder) const {
    const auto found = held_.find("jobs/" + holder.id);
    return found == held_.end() ? 0 : found->second;
  }

  const QuotaUse& quotas_;
  const std::map<std::string, int64_t> held_;
  int64_t slots_;
  std::map<std::string, int64_t> shares_;  // by label
};

bool ComesBefore(const HoldingJob* a, const HoldingJob* b) {
  const auto order = [](const HoldingJob& job) {
    return std::make_tuple(std::floor(job.lost_work / 60), job.priority, job.lost_work, job.id);
  };
  return order(*a) < order(*b);
}

}  // namespace

std::optional<std::vector<std::string>> ChooseVictims(const SchedulerSnapshot& snapshot,
                                                      const SchedulerSnapshot::QueuedJob& job,
                                                      const Capacity& capacity,
                                                      const QuotaUse& quotas,
                                                      const std::set<std::string>& ending) {
  const int margin = snapshot.options.preemption_margin;
  Deficit deficit(snapshot, job, capacity, quotas);
  std::vector<const HoldingJob*> candidates;
  for (const HoldingJob& holder : snapshot.holding) {
    if (holder.ending || ending.contains(holder.id)) {
      deficit.Take(holder, 1);
    } else if (margin > 0 && int64_t{job.priority} - holder.priority >= margin) {
      candidates.push_back(&holder);
    }
  }
  std::sort(candidates.begin(), candidates.end(), ComesBefore);
  std::vector<const HoldingJob*> chosen;
  for (const HoldingJob* candidate : candidates) {
    if (deficit.Covered()) break;
    if (!deficit.IsHelpedBy(*candidate)) continue;
    deficit.Take(*candidate, 1);
    chosen.push_back(candidate);
  }
  if (!deficit.Covered()) return std::nullopt;
  // A later, larger gang may do without the ones before it: the dearest are spared first.
  for (size_t i = chosen.size(); i-- > 0;) {
    deficit.Take(*chosen[i], -1);
    if (deficit.Covered()) {
      chosen.erase(chosen.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      deficit.Take(*chosen[i], 1);
    }
  }
  std::vector<std::string> victims;
  for (const HoldingJob* victim : chosen) victims.push_back(victim->id);
  return victims;
}

}  // namespace wavefield::coordinator
