// Retention over random histories of jobs, against the definitions of what must stay and what goes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/checkpoints/collection.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/status_macros.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/core/base/temporary_directory.h"
#include "tests/support/random_inputs.h"

namespace wavefield::coordinator {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

// Some jobs whose checkpoints are committed, pinned, damaged, removed, read and forked at random,
// over restarts, beside plain definitions of what must stay and what must go.
class RandomHistory {
 public:
  explicit RandomHistory(uint64_t seed) : random_(seed) { Reopen(); }

  void Step() {
    now_ += absl::Minutes(Between(1, 50));
    before_ = Catalogue();
    named_.clear();
    exact_.clear();
    const std::string job = "j" + std::to_string(Between(0, 3));
    switch (Between(0, 13)) {
      case 0:
        return Reopen();
      case 1:
        return StartJob(job);
      case 2:
        return EndJob(job);
      case 3:
        return Change(job, [&](v1::Checkpoint& c) { c.set_pinned(Chance(0.3)); });
      case 4:
        return Change(job, [&](v1::Checkpoint& c) { c.set_damage(Chance(0.4) ? "torn" : ""); });
      case 5:
        return ChangePolicy(job);
      case 6:
        return ReadOne(job);
      case 7:
        return DeleteOne(job);
      case 8:
        return DeleteSome(job);
      case 9:
        return Collect(job);
      default:
        return Commit(job);
    }
  }

  void Check() {
    const std::map<std::string, v1::Checkpoint> after = Catalogue();
    std::map<std::string, v1::Checkpoint> candidates = before_;
    candidates.insert(after.begin(), after.end());
    for (const auto& [name, checkpoint] : candidates) {
      const bool stays = after.contains(name);
      const bool must_stay = MustStay(checkpoint, candidates);
      EXPECT_TRUE(stays || !must_stay) << name << " after " << doing_;
      if (exact_ == JobOfCheckpoint(name) && !must_stay && !ARuleKeeps(checkpoint, candidates)) {
        EXPECT_FALSE(stays) << name << " is kept by no rule, after " << doing_;
      }
      EXPECT_EQ(IsPending(checkpoint.directory()), !stays) << name << " after " << doing_;
      parents_[name] = checkpoint.parent();
    }
    CheckLineage(after);
  }

 private:
  int Between(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }
  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }

  void Reopen() {
    doing_ = "a restart";
    holds_.clear();
    reads_ = std::make_unique<CheckpointReads>();
    held_.clear();
    store_.reset();
    auto store = SqliteStore::Open(directory_.path() / "coordinator.db", {});
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  void Write(const std::function<absl::Status(Transaction&)>& body) {
    const absl::Status status = store_->Write(body);
    ASSERT_TRUE(status.ok()) << status;
  }

  std::map<std::string, v1::Checkpoint> Catalogue() {
    std::map<std::string, v1::Checkpoint> all;
    const absl::Status read = store_->Read([&](StoreReader& reader) {
      return VisitCheckpoints(reader, "", INT64_MAX, [&](int64_t revision, v1::Checkpoint& c) {
        order_[c.name()] = revision;
        all.emplace(c.name(), c);
        return true;
      });
    });
    EXPECT_TRUE(read.ok()) << read;
    return all;
  }

  std::vector<v1::LineageNode> Removed() {
    std::vector<v1::LineageNode> removed;
    const absl::Status read = store_->Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(removed, reader.RemovedCheckpoints());
      return absl::OkStatus();
    });
    EXPECT_TRUE(read.ok()) << read;
    return removed;
  }

  bool IsPending(const std::string& directory) {
    bool pending = false;
    const absl::Status read = store_->Read([&](StoreReader& reader) -> absl::Status {
      WF_ASSIGN_OR_RETURN(pending, reader.IsDeletionPending(directory));
      return absl::OkStatus();
    });
    EXPECT_TRUE(read.ok()) << read;
    return pending;
  }

  std::optional<JobRecord> Find(const std::string& job) {
    std::optional<JobRecord> found;
    store_
        ->Read([&](StoreReader& reader) -> absl::Status {
          WF_ASSIGN_OR_RETURN(found, reader.GetJob(job));
          return absl::OkStatus();
        })
        .IgnoreError();
    return found;
  }

  void Put(JobRecord record) {
    Write([&](Transaction& transaction) { return transaction.PutJob(record); });
  }

  // A name of the job's catalogue, or of any.
  std::optional<std::string> AnyCheckpoint(const std::string& job) {
    std::vector<std::string> names;
    for (const auto& [name, checkpoint] : before_) {
      if (job.empty() || JobOfCheckpoint(name) == job) names.push_back(name);
    }
    if (names.empty()) return std::nullopt;
    return names[static_cast<size_t>(Between(0, static_cast<int>(names.size()) - 1))];
  }

  // A new one, perhaps from another's weights, or the next attempt of one that waits or has ended.
  void StartJob(const std::string& job) {
    doing_ = "a start of " + job;
    std::optional<JobRecord> record = Find(job);
    if (!record) {
      record = QueuedJob(job);
      *record->mutable_job()->mutable_create_time() = ToTimestamp(now_);
      const auto source = AnyCheckpoint("");
      if (source && Chance(0.7)) {
        record->mutable_job()->mutable_spec()->set_init_from(*source);
        record->set_init_from_directory(before_.at(*source).directory());
      }
    }
    v1::Job& state = *record->mutable_job();
    if (HasAttempt(state.state())) {
      record->set_training_started(true);
      const bool resumed = !record->resume_candidates().empty();
      record->set_resumed_from(resumed ? record->resume_candidates(0) : "");
      state.set_state(v1::JOB_STATE_RUNNING);
      return Put(*record);
    }
    state.set_state(v1::JOB_STATE_QUEUED);
    state.set_epoch(state.epoch() + 1);
    Write([&](Transaction& transaction) -> absl::Status {
      WF_ASSIGN_OR_RETURN(const auto candidates, ResumeCandidates(transaction, job));
      record->clear_tasks();
      StartAttempt(*record, {}, candidates, now_);
      return transaction.PutJob(*record);
    });
  }

  void EndJob(const std::string& job) {
    doing_ = "the end of " + job;
    std::optional<JobRecord> record = Find(job);
    if (!record) return;
    const v1::JobState states[] = {v1::JOB_STATE_SUCCEEDED, v1::JOB_STATE_FAILED,
                                   v1::JOB_STATE_CANCELLED, v1::JOB_STATE_PAUSED,
                                   v1::JOB_STATE_QUEUED};
    record->mutable_job()->set_state(states[Between(0, 4)]);
    Put(*record);
  }

  void Change(const std::string& job, const std::function<void(v1::Checkpoint&)>& change) {
    doing_ = "a change in " + job;
    const auto name = AnyCheckpoint(job);
    if (!name) return;
    v1::Checkpoint checkpoint = before_.at(*name);
    change(checkpoint);
    Write([&](Transaction& transaction) { return transaction.PutCheckpoint(job, checkpoint); });
    before_.at(*name) = checkpoint;
  }

  void ChangePolicy(const std::string& job) {
    doing_ = "another policy of " + job;
    std::optional<JobRecord> record = Find(job);
    if (!record) return;
    v1::CheckpointPolicy policy;
    policy.set_keep_last(Between(1, 4));
    if (Chance(0.5)) policy.set_keep_every_steps(Between(2, 50));
    if (Chance(0.5)) policy.set_keep_every_hours(Between(1, 8) / 2.0);
    if (Chance(0.5)) policy.set_keep_best(Between(1, 3));
    *record->mutable_job()->mutable_spec()->mutable_checkpoint() = policy;
    Put(*record);
  }

  void ReadOne(const std::string& job) {
    doing_ = "a reading in " + job;
    if (!holds_.empty() && Chance(0.6)) {
      holds_.erase(holds_.begin());
      held_.erase(held_.begin());
      return;
    }
    const auto name = AnyCheckpoint(job);
    if (!name) return;
    auto held = HoldCheckpoint(*store_, *reads_, *name, "downloads");
    ASSERT_TRUE(held.ok()) << held.status();
    held_.push_back(held->checkpoint.directory());
    holds_.push_back(std::move(held->hold));
  }

  void DeleteOne(const std::string& job) {
    const auto name = AnyCheckpoint(job);
    if (!name) return;
    doing_ = "the removal of " + *name;
    named_ = *name;
    store_
        ->Write([&](Transaction& transaction) {
          return DeleteByName(transaction, &transaction, *reads_, *name).status();
        })
        .IgnoreError();
  }

  void DeleteSome(const std::string& job) {
    doing_ = "the removal of many";
    v1::DeleteCheckpointsRequest request;
    request.set_parent(Find(job) && Chance(0.7) ? "jobs/" + job : "jobs/-");
    request.set_filter("step<" + std::to_string(Between(1, 400)));
    Write([&](Transaction& transaction) {
      v1::DeleteCheckpointsResponse response;
      return DeleteByFilter(transaction, &transaction, *reads_, request, response);
    });
  }

  void Collect(const std::string& job) {
    doing_ = "a collection in " + job;
    if (!Find(job)) return;
    exact_ = job;
    Write([&](Transaction& transaction) {
      v1::CollectGarbageResponse response;
      return CollectByRules(transaction, &transaction, *reads_, "jobs/" + job, response);
    });
  }

  void Commit(const std::string& job) {
    doing_ = "a commit in " + job;
    std::optional<JobRecord> record = Find(job);
    if (!record || !HasAttempt(record->job().state())) return StartJob(job);
    v1::Checkpoint checkpoint;
    checkpoint.set_step(++steps_);
    checkpoint.set_epoch(record->job().epoch());
    checkpoint.set_attempt(record->job().attempt());
    const std::string id = std::to_string(steps_) + "-" + std::to_string(record->job().epoch());
    checkpoint.set_name("jobs/" + job + "/checkpoints/" + id);
    checkpoint.set_directory("checkpoints/" + job + "/" + id);
    *checkpoint.mutable_create_time() = ToTimestamp(now_);
    if (Chance(0.5)) {
      checkpoint.set_evaluated(true);
      checkpoint.set_evaluation_loss(Between(1, 8));
    }
    exact_ = job;
    Write([&](Transaction& transaction) -> absl::Status {
      WF_RETURN_IF_ERROR(CommitCheckpoint(transaction, *record, checkpoint, *reads_));
      return transaction.PutJob(*record);
    });
  }

  bool NewestOfItsJob(const v1::Checkpoint& checkpoint,
                      const std::map<std::string, v1::Checkpoint>& all) {
    if (!checkpoint.damage().empty()) return false;
    return std::none_of(all.begin(), all.end(), [&](const auto& entry) {
      return JobOfCheckpoint(entry.first) == JobOfCheckpoint(checkpoint.name()) &&
             entry.second.damage().empty() && order_[entry.first] > order_[checkpoint.name()];
    });
  }

  bool MustStay(const v1::Checkpoint& checkpoint,
                const std::map<std::string, v1::Checkpoint>& all) {
    if (checkpoint.pinned()) return true;
    if (std::count(held_.begin(), held_.end(), checkpoint.directory()) > 0) return true;
    for (int j = 0; j <= 3; ++j) {
      const std::optional<JobRecord> record = Find("j" + std::to_string(j));
      if (!record) continue;
      const v1::JobState state = record->job().state();
      if (!HasEnded(state) && record->init_from_directory() == checkpoint.directory()) return true;
      const auto& candidates = record->resume_candidates();
      if (HasAttempt(state) && !record->training_started() &&
          std::count(candidates.begin(), candidates.end(), checkpoint.directory()) > 0) {
        return true;
      }
    }
    if (!NewestOfItsJob(checkpoint, all)) return false;
    const v1::JobState state = Find(JobOfCheckpoint(checkpoint.name()))->job().state();
    return state != v1::JOB_STATE_SUCCEEDED || named_ != checkpoint.name();
  }

  // Word by word as the policy's fields are documented.
  bool ARuleKeeps(const v1::Checkpoint& checkpoint,
                  const std::map<std::string, v1::Checkpoint>& all) {
    const std::string job = JobOfCheckpoint(checkpoint.name());
    const v1::Job record = Find(job)->job();
    const v1::CheckpointPolicy& policy = record.spec().checkpoint();
    const int64_t order = order_[checkpoint.name()];
    const auto period_of = [&](const v1::Checkpoint& c) {
      const absl::Duration age =
          FromTimestamp(c.create_time()) - FromTimestamp(record.create_time());
      return std::floor(absl::ToDoubleHours(age) / policy.keep_every_hours());
    };
    int newer = 0, better = 0, earlier_in_period = 0;
    for (const auto& [name, other] : all) {
      if (JobOfCheckpoint(name) != job || name == checkpoint.name()) continue;
      newer += order_[name] > order;
      if (other.evaluated() && other.damage().empty()) {
        better += other.evaluation_loss() < checkpoint.evaluation_loss() ||
                  (other.evaluation_loss() == checkpoint.evaluation_loss() && order_[name] < order);
      }
      if (policy.keep_every_hours() > 0) {
        earlier_in_period += order_[name] < order && period_of(other) == period_of(checkpoint);
      }
    }
    return newer < std::max(policy.keep_last(), 1) ||
           (policy.keep_every_steps() > 0 && checkpoint.step() % policy.keep_every_steps() == 0) ||
           (policy.keep_every_hours() > 0 && earlier_in_period == 0) ||
           (checkpoint.evaluated() && checkpoint.damage().empty() && better < policy.keep_best());
  }

  // Removed ones are remembered exactly as long as something in the catalogue descends from them.
  void CheckLineage(const std::map<std::string, v1::Checkpoint>& catalogue) {
    std::set<std::string> expected;
    for (const auto& [name, checkpoint] : catalogue) {
      for (std::string at = checkpoint.parent(); !at.empty(); at = parents_[at]) {
        if (!catalogue.contains(at)) expected.insert(at);
      }
    }
    std::set<std::string> remembered;
    for (const v1::LineageNode& node : Removed()) {
      remembered.insert(node.name());
      EXPECT_TRUE(node.removed());
      EXPECT_EQ(node.parent(), parents_[node.name()]);
    }
    EXPECT_EQ(remembered, expected) << "after " << doing_;
  }

  TemporaryDirectory directory_;
  std::mt19937_64 random_;
  std::unique_ptr<CheckpointReads> reads_;
  std::unique_ptr<SqliteStore> store_;
  absl::Time now_ = kStart;
  int64_t steps_ = 0;
  std::vector<CheckpointReads::Hold> holds_;
  std::vector<std::string> held_;  // their directories
  std::map<std::string, v1::Checkpoint> before_;
  std::map<std::string, int64_t> order_;        // of commits
  std::map<std::string, std::string> parents_;  // of all there ever were
  std::string doing_;
  std::string named_;  // removed by its name in this step
  std::string exact_;  // the job to which retention was applied in this step
};

TEST(Retention, OverRandomHistoriesWhatMustStayStaysAndWhatNoRuleKeepsGoes) {
  std::mt19937_64 seeds(wavefield::testing::FreshSeed());
  for (int history = 0; history < 4; ++history) {
    RandomHistory life(seeds());
    for (int step = 0; step < 250; ++step) {
      life.Step();
      life.Check();
      if (::testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace wavefield::coordinator
