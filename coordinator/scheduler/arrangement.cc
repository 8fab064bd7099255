#include "coordinator/scheduler/arrangement.h"

#include <algorithm>
#include <map>
#include <set>

#include "coordinator/scheduler/capacity.h"
#include "coordinator/scheduler/preemption.h"
#include "coordinator/scheduler/quotas.h"

namespace wavefield::coordinator {
namespace {

using Verdict = Decision::Verdict;

class Arranger {
 public:
  explicit Arranger(const SchedulerSnapshot& snapshot)
      : snapshot_(snapshot), capacity_(snapshot), quotas_(snapshot) {}

  void Decide(Decision& decision) {
    const SchedulerSnapshot::QueuedJob& job = *decision.job;
    const Capacity::Count count = capacity_.For(job);
    decision.total = count.total;
    decision.free = count.free;
    const auto bounds = quotas_.BoundsOf(job.labels);
    if (job.ranks_still_running > 0) {
      decision.verdict = Verdict::kWaitsForRanks;
      lines_.try_emplace(job.device, job.id);
      quotas_.Add(job.labels, job.world_size - job.ranks_still_running);
    } else if (count.total < job.world_size) {
      decision.verdict = Verdict::kTooFewSlots;
    } else if (const auto* narrow = TooNarrow(bounds, job)) {
      SetQuota(decision, *narrow);
    } else if (const std::string* head = HeadOf(job, bounds)) {
      decision.verdict = Verdict::kWaitsForTurn;
      decision.after = *head;
    } else if (const auto* full = Full(bounds, job)) {
      SetQuota(decision, *full);
      for (const Bound& bound : bounds) {
        if (IsFull(bound, job)) quota_lines_.emplace(bound.label, job.id);
      }
      // What is free, and will be, is kept for one that starts when others have ended.
      if (Preempt(decision)) lines_.try_emplace(job.device, job.id);
    } else if (count.free < job.world_size) {
      decision.verdict = Verdict::kWaitsForSlots;
      lines_.emplace(job.device, job.id);
      Preempt(decision);
      quotas_.Add(job.labels, job.world_size);
    } else {
      decision.verdict = Verdict::kStarts;
      decision.ranks = capacity_.Take(job);
      quotas_.Add(job.labels, job.world_size);
    }
  }

 private:
  using Bound = QuotaUse::Bound;

  // A quota that the job will never fit into.
  const Bound* TooNarrow(const std::vector<Bound>& bounds,
                         const SchedulerSnapshot::QueuedJob& job) const {
    for (const Bound& bound : bounds) {
      if (bound.limit < job.world_size) return &bound;
    }
    return nullptr;
  }

  bool IsFull(const Bound& bound, const SchedulerSnapshot::QueuedJob& job) const {
    return quotas_.Used(bound) + job.world_size > bound.limit;
  }

  const Bound* Full(const std::vector<Bound>& bounds,
                    const SchedulerSnapshot::QueuedJob& job) const {
    for (const Bound& bound : bounds) {
      if (IsFull(bound, job)) return &bound;
    }
    return nullptr;
  }

  // The job that comes before this one in one of its lines.
  const std::string* HeadOf(const SchedulerSnapshot::QueuedJob& job,
                            const std::vector<Bound>& bounds) const {
    for (const Bound& bound : bounds) {
      if (const auto line = quota_lines_.find(bound.label); line != quota_lines_.end()) {
        return &line->second;
      }
    }
    const auto line = lines_.find(job.device);
    return line == lines_.end() ? nullptr : &line->second;
  }

  void SetQuota(Decision& decision, const Bound& bound) const {
    decision.verdict = Verdict::kWaitsForQuota;
    decision.quota = bound.label;
    decision.quota_limit = bound.limit;
    decision.quota_used = quotas_.Used(bound);
  }

  // True if the job can start when these, and those that end by themselves, have ended.
  bool Preempt(Decision& decision) {
    auto victims = ChooseVictims(snapshot_, *decision.job, capacity_, quotas_, victims_);
    if (!victims) return false;
    decision.victims = *std::move(victims);
    victims_.insert(decision.victims.begin(), decision.victims.end());
    return true;
  }

  const SchedulerSnapshot& snapshot_;
  Capacity capacity_;
  QuotaUse quotas_;
  std::map<std::string, std::string> lines_;        // device → the job at the head of its line
  std::map<std::string, std::string> quota_lines_;  // label → the same
  std::set<std::string> victims_;
};

// By effective priority and age; but nobody comes before a job that would take its slots.
class Order {
 public:
  explicit Order(const SchedulerSnapshot& snapshot)
      : margin_(snapshot.options.preemption_margin), placed_(snapshot.queue.size()) {
    for (const SchedulerSnapshot::QueuedJob& job : snapshot.queue) {
      sorted_.push_back({&job, EffectivePriority(snapshot, job)});
    }
    std::sort(sorted_.begin(), sorted_.end(), ComesBefore);
  }

  std::vector<Decision> Take() {
    for (size_t i = 0; i < sorted_.size(); ++i) Place(i);
    return std::move(ordered_);
  }

 private:
  static bool ComesBefore(const Decision& a, const Decision& b) {
    if (a.job->preempts.empty() != b.job->preempts.empty()) return b.job->preempts.empty();
    if (a.effective_priority != b.effective_priority) {
      return a.effective_priority > b.effective_priority;
    }
    return a.job->age != b.job->age ? a.job->age < b.job->age : a.job->id < b.job->id;
  }

  void Place(size_t index) {
    if (placed_[index]) return;
    placed_[index] = true;
    const SchedulerSnapshot::QueuedJob& job = *sorted_[index].job;
    for (size_t i = index + 1; margin_ > 0 && i < sorted_.size(); ++i) {
      if (int64_t{sorted_[i].job->priority} - job.priority >= margin_) Place(i);
    }
    ordered_.push_back(std::move(sorted_[index]));
  }

  const int margin_;
  std::vector<Decision> sorted_;
  std::vector<bool> placed_;
  std::vector<Decision> ordered_;
};

}  // namespace

double EffectivePriority(const SchedulerSnapshot& snapshot,
                         const SchedulerSnapshot::QueuedJob& job) {
  const absl::Duration waited =
      std::max(absl::ZeroDuration(), snapshot.now - std::min(snapshot.now, job.queue_time));
  return job.priority + std::min(kMostAging, snapshot.options.aging * absl::ToDoubleHours(waited));
}

std::vector<Decision> Arrange(const SchedulerSnapshot& snapshot) {
  std::vector<Decision> decisions = Order(snapshot).Take();
  Arranger arranger(snapshot);
  for (Decision& decision : decisions) arranger.Decide(decision);
  return decisions;
}

}  // namespace wavefield::coordinator
