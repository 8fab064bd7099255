#include "coordinator/explain/blockers.h"

#include <fmt/format.h>

#include <algorithm>

#include "coordinator/jobs/names.h"
#include "coordinator/jobs/text.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/scheduler/capacity.h"
#include "coordinator/scheduler/quotas.h"
#include "coordinator/scheduler/scheduler.h"

namespace wavefield::coordinator {
namespace {

using QueuedJob = SchedulerSnapshot::QueuedJob;
using Verdict = Decision::Verdict;
using wavefield::v1::Blocker;

constexpr size_t kMostHolders = 10;
constexpr size_t kMostResources = 20;
constexpr size_t kMostInSummary = 5;

// "3 slots are", "1 slot is".
std::string SlotsAre(int64_t count) { return SlotsText(count, "") + (count == 1 ? " is" : " are"); }

const SchedulerSnapshot::HoldingJob* FindHolder(const SchedulerSnapshot& snapshot,
                                                const std::string& id) {
  for (const SchedulerSnapshot::HoldingJob& job : snapshot.holding) {
    if (job.id == id) return &job;
  }
  return nullptr;
}

// The blockers of one job, in the order in which they are found.
class Explanation {
 public:
  Explanation(const SchedulerSnapshot& snapshot, const std::map<std::string, absl::Time>& starts,
              const Decision& decision)
      : snapshot_(snapshot), starts_(starts), decision_(decision), job_(*decision.job) {}

  std::vector<Blocker> Find() {
    switch (decision_.verdict) {
      case Verdict::kStarts:
        break;
      case Verdict::kTooFewSlots:
        FindMissingSlots();
        break;
      case Verdict::kWaitsForRanks:
        Add(Blocker::RANKS_STILL_RUNNING, job_.ranks_still_running,
            fmt::format("{} of its last attempt {} not ended yet",
                        job_.ranks_still_running == 1
                            ? std::string("1 rank")
                            : fmt::format("{} ranks", job_.ranks_still_running),
                        job_.ranks_still_running == 1 ? "has" : "have"));
        break;
      case Verdict::kWaitsForQuota:
        FindQuota();
        FindPreemption();
        break;
      case Verdict::kWaitsForTurn:
        FindEarlierJob();
        FindHolders();
        break;
      case Verdict::kWaitsForSlots:
        FindPreemption();
        FindHolders();
        FindAbsentHosts();
        break;
    }
    return std::move(blockers_);
  }

 private:
  Blocker& Add(Blocker::Kind kind, int64_t blocked, const std::string& message) {
    Blocker& blocker = blockers_.emplace_back();
    blocker.set_kind(kind);
    blocker.set_message(message);
    blocker.set_needed(job_.world_size);
    blocker.set_available(decision_.free);
    blocker.set_blocked(blocked);
    return blocker;
  }

  void FindMissingSlots() {
    int64_t offered = 0;
    int64_t suitable = decision_.total;
    int64_t small = 0;
    int64_t largest = 0;
    const auto count = [&](const SchedulerSnapshot::Host& host, bool absent) {
      if (host.device != job_.device) return;
      const auto slots = static_cast<int64_t>(host.slots.size());
      offered += slots;
      if (Suits(host, job_)) {
        if (absent) suitable += slots;
      } else {
        small += slots;
        largest = std::max(largest, host.memory_per_slot);
      }
    };
    for (const SchedulerSnapshot::Host& host : snapshot_.hosts) count(host, false);
    for (const auto& absent : snapshot_.absent) count(absent.host, true);
    const auto unfit = snapshot_.unfit.find(job_.device);
    if (offered == 0 && unfit == snapshot_.unfit.end()) {
      Add(Blocker::NO_WORKER, job_.world_size,
          fmt::format("no worker offers {} slots", job_.device))
          .set_available(0);
    }
    if (offered > 0 && suitable < job_.world_size) {
      Add(Blocker::TOO_FEW_SLOTS, job_.world_size - suitable,
          fmt::format("all workers together offer {}{}", SlotsText(suitable, job_.device),
                      small > 0 ? " that are large enough" : ""))
          .set_available(suitable);
    }
    if (small > 0) {
      Blocker& blocker =
          Add(Blocker::TOO_LITTLE_MEMORY, small,
              fmt::format("{} too small: a rank needs {}, the largest of them has {}",
                          SlotsAre(small), Gib(job_.memory), Gib(largest)));
      blocker.set_needed(job_.memory);
      blocker.set_available(largest);
    }
    if (unfit != snapshot_.unfit.end()) {
      Add(Blocker::DEVICE_UNFIT, 1, unfit->second).set_available(decision_.total);
    }
    FindAbsentHosts();
  }

  void FindAbsentHosts() {
    for (const SchedulerSnapshot::AbsentHost& absent : snapshot_.absent) {
      if (!Suits(absent.host, job_)) continue;
      const auto slots = static_cast<int64_t>(absent.host.slots.size());
      std::string message = fmt::format("{} on {}", SlotsAre(slots), PlaceOf(absent));
      if (!absent.note.empty()) message += fmt::format(" ({})", absent.note);
      Add(KindOf(absent.why), slots, message).add_resources("workers/" + absent.host.worker);
    }
  }

  static Blocker::Kind KindOf(SchedulerSnapshot::Absence why) {
    switch (why) {
      case SchedulerSnapshot::Absence::kCordoned:
      case SchedulerSnapshot::Absence::kDraining:
        return Blocker::WORKER_CORDONED;
      case SchedulerSnapshot::Absence::kEnding:
        return Blocker::WORKER_ENDING;
      case SchedulerSnapshot::Absence::kLost:
        break;
    }
    return Blocker::WORKER_LOST;
  }

  void FindQuota() {
    const int64_t left = std::max<int64_t>(0, decision_.quota_limit - decision_.quota_used);
    Blocker& blocker = Add(
        Blocker::QUOTA, decision_.quota_used,
        fmt::format("jobs with {} may hold {} together and hold {}{}", decision_.quota,
                    SlotsText(decision_.quota_limit, ""), decision_.quota_used,
                    job_.world_size > decision_.quota_limit
                        ? fmt::format("; {} never fit in: change the job's labels, its world_size "
                                      "or the coordinator's --quota",
                                      job_.world_size)
                        : ""));
    blocker.set_available(left);
    const size_t equals = decision_.quota.find('=');
    for (const SchedulerSnapshot::HoldingJob& holder : snapshot_.holding) {
      const auto label = holder.labels.find(decision_.quota.substr(0, equals));
      if (label == holder.labels.end() || label->second != decision_.quota.substr(equals + 1)) {
        continue;
      }
      if (static_cast<size_t>(blocker.resources_size()) < kMostResources) {
        blocker.add_resources("jobs/" + holder.id);
      }
    }
    if (const auto start = starts_.find(job_.id); start != starts_.end()) {
      *blocker.mutable_expected_end() = ToTimestamp(start->second);
    }
  }

  void FindEarlierJob() {
    std::string message = fmt::format("its turn comes after jobs/{}", decision_.after);
    const auto start = starts_.find(decision_.after);
    if (start != starts_.end()) {
      message +=
          fmt::format(", which should start about {}", ShortTime(start->second, snapshot_.now));
    }
    int64_t slots = 0;
    for (const QueuedJob& other : snapshot_.queue) {
      if (other.id == decision_.after) slots = other.world_size;
    }
    Blocker& blocker = Add(Blocker::EARLIER_JOB, slots, message);
    blocker.add_resources("jobs/" + decision_.after);
    if (start != starts_.end()) *blocker.mutable_expected_end() = ToTimestamp(start->second);
  }

  void FindPreemption() {
    int64_t slots = 0;
    std::string names;
    std::vector<std::string> resources;
    std::vector<std::string> ids = job_.preempts;
    ids.insert(ids.end(), decision_.victims.begin(), decision_.victims.end());
    for (const std::string& id : ids) {
      const SchedulerSnapshot::HoldingJob* holder = FindHolder(snapshot_, id);
      if (holder == nullptr) continue;
      slots += holder->slots;
      names += fmt::format("{}jobs/{}", names.empty() ? "" : ", ", id);
      resources.push_back("jobs/" + id);
    }
    if (resources.empty()) return;
    Blocker& blocker = Add(Blocker::PREEMPTION_UNDER_WAY, slots,
                           fmt::format("{} write{} checkpoints and make{} room for it: {}", names,
                                       resources.size() == 1 ? "s" : "",
                                       resources.size() == 1 ? "s" : "", SlotsText(slots, "")));
    blocker.mutable_resources()->Assign(resources.begin(), resources.end());
  }

  // Those that make room are told of already.
  bool MakesRoom(const std::string& id) const {
    const auto among = [&](const std::vector<std::string>& ids) {
      return std::find(ids.begin(), ids.end(), id) != ids.end();
    };
    return among(job_.preempts) || among(decision_.victims);
  }

  void FindHolders() {
    std::vector<std::pair<int64_t, std::string>> holders;
    for (const auto& [holder, count] : HoldersOf(snapshot_, job_)) {
      const bool is_job = holder.rfind("jobs/", 0) == 0;
      if (!is_job || !MakesRoom(holder.substr(5))) holders.emplace_back(-count, holder);
    }
    std::sort(holders.begin(), holders.end());
    int64_t rest = 0;
    for (size_t i = 0; i < holders.size(); ++i) {
      if (i >= kMostHolders) {
        rest -= holders[i].first;
      } else {
        AddHolder(holders[i].second, -holders[i].first);
      }
    }
    if (rest > 0) {
      Add(Blocker::SLOTS_HELD, rest,
          fmt::format("{} others hold {}", holders.size() - kMostHolders, SlotsText(rest, "")));
    }
  }

  void AddHolder(const std::string& holder, int64_t slots) {
    std::string message = fmt::format("{} holds {}", holder, SlotsText(slots, ""));
    if (holder.rfind("another process", 0) == 0) {
      Add(Blocker::DEVICE_UNFIT, slots, message)
          .add_resources(holder.substr(holder.find("workers/")));
      return;
    }
    if (holder.rfind("jobs/", 0) != 0) {
      Add(holder.rfind("a job", 0) == 0 ? Blocker::SLOTS_HELD : Blocker::SLOTS_HELD_BY_INFERENCE,
          slots, message);
      return;
    }
    const SchedulerSnapshot::HoldingJob* job = FindHolder(snapshot_, holder.substr(5));
    const bool known = job != nullptr && job->expected_end.has_value();
    message += known ? fmt::format(" and should end about {}",
                                   ShortTime(*job->expected_end, snapshot_.now))
                     : "; when it ends cannot be told";
    Blocker& blocker = Add(Blocker::SLOTS_HELD, slots, message);
    blocker.add_resources(holder);
    if (known) *blocker.mutable_expected_end() = ToTimestamp(*job->expected_end);
  }

  const SchedulerSnapshot& snapshot_;
  const std::map<std::string, absl::Time>& starts_;
  const Decision& decision_;
  const QueuedJob& job_;
  std::vector<Blocker> blockers_;
};

}  // namespace

std::string ShortTime(absl::Time time, absl::Time now) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const bool today = absl::ToCivilDay(time, utc) == absl::ToCivilDay(now, utc);
  return absl::FormatTime(today ? "%H:%M UTC" : "%b %e %H:%M UTC", time, utc);
}

std::vector<Blocker> BlockersOf(const SchedulerSnapshot& snapshot,
                                const std::map<std::string, absl::Time>& starts,
                                const Decision& decision) {
  return Explanation(snapshot, starts, decision).Find();
}

Blocker BlockerOfDependencies(const DependencyState& state, int total,
                              std::optional<absl::Time> expected_end) {
  Blocker blocker;
  blocker.set_kind(Blocker::DEPENDENCY);
  blocker.set_message(state.message);
  const auto waiting = static_cast<int64_t>(state.jobs.size());
  blocker.set_needed(total);
  blocker.set_available(total - waiting);
  blocker.set_blocked(waiting);
  for (const std::string& name : state.jobs) blocker.add_resources(name);
  if (expected_end) *blocker.mutable_expected_end() = ToTimestamp(*expected_end);
  return blocker;
}

Blocker BlockerOfPause(const wavefield::v1::Job& job) {
  Blocker blocker;
  blocker.set_kind(Blocker::PAUSED);
  blocker.set_message(
      fmt::format("it is paused until somebody resumes it: wavefield resume {}", IdIn(job.name())));
  blocker.set_needed(job.spec().resources().world_size());
  blocker.add_resources(job.name());
  return blocker;
}

std::string SummaryOf(const Decision& decision, const std::vector<Blocker>& blockers) {
  std::string text =
      fmt::format("{}, {} of {} free", NeedOf(*decision.job), decision.free, decision.total);
  for (size_t i = 0; i < blockers.size() && i < kMostInSummary; ++i) {
    text += "; " + blockers[i].message();
  }
  return text;
}

}  // namespace wavefield::coordinator
