#include "coordinator/scheduler/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "coordinator/jobs/text.h"
#include "coordinator/scheduler/capacity.h"

namespace wavefield::coordinator {
namespace {

using QueuedJob = SchedulerSnapshot::QueuedJob;
using Verdict = Decision::Verdict;
using wavefield::v1::JobReason;

// Who holds the slots that suit a job, as "; jobs/a holds 2, an evaluation holds 1", the largest
// first.
std::string Holders(std::map<std::string, int64_t> held, const Decision& decision,
                    const std::map<std::string, int64_t>& started) {
  for (const auto& [holder, count] : started) held[holder] += count;
  std::vector<std::pair<int64_t, std::string>> ordered;
  for (const auto& [holder, count] : held) ordered.emplace_back(-count, holder);
  std::sort(ordered.begin(), ordered.end());
  std::string text;
  for (size_t i = 0; i < ordered.size() && i < 3; ++i) {
    text +=
        fmt::format("{}{} holds {}", i == 0 ? "; " : ", ", ordered[i].second, -ordered[i].first);
  }
  if (ordered.size() > 3) text += fmt::format(", {} more", ordered.size() - 3);
  if (!decision.job->preempts.empty() || !decision.victims.empty()) {
    text += "; jobs of lower priority make room for it";
  }
  return text;
}

std::string TooFewSlots(const SchedulerSnapshot& snapshot, const Decision& decision) {
  const QueuedJob& job = *decision.job;
  const auto unfit = snapshot.unfit.find(job.device);
  std::string text = decision.total > 0
                         ? fmt::format("the cluster has {}", SlotsText(decision.total, job.device))
                     : unfit == snapshot.unfit.end()
                         ? fmt::format("no worker offers {}", job.device)
                         : fmt::format("no worker offers {} ({})", job.device, unfit->second);
  const bool some_are_small =
      std::any_of(snapshot.hosts.begin(), snapshot.hosts.end(),
                  [&](const auto& host) { return host.device == job.device && !Suits(host, job); });
  if (some_are_small) {
    text += fmt::format(" with {} or more", Gib(job.memory));
  }
  for (const SchedulerSnapshot::AbsentHost& absent : snapshot.absent) {
    if (text.size() > 500) break;
    if (!Suits(absent.host, job)) continue;
    text += fmt::format("; {} on {}", absent.host.slots.size(), PlaceOf(absent));
  }
  return text;
}

SchedulerPlan::Wait WaitOf(const SchedulerSnapshot& snapshot, const Decision& decision,
                           const std::map<std::string, int64_t>& started) {
  const QueuedJob& job = *decision.job;
  const std::string need = NeedOf(job);
  const auto wait = [&](JobReason reason, const std::string& message) {
    return SchedulerPlan::Wait{job.id, reason, message};
  };
  switch (decision.verdict) {
    case Verdict::kWaitsForRanks: {
      const bool one = job.ranks_still_running == 1;
      return wait(wavefield::v1::JOB_REASON_RESTARTING,
                  fmt::format("restarts when {} rank{} of its last attempt {} ended",
                              job.ranks_still_running, one ? "" : "s", one ? "has" : "have"));
    }
    case Verdict::kTooFewSlots:
      return wait(wavefield::v1::JOB_REASON_WAITING_FOR_WORKERS,
                  fmt::format("{}; {}", need, TooFewSlots(snapshot, decision)));
    case Verdict::kWaitsForQuota:
      return wait(
          wavefield::v1::JOB_REASON_WAITING_FOR_QUOTA,
          fmt::format("{}; jobs with {} hold {} of the {} that they may hold together{}", need,
                      decision.quota, decision.quota_used, SlotsText(decision.quota_limit, ""),
                      job.world_size > decision.quota_limit ? ": it will never start" : ""));
    case Verdict::kWaitsForTurn:
      return wait(wavefield::v1::JOB_REASON_WAITING_FOR_TURN,
                  fmt::format("{}, {} of {} free; its turn comes after jobs/{}", need,
                              decision.free, decision.total, decision.after));
    case Verdict::kStarts:
    case Verdict::kWaitsForSlots:
      break;
  }
  return wait(wavefield::v1::JOB_REASON_WAITING_FOR_SLOTS,
              fmt::format("{}, {} of {} free{}", need, decision.free, decision.total,
                          Holders(HoldersOf(snapshot, job), decision, started)));
}

}  // namespace

std::string SlotsText(int64_t count, const std::string& device) {
  return fmt::format("{} {}{}slot{}", count, device, device.empty() ? "" : " ",
                     count == 1 ? "" : "s");
}

std::string NeedOf(const QueuedJob& job) {
  return "needs " + SlotsText(job.world_size, job.device);
}

std::string PlaceOf(const SchedulerSnapshot::AbsentHost& absent) {
  const std::string worker = "workers/" + absent.host.worker;
  switch (absent.why) {
    case SchedulerSnapshot::Absence::kCordoned:
      return "the cordoned " + worker;
    case SchedulerSnapshot::Absence::kDraining:
      return "the drained " + worker;
    case SchedulerSnapshot::Absence::kEnding:
      return worker + ", which is about to end";
    case SchedulerSnapshot::Absence::kLost:
      break;
  }
  return "the lost " + worker;
}

SchedulerPlan Schedule(const SchedulerSnapshot& snapshot) {
  SchedulerPlan plan;
  std::map<std::string, std::map<std::string, int64_t>> started;  // by device
  for (Decision& decision : Arrange(snapshot)) {
    const QueuedJob& job = *decision.job;
    if (!decision.victims.empty()) {
      plan.preemptions.push_back({job.id, decision.victims});
    }
    if (decision.verdict == Verdict::kStarts) {
      plan.starts.push_back({job.id, std::move(decision.ranks)});
      started[job.device]["jobs/" + job.id] += job.world_size;
    } else {
      plan.waits.push_back(WaitOf(snapshot, decision, started[job.device]));
    }
  }
  return plan;
}

}  // namespace wavefield::coordinator
