#include "coordinator/scheduler/forecast.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/scheduler/arrangement.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Job;

// What a job takes at most that writes its checkpoint and ends, or whose ranks are being ended.
constexpr absl::Duration kEnding = absl::Minutes(1);
// No forecast goes further.
constexpr absl::Duration kTooFar = absl::Hours(24 * 365 * 10);

// Of "jobs/x/checkpoints/120-3"; 0 if there is none.
int64_t StepOfCheckpoint(const std::string& name) {
  int64_t step = 0;
  const size_t begin = name.rfind('/') + 1;
  std::from_chars(name.data() + begin, name.data() + name.size(), step);
  return step;
}

// The snapshot as it changes while time passes.
class Simulation {
 public:
  explicit Simulation(SchedulerSnapshot snapshot) : state_(std::move(snapshot)) {
    KeepFirst();
    for (SchedulerSnapshot::HoldingJob& job : state_.holding) {
      if (job.ending && !job.expected_end) job.expected_end = state_.now + kEnding;
    }
  }

  std::map<std::string, absl::Time> Run() {
    while (true) {
      StartJobs();
      const absl::Time next = NextEnd();
      if (state_.queue.empty() || next == absl::InfiniteFuture()) return std::move(starts_);
      state_.now = std::max(state_.now, next);
      EndJobs();
    }
  }

 private:
  void KeepFirst() {
    if (state_.queue.size() <= kMostForecasts) return;
    std::set<std::string> kept;
    const auto decisions = Arrange(state_);
    for (size_t i = 0; i < kMostForecasts; ++i) kept.insert(decisions[i].job->id);
    std::erase_if(state_.queue, [&](const auto& job) { return !kept.contains(job.id); });
  }

  void StartJobs() {
    std::set<std::string> started;
    std::vector<SchedulerSnapshot::HoldingJob> holding;
    std::map<SlotOfRank, std::string> held;
    for (const Decision& decision : Arrange(state_)) {
      const SchedulerSnapshot::QueuedJob& job = *decision.job;
      for (const std::string& victim : decision.victims) Preempt(victim);
      if (decision.verdict != Decision::Verdict::kStarts) continue;
      starts_[job.id] = state_.now;
      started.insert(job.id);
      SchedulerSnapshot::HoldingJob& holder = holding.emplace_back();
      holder.id = job.id;
      holder.priority = job.priority;
      holder.slots = job.world_size;
      holder.labels = job.labels;
      if (job.expected_run) holder.expected_end = state_.now + *job.expected_run;
      for (const SlotOfRank& slot : decision.ranks) held[slot] = "jobs/" + job.id;
    }
    std::erase_if(state_.queue, [&](const auto& job) { return started.contains(job.id); });
    for (SchedulerSnapshot::Host& host : state_.hosts) {
      for (SchedulerSnapshot::Slot& slot : host.slots) {
        if (const auto holder = held.find({host.worker, slot.index}); holder != held.end()) {
          slot.holder = holder->second;
        }
      }
    }
    state_.holding.insert(state_.holding.end(), holding.begin(), holding.end());
  }

  void Preempt(const std::string& victim) {
    for (SchedulerSnapshot::HoldingJob& job : state_.holding) {
      if (job.id != victim) continue;
      job.ending = true;
      job.expected_end =
          std::min(job.expected_end.value_or(absl::InfiniteFuture()), state_.now + kEnding);
    }
  }

  absl::Time NextEnd() const {
    absl::Time next = absl::InfiniteFuture();
    for (const SchedulerSnapshot::HoldingJob& job : state_.holding) {
      next = std::min(next, job.expected_end.value_or(absl::InfiniteFuture()));
    }
    return next;
  }

  void EndJobs() {
    std::set<std::string> ended;
    std::erase_if(state_.holding, [&](const auto& job) {
      const bool over = job.expected_end && *job.expected_end <= state_.now;
      if (over) ended.insert(job.id);
      return over;
    });
    for (SchedulerSnapshot::Host& host : state_.hosts) {
      for (SchedulerSnapshot::Slot& slot : host.slots) {
        if (slot.holder.rfind("jobs/", 0) == 0 && ended.contains(slot.holder.substr(5))) {
          slot.holder.clear();
        }
      }
    }
    for (SchedulerSnapshot::QueuedJob& job : state_.queue) {
      if (ended.contains(job.id)) job.ranks_still_running = 0;
    }
  }

  SchedulerSnapshot state_;
  std::map<std::string, absl::Time> starts_;
};

}  // namespace

std::optional<absl::Duration> ExpectedRun(const JobRecord& record) {
  const Job& job = record.job();
  const auto& step = job.last_step();
  std::optional<absl::Duration> run;
  if (job.max_steps() > 0 && step.step_seconds() > 0) {
    const auto steps = static_cast<double>(std::max<int64_t>(0, job.max_steps() - step.step()));
    run = absl::Seconds(steps * step.step_seconds());
  }
  if (const double minutes = job.spec().training().max_minutes(); minutes > 0) {
    const absl::Duration left = absl::Seconds(std::max(0.0, 60 * minutes - step.trained_seconds()));
    run = std::min(run.value_or(absl::InfiniteDuration()), left);
  }
  if (run && *run > kTooFar) return std::nullopt;
  return run;
}

std::optional<absl::Time> ExpectedEnd(const JobRecord& record, absl::Time now) {
  const Job& job = record.job();
  if (!HasAttempt(job.state())) return std::nullopt;
  if (job.state() == wavefield::v1::JOB_STATE_STOPPING) return now + kEnding;
  const auto run = ExpectedRun(record);
  if (!run) return std::nullopt;
  const bool has_stepped = job.has_last_step() && job.last_step().attempt() == job.attempt();
  const absl::Time since = has_stepped ? FromTimestamp(record.last_step_time()) : now;
  return std::max(now, since + *run);
}

double LostWork(const JobRecord& record) {
  const Job& job = record.job();
  if (!HasAttempt(job.state()) || job.last_step().attempt() != job.attempt()) return 0;
  const int64_t steps = job.last_step().step() - StepOfCheckpoint(job.latest_checkpoint());
  return static_cast<double>(std::max<int64_t>(0, steps)) * job.last_step().step_seconds() *
         job.placements_size();
}

std::map<std::string, absl::Time> ForecastStarts(SchedulerSnapshot snapshot) {
  return Simulation(std::move(snapshot)).Run();
}

}  // namespace wavefield::coordinator
