// Random lives of jobs, through the store and the functions that the coordinator uses: whatever
// happens, the account of held slots adds up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <map>
#include <numeric>

#include "coordinator/goodput/ledger.h"
#include "coordinator/jobs/event_applier.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/status_macros.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/core/base/temporary_directory.h"
#include "tests/support/random_inputs.h"

namespace wavefield::coordinator {
namespace {

constexpr int kHistories = 500;
constexpr int kRounds = 40;

std::array<int64_t, 10> Buckets(const v1::Goodput& g) {
  return {
      g.startup(),          g.useful_steps(), g.redone_steps(), g.data_wait(), g.communication(),
      g.checkpoint_stall(), g.evaluation(),   g.recovery(),     g.hang(),      g.idle()};
}

int64_t SumOfBuckets(const v1::Goodput& goodput) {
  const auto buckets = Buckets(goodput);
  return std::accumulate(buckets.begin(), buckets.end(), int64_t{0});
}

// One job on two workers of its own. Everything is counted in milliseconds.
class RandomLife {
 public:
  RandomLife(int number, uint64_t seed)
      : id_("job-" + std::to_string(number)),
        random_(seed),
        clock_steps_(Chance(0.3)),
        ranks_(static_cast<int>(Between(1, 4))) {
    for (const char* name : {"a", "b"}) workers_[id_ + name];
  }

  absl::Status Create(Transaction& transaction) {
    JobRecord record = QueuedJob(id_, ranks_, static_cast<int>(Between(0, 6)));
    return transaction.PutJob(record);
  }

  // Lets some time pass, then does or reports one thing that can happen.
  absl::Status LiveOn(Transaction& transaction) {
    Pass(Chance(0.1) ? Between(0, 3'600'000) : Between(0, 20'000));
    WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(id_));
    if (!IsLive(record)) return absl::OkStatus();
    if (record.job().state() == v1::JOB_STATE_PAUSED && !HoldsSlots(record)) {
      Resume(record, Now());
      WF_RETURN_IF_ERROR(transaction.PutJob(record));
    } else if (record.job().state() == v1::JOB_STATE_QUEUED && !HoldsSlots(record)) {
      if (Chance(0.02)) RequestCancel(record, Now());
      if (record.job().state() == v1::JOB_STATE_QUEUED) Start(record);
      WF_RETURN_IF_ERROR(transaction.PutJob(record));
    } else {
      if (HasAttempt(record.job().state())) Train(record);
      WF_RETURN_IF_ERROR(Chance(0.75) ? Deliver(transaction) : Strike(transaction, record));
    }
    return Check(transaction);
  }

  // Ends what still holds a slot.
  absl::Status Finish(Transaction& transaction) {
    Pass(Between(0, 20'000));
    WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob(id_));
    for (const auto& [worker, state] : workers_) OnWorkerGone(record, worker, "", "over", Now());
    WF_RETURN_IF_ERROR(transaction.PutJob(record));
    WF_RETURN_IF_ERROR(Check(transaction));
    EXPECT_FALSE(HoldsSlots(record));
    return absl::OkStatus();
  }

  const v1::Goodput& goodput() const { return seen_; }

 private:
  // A worker and what it has not delivered yet.
  struct Worker {
    int64_t incarnation = 1;
    int64_t sequence = 0;
    std::deque<v1::WorkerEvent> spool;
  };
  // What is known here of a task that holds a slot.
  struct Holder {
    int64_t since = 0;  // by the coordinator's clock
    int64_t life = 0;   // true time
  };

  bool Chance(double probability) { return std::bernoulli_distribution(probability)(random_); }
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  absl::Time Now() const { return absl::FromUnixMillis(1'700'000'000'000 + wall_); }

  void Pass(int64_t milliseconds) {
    true_ += milliseconds;
    wall_ += milliseconds;
    if (!clock_steps_ || !Chance(0.1)) return;
    const int64_t step = Between(-600'000, 600'000);
    wall_ += step;
    forward_ += std::max<int64_t>(0, step);
  }

  void Start(JobRecord& record) {
    std::vector<Placement> placements;
    for (int rank = 0; rank < ranks_; ++rank) {
      const std::string worker = id_ + (Chance(0.5) ? "a" : "b");
      placements.push_back({worker, Incarnation(workers_[worker]), rank});
    }
    StartAttempt(record, placements, {}, Now());
    begun_ = true_;
    lead_ = Between(0, 2000);
    step_ = std::max<int64_t>(0, step_ - Between(0, 10));
    trains_ = ended_ = false;
  }

  static std::string Incarnation(const Worker& worker) {
    return std::to_string(worker.incarnation);
  }

  void Spool(const TaskRecord& task, v1::WorkerEvent event) {
    Worker& worker = workers_[task.worker()];
    if (task.incarnation() != Incarnation(worker)) return;
    event.set_task_id(task.task_id());
    event.set_sequence(++worker.sequence);
    worker.spool.push_back(std::move(event));
  }

  // What rank 0 may have said since, and now and then the end of a rank.
  void Train(const JobRecord& record) {
    const int64_t uptime = true_ - begun_ - lead_;
    for (const TaskRecord& task : record.tasks()) {
      if (task.ended() || task.epoch() != record.job().epoch()) continue;
      if (task.rank() == 0 && !ended_ && uptime > 0) {
        v1::WorkerEvent event;
        Say(*event.mutable_trainer());
        if (!Chance(0.02)) {
          event.mutable_trainer()->set_uptime_seconds(static_cast<double>(uptime) / 1000);
        }
        Spool(task, event);
      }
      if (Chance(ended_ ? 0.5 : 0.02)) {
        v1::WorkerEvent event;
        *event.mutable_exited() = ended_ ? ExitCode(0) : Chance(0.5) ? ExitSignal(9) : ExitCode(1);
        Spool(task, event);
      }
    }
  }

  void Say(v1::TrainerEvent& event) {
    const auto seconds = [this] { return static_cast<double>(Between(0, 30'000)) / 1000; };
    if (!trains_) {
      if (!Chance(0.8)) return event.set_warning("starts slowly");
      trains_ = true;
      *event.mutable_training_started() = Started(step_ + 1);
      return;
    }
    switch (Between(0, 15)) {
      case 0:
        event.mutable_evaluation()->set_step(step_);
        return event.mutable_evaluation()->set_seconds(seconds());
      case 1:
        return event.mutable_field_health()->set_step(step_);
      case 2:
        return event.mutable_checkpoint_failed()->set_step(step_);
      case 3:
        return event.set_warning("something");
      case 4:
        return event.mutable_failure()->set_message("something worse");
      case 5:
        event.mutable_checkpoint_saved()->set_step(step_ += Between(0, 3));
        return event.mutable_checkpoint_saved()->set_seconds(seconds());
      case 6:
        ended_ = true;
        event.mutable_finished()->set_step(step_);
        return event.mutable_finished()->set_stopped(Chance(0.3));
      default:
        step_ += Chance(0.8) ? 1 : Between(1, 20);
        *event.mutable_step() = StepAt(step_);
        event.mutable_step()->set_step_seconds(seconds());
        auto& phases = *event.mutable_step()->mutable_phase_seconds();
        phases.set_data(Chance(0.05) ? std::nan("") : seconds() / 4);
        phases.set_communicate(seconds() / 4);
        phases.set_checkpoint(Chance(0.2) ? seconds() : 0);
    }
  }

  // One worker's oldest events, few or many.
  absl::Status Deliver(Transaction& transaction) {
    auto& [name, worker] = *std::next(workers_.begin(), Between(0, 1));
    v1::ReportEventsRequest request;
    for (int64_t left = Between(1, 10); left > 0 && !worker.spool.empty(); --left) {
      *request.add_events() = worker.spool.front();
      if (!Chance(0.05)) worker.spool.pop_front();  // some are sent twice
    }
    std::stable_sort(request.mutable_events()->begin(), request.mutable_events()->end(),
                     [](const auto& x, const auto& y) { return x.sequence() < y.sequence(); });
    return ApplyEvents(transaction, name, Incarnation(worker), request, CheckpointReads(), Now())
        .status();
  }

  void AskToStop(JobRecord& record) {
    switch (Between(0, 9)) {
      case 0:
      case 1:
        return RequestCancel(record, Now());
      case 2:
      case 3:
        return RequestPause(record, Now());
      case 4:
        return RequestYield(record, v1::JOB_REASON_PREEMPTED, "makes room");
      case 5:
        return Resume(record, Now());
      default:
        return;
    }
  }

  // What does not come from a worker's spool.
  absl::Status Strike(Transaction& transaction, JobRecord& record) {
    auto& [name, worker] = *std::next(workers_.begin(), Between(0, 1));
    switch (Between(0, 5)) {
      case 0:
        OnWorkerGone(record, name, "", "no heartbeat", Now());
        Renew(worker);
        break;
      case 1:
        Renew(worker);
        OnWorkerGone(record, name, Incarnation(worker), "the worker was started anew", Now());
        break;
      case 2:
        OnTaskVanished(
            record, record.tasks(static_cast<int>(Between(0, record.tasks_size() - 1))).task_id(),
            Now());
        break;
      case 3:
        AskToStop(record);
        break;
      case 4:
        ForceStop(record, "did not stop", Now());
        break;
      default:
        return absl::OkStatus();
    }
    return transaction.PutJob(record);
  }

  static void Renew(Worker& worker) {
    ++worker.incarnation;
    worker.sequence = 0;
    worker.spool.clear();
  }

  // Takes note of who holds a slot, and compares.
  absl::Status Check(Transaction& transaction) {
    WF_ASSIGN_OR_RETURN(const JobRecord record, transaction.GetJob(id_));
    const v1::Goodput& goodput = record.job().goodput();
    std::map<std::string, Holder> holders;
    int64_t still = 0, still_true = 0;
    for (const TaskRecord& task : record.tasks()) {
      if (task.ended()) continue;
      const auto known = holders_.find(task.task_id());
      const Holder holder = known == holders_.end() ? Holder{wall_, true_} : known->second;
      holders[task.task_id()] = holder;
      still += std::max<int64_t>(0, wall_ - holder.since);
      still_true += true_ - holder.life;
    }
    for (const auto& [task, holder] : holders_) {
      if (holders.contains(task)) continue;
      held_ += std::max<int64_t>(0, wall_ - holder.since);
      held_true_ += true_ - holder.life;
    }
    holders_ = std::move(holders);

    EXPECT_EQ(SumOfBuckets(goodput), goodput.total()) << id_;
    for (size_t i = 0; i < Buckets(goodput).size(); ++i) {
      EXPECT_GE(Buckets(goodput)[i], Buckets(seen_)[i]) << id_ << ", bucket " << i << ": a counter";
    }
    const v1::Goodput shown = GoodputAt(record, Now());
    EXPECT_EQ(SumOfBuckets(shown), shown.total()) << id_;
    EXPECT_GE(shown.total(), goodput.total()) << id_;
    seen_ = goodput;
    if (clock_steps_) {
      // A slot counts what the clock goes forward: at least what it shows in the end, and no more
      // than it was held and the clock was set forward.
      EXPECT_LE(shown.total(), held_true_ + still_true + ranks_ * record.job().attempt() * forward_)
          << id_;
      if (holders_.empty() && !HasAttempt(record.job().state())) {
        EXPECT_GE(goodput.total(), held_) << id_;
      }
    } else {
      EXPECT_LE(shown.total(), held_ + still) << id_;
      if (!HasAttempt(record.job().state()) && holders_.empty()) {
        EXPECT_EQ(goodput.total(), held_) << id_;
      }
    }
    return absl::OkStatus();
  }

  const std::string id_;
  std::mt19937_64 random_;
  const bool clock_steps_;
  const int ranks_;
  std::map<std::string, Worker> workers_;

  int64_t true_ = 0;     // time that passed
  int64_t wall_ = 0;     // what the coordinator's clock makes of it
  int64_t forward_ = 0;  // by how much it was set forward in all

  // Of the attempt's trainer.
  int64_t begun_ = 0;
  int64_t lead_ = 0;
  int64_t step_ = 0;
  bool trains_ = false;
  bool ended_ = false;

  std::map<std::string, Holder> holders_;
  int64_t held_ = 0;       // by tasks that are over
  int64_t held_true_ = 0;  // the same in true time
  v1::Goodput seen_;
};

TEST(GoodputHistory, BucketsSumToTheTimeThatSlotsWereHeldWhateverHappens) {
  std::mt19937_64 random(wavefield::testing::FreshSeed());
  TemporaryDirectory directory;
  std::unique_ptr<SqliteStore> store;
  const auto reopen = [&] {
    store.reset();
    auto opened = SqliteStore::Open(directory.path() / "coordinator.db", {});
    ASSERT_TRUE(opened.ok()) << opened.status();
    store = *std::move(opened);
  };
  reopen();
  std::vector<RandomLife> lives;
  for (int i = 0; i < kHistories; ++i) lives.emplace_back(i, random());
  const auto all = [&](absl::Status (RandomLife::*what)(Transaction&)) {
    const absl::Status written = store->Write([&](Transaction& transaction) -> absl::Status {
      for (RandomLife& life : lives) WF_RETURN_IF_ERROR((life.*what)(transaction));
      return absl::OkStatus();
    });
    ASSERT_TRUE(written.ok()) << written;
  };
  all(&RandomLife::Create);
  for (int round = 0; round < kRounds && !::testing::Test::HasFailure(); ++round) {
    all(&RandomLife::LiveOn);
    if (random() % 8 == 0) reopen();  // the coordinator is started anew
  }
  all(&RandomLife::Finish);
  std::array<int64_t, 10> sums = {};
  for (const RandomLife& life : lives) {
    const auto buckets = Buckets(life.goodput());
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += buckets[i];
  }
  EXPECT_THAT(sums, ::testing::Each(::testing::Gt(0))) << "every bucket was in play";
}

}  // namespace
}  // namespace wavefield::coordinator
