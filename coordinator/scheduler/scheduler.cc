#include "coordinator/scheduler/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace wavefield::coordinator {
namespace {

using Snapshot = SchedulerSnapshot;
using wavefield::v1::JOB_REASON_RESTARTING;
using wavefield::v1::JOB_REASON_WAITING_FOR_SLOTS;
using wavefield::v1::JOB_REASON_WAITING_FOR_WORKERS;

std::string Slots(int64_t count, const std::string& device) {
  return fmt::format("{} {} slot{}", count, device, count == 1 ? "" : "s");
}

// What is left of the hosts while a plan is made.
struct Capacity {
  const Snapshot::Host* host;
  std::vector<int32_t> free;
};

bool Suits(const Snapshot::Host& host, const Snapshot::QueuedJob& job) {
  return host.device == job.device &&
         (host.memory_per_slot == 0 || host.memory_per_slot >= job.memory);
}

// "jobs/a holds 2, an evaluation holds 1", the largest first.
std::string Holders(const std::vector<Capacity>& capacities, const Snapshot::QueuedJob& job,
                    const std::map<std::string, int>& started) {
  std::map<std::string, int> held = started;
  for (const Capacity& capacity : capacities) {
    if (!Suits(*capacity.host, job)) continue;
    for (const Snapshot::Slot& slot : capacity.host->slots) {
      if (!slot.holder.empty()) ++held[slot.holder];
    }
  }
  std::vector<std::pair<int, std::string>> ordered;
  for (const auto& [holder, count] : held) ordered.emplace_back(-count, holder);
  std::sort(ordered.begin(), ordered.end());
  std::string text;
  for (size_t i = 0; i < ordered.size() && i < 3; ++i) {
    text +=
        fmt::format("{}{} holds {}", i == 0 ? "; " : ", ", ordered[i].second, -ordered[i].first);
  }
  if (ordered.size() > 3) text += fmt::format(", {} more", ordered.size() - 3);
  return text;
}

// As few workers as can be: the smallest one that takes all, else the largest first.
std::vector<std::pair<std::string, int32_t>> Take(std::vector<Capacity>& capacities,
                                                  const Snapshot::QueuedJob& job) {
  std::vector<std::pair<std::string, int32_t>> ranks;
  size_t needed = static_cast<size_t>(job.world_size);
  while (needed > 0) {
    Capacity* best = nullptr;
    for (Capacity& capacity : capacities) {
      if (capacity.free.empty() || !Suits(*capacity.host, job)) continue;
      const size_t have = capacity.free.size();
      const size_t best_have = best == nullptr ? 0 : best->free.size();
      const bool better =
          have >= needed ? best_have < needed || have < best_have : have > best_have;
      if (better) best = &capacity;
    }
    const size_t count = std::min(needed, best->free.size());
    for (size_t i = 0; i < count; ++i) ranks.emplace_back(best->host->worker, best->free[i]);
    best->free.erase(best->free.begin(), best->free.begin() + static_cast<std::ptrdiff_t>(count));
    needed -= count;
  }
  return ranks;
}

}  // namespace

SchedulerPlan Schedule(const SchedulerSnapshot& snapshot) {
  std::vector<Capacity> capacities;
  for (const Snapshot::Host& host : snapshot.hosts) {
    Capacity& capacity = capacities.emplace_back(Capacity{&host, {}});
    for (const Snapshot::Slot& slot : host.slots) {
      if (slot.holder.empty()) capacity.free.push_back(slot.index);
    }
  }
  std::vector<const Snapshot::QueuedJob*> queue;
  for (const Snapshot::QueuedJob& job : snapshot.queue) queue.push_back(&job);
  std::sort(queue.begin(), queue.end(), [](const auto* a, const auto* b) {
    return a->priority != b->priority ? a->priority > b->priority : a->age < b->age;
  });

  SchedulerPlan plan;
  std::map<std::string, std::string> blocked_by;  // device → job at the head of its line
  std::map<std::string, int> started;
  for (const Snapshot::QueuedJob* job : queue) {
    int64_t total = 0;
    int64_t free = 0;
    for (const Capacity& capacity : capacities) {
      if (!Suits(*capacity.host, *job)) continue;
      total += static_cast<int64_t>(capacity.host->slots.size());
      free += static_cast<int64_t>(capacity.free.size());
    }
    const std::string needs = "needs " + Slots(job->world_size, job->device);
    if (job->ranks_still_running > 0) {
      blocked_by.try_emplace(job->device, job->id);
      plan.waits.push_back(
          {job->id, JOB_REASON_RESTARTING,
           fmt::format("restarts when {} rank{} of its last attempt {} ended",
                       job->ranks_still_running, job->ranks_still_running == 1 ? "" : "s",
                       job->ranks_still_running == 1 ? "has" : "have")});
    } else if (total < job->world_size) {
      const auto unfit = snapshot.unfit.find(job->device);
      const std::string have =
          total > 0 ? fmt::format("the cluster has {}", Slots(total, job->device))
          : unfit == snapshot.unfit.end()
              ? fmt::format("no worker offers {}", job->device)
              : fmt::format("no worker offers {} ({})", job->device, unfit->second);
      plan.waits.push_back(
          {job->id, JOB_REASON_WAITING_FOR_WORKERS,
           fmt::format("{}; {}{}", needs, have,
                       job->memory > 0 ? fmt::format(" with {:.1f} GiB or more",
                                                     static_cast<double>(job->memory) / (1 << 30))
                                       : "")});
    } else if (const auto head = blocked_by.find(job->device); head != blocked_by.end()) {
      plan.waits.push_back({job->id, JOB_REASON_WAITING_FOR_SLOTS,
                            fmt::format("{}, {} of {} free; its turn comes after jobs/{}", needs,
                                        free, total, head->second)});
    } else if (free < job->world_size) {
      blocked_by.emplace(job->device, job->id);
      plan.waits.push_back({job->id, JOB_REASON_WAITING_FOR_SLOTS,
                            fmt::format("{}, {} of {} free{}", needs, free, total,
                                        Holders(capacities, *job, started))});
    } else {
      plan.starts.push_back({job->id, Take(capacities, *job)});
      started["jobs/" + job->id] += job->world_size;
    }
  }
  return plan;
}

}  // namespace wavefield::coordinator
