#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "coordinator/jobs/event_applier.h"
#include "coordinator/rpc/requests.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

class StoreTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen() {
    store_.reset();
    SqliteStore::Observer observer;
    observer.deleted = [this](const std::vector<std::string>& ids) {
      deleted_.insert(deleted_.end(), ids.begin(), ids.end());
    };
    observer.committed = [this](const std::vector<JobRecord>& jobs) {
      ++commits_;
      for (const JobRecord& job : jobs) committed_.push_back(JobId(job));
    };
    auto store = SqliteStore::Open(path(), observer);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  std::filesystem::path path() const { return directory_.path() / "coordinator.db"; }

  absl::Status PutJob(const std::string& id) {
    JobRecord record = QueuedJob(id);
    return store_->Write([&](Transaction& transaction) { return transaction.PutJob(record); });
  }

  absl::StatusOr<JobRecord> GetJob(const std::string& id) {
    absl::StatusOr<JobRecord> record;
    const absl::Status read = store_->Read([&](StoreReader& reader) {
      record = reader.GetJob(id);
      return absl::OkStatus();
    });
    return read.ok() ? record : absl::StatusOr<JobRecord>(read);
  }

  TemporaryDirectory directory_;
  std::atomic<int> commits_ = 0;
  std::vector<std::string> committed_;
  std::vector<std::string> deleted_;
  std::unique_ptr<SqliteStore> store_;
};

TEST_F(StoreTest, DeletionsAreToldOnceTheyAreCommitted) {
  ASSERT_TRUE(PutJob("a").ok());
  const auto delete_a = [](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const JobRecord record, transaction.GetJob("a"));
    return transaction.DeleteJob(record);
  };
  const absl::Status refused = store_->Write([&](Transaction& transaction) -> absl::Status {
    WF_RETURN_IF_ERROR(delete_a(transaction));
    return absl::AbortedError("after all not");
  });
  EXPECT_TRUE(absl::IsAborted(refused)) << refused;
  EXPECT_TRUE(deleted_.empty());
  EXPECT_TRUE(GetJob("a").ok());

  committed_.clear();
  ASSERT_TRUE(store_
                  ->Write([&](Transaction& transaction) -> absl::Status {
                    WF_ASSIGN_OR_RETURN(JobRecord record, transaction.GetJob("a"));
                    WF_RETURN_IF_ERROR(transaction.PutJob(record));
                    WF_RETURN_IF_ERROR(delete_a(transaction));
                    JobRecord next = QueuedJob("b");
                    return transaction.PutJob(next);
                  })
                  .ok());
  EXPECT_THAT(deleted_, testing::ElementsAre("a"));
  EXPECT_THAT(committed_, testing::ElementsAre("b")) << "nothing more is told of what is gone";
}

TEST_F(StoreTest, KeepsWhatWasAcknowledgedOverAReopen) {
  ASSERT_TRUE(PutJob("a").ok());
  const int64_t revision = GetJob("a")->job().revision();
  Reopen();
  const auto record = GetJob("a");
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->job().revision(), revision);
  ASSERT_TRUE(PutJob("b").ok());
  EXPECT_GT(GetJob("b")->job().revision(), revision) << "revisions go on after a restart";
}

TEST_F(StoreTest, AFailedRequestLeavesNothingBehindAndHarmsNoOther) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([this, i] {
      const std::string id = "job-" + std::to_string(i);
      const absl::Status status = store_->Write([&](Transaction& transaction) {
        JobRecord record = QueuedJob(id);
        EXPECT_TRUE(transaction.PutJob(record).ok());
        return i % 2 == 0 ? absl::OkStatus() : absl::InvalidArgumentError("odd");
      });
      EXPECT_EQ(status.ok(), i % 2 == 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(GetJob("job-" + std::to_string(i)).ok(), i % 2 == 0) << i;
  }
  EXPECT_EQ(std::set<std::string>(committed_.begin(), committed_.end()).size(), 8u)
      << "only what was committed is announced";
}

TEST_F(StoreTest, RequestsThatWaitTogetherShareACommit) {
  std::atomic<bool> holding = false;
  std::atomic<bool> release = false;
  std::thread holder([&] {
    EXPECT_TRUE(store_
                    ->Write([&](Transaction&) {
                      holding = true;
                      while (!release) std::this_thread::yield();
                      return absl::OkStatus();
                    })
                    .ok());
  });
  while (!holding) std::this_thread::yield();
  const int before = commits_;
  constexpr int kWriters = 32;
  std::vector<std::thread> writers;
  std::atomic<int> begun = 0;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      ++begun;
      EXPECT_TRUE(PutJob("w" + std::to_string(i)).ok());
    });
  }
  while (begun < kWriters) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  release = true;
  holder.join();
  for (std::thread& writer : writers) writer.join();
  EXPECT_LT(commits_ - before, kWriters / 2);
  EXPECT_EQ(committed_.size(), static_cast<size_t>(kWriters));
}

TEST_F(StoreTest, RefusesAStoreOfANewerVersion) {
  store_.reset();
  {
    auto connection = SqliteConnection::Open(path());
    ASSERT_TRUE((*connection)->Execute("PRAGMA user_version = 999").ok());
  }
  const auto store = SqliteStore::Open(path(), {});
  EXPECT_TRUE(absl::IsFailedPrecondition(store.status()));
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("version 999"));
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("newer"));
}

TEST_F(StoreTest, ReportsACorruptRow) {
  ASSERT_TRUE(PutJob("a").ok());
  ASSERT_TRUE(PutJob("b").ok());
  store_.reset();
  {
    auto connection = SqliteConnection::Open(path());
    ASSERT_TRUE((*connection)
                    ->Execute("UPDATE jobs SET record = x'00' || substr(record, 2) WHERE id = 'a'")
                    .ok());
  }
  Reopen();
  const auto record = GetJob("a");
  EXPECT_TRUE(absl::IsDataLoss(record.status())) << record.status();
  EXPECT_THAT(std::string(record.status().message()), HasSubstr("'a' of table jobs"));
  EXPECT_TRUE(GetJob("b").ok());
  EXPECT_TRUE(PutJob("c").ok()) << "one bad row does not close the store";
}

TEST_F(StoreTest, GarbageIsNotTakenForAStore) {
  store_.reset();
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path().string() + suffix);
  ASSERT_TRUE(WriteFileAtomically(path(), std::string(8192, 'x')).ok());
  EXPECT_FALSE(SqliteStore::Open(path(), {}).ok());
}

TEST_F(StoreTest, HistoryComesInOrderOfRevisionsAndCanBeResumed) {
  ASSERT_TRUE(PutJob("a").ok());
  for (int64_t step = 1; step <= 10; ++step) {
    ASSERT_TRUE(store_
                    ->Write([&](Transaction& transaction) {
                      WF_RETURN_IF_ERROR(transaction.PutStep("a", StepAt(step)));
                      if (step != 5) return absl::OkStatus();
                      v1::EvaluationResult evaluation;
                      evaluation.set_step(5);
                      evaluation.set_attempt(1);
                      return transaction.PutEvaluation("a", evaluation);
                    })
                    .ok());
  }
  std::vector<int64_t> steps;
  int evaluations = 0;
  int64_t position = 0;
  for (bool more = true; more;) {
    History history;
    ASSERT_TRUE(store_
                    ->Read([&](StoreReader& reader) {
                      history = *reader.HistoryAfterRevision("a", position, 3);
                      return absl::OkStatus();
                    })
                    .ok());
    EXPECT_LE(history.steps.size() + history.evaluations.size(), 3u);
    for (const auto& step : history.steps) steps.push_back(step.step());
    evaluations += static_cast<int>(history.evaluations.size());
    position = history.revision;
    more = history.more;
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(evaluations, 1);
}

TEST_F(StoreTest, FieldHealthIsKeptOverAReopenNewestFirstAndOnlySoMuchOfIt) {
  const int64_t last = kFieldHealthRetention + 5;
  ASSERT_TRUE(store_
                  ->Write([&](Transaction& transaction) {
                    v1::FieldHealth other;
                    other.set_step(1);
                    WF_RETURN_IF_ERROR(transaction.PutFieldHealth("b", other));
                    for (int64_t step = 1; step <= last; ++step) {
                      v1::FieldHealth health;
                      health.set_step(step);
                      health.set_attempt(1);
                      health.add_layers()->set_mixer_rms(0.5);
                      WF_RETURN_IF_ERROR(transaction.PutFieldHealth("a", health));
                    }
                    return absl::OkStatus();
                  })
                  .ok());
  Reopen();
  ASSERT_TRUE(store_
                  ->Read([&](StoreReader& reader) {
                    const auto all = *reader.ListFieldHealth("a", INT64_MAX, 1000);
                    EXPECT_EQ(all.size(), static_cast<size_t>(kFieldHealthRetention));
                    EXPECT_EQ(all.front().second.step(), last);
                    EXPECT_EQ(all.back().second.step(), 6);
                    EXPECT_EQ(all[0].second.layers(0).mixer_rms(), 0.5);
                    const auto next = *reader.ListFieldHealth("a", all[1].first, 2);
                    EXPECT_EQ(next.size(), 2u);
                    EXPECT_EQ(next[0].second.step(), last - 2);
                    EXPECT_EQ(reader.ListFieldHealth("b", INT64_MAX, 10)->size(), 1u);
                    return absl::OkStatus();
                  })
                  .ok());
}

TEST_F(StoreTest, AStoreOfTheFirstVersionGetsWhatCameLater) {
  ASSERT_TRUE(PutJob("a").ok());
  v1::Checkpoint parent, child;
  parent.set_name("jobs/a/checkpoints/1-1");
  parent.set_directory("checkpoints/a/1-1");
  child.set_name("jobs/a/checkpoints/2-2");
  child.set_parent(parent.name());
  ASSERT_TRUE(store_
                  ->Write([&](Transaction& transaction) -> absl::Status {
                    WF_RETURN_IF_ERROR(transaction.PutCheckpoint("a", parent));
                    return transaction.PutCheckpoint("a", child);
                  })
                  .ok());
  store_.reset();
  {
    auto connection = SqliteConnection::Open(path());
    ASSERT_TRUE(connection.ok());
    for (const char* step_back :
         {"DROP TABLE removed_checkpoints", "DROP INDEX checkpoints_by_parent",
          "ALTER TABLE checkpoints DROP COLUMN parent", "DROP TABLE audit",
          "DROP TABLE deleted_jobs", "DROP INDEX jobs_by_revision", "DROP INDEX jobs_by_reason",
          "ALTER TABLE jobs DROP COLUMN reason", "DROP TABLE field_health",
          "PRAGMA user_version = 1"}) {
      const absl::Status done = (*connection)->Execute(step_back);
      ASSERT_TRUE(done.ok()) << step_back << ": " << done;
    }
  }
  Reopen();
  std::vector<v1::LineageNode> removed;
  ASSERT_TRUE(store_
                  ->Write([&](Transaction& transaction) -> absl::Status {
                    WF_RETURN_IF_ERROR(transaction.DeleteCheckpoint(parent));
                    WF_ASSIGN_OR_RETURN(removed, transaction.RemovedCheckpoints());
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_EQ(removed.size(), 1u) << "parents are known from before";
  EXPECT_EQ(removed[0].name(), parent.name());
  EXPECT_TRUE(GetJob("a").ok());
  EXPECT_TRUE(store_
                  ->Write([&](Transaction& transaction) {
                    return transaction.PutFieldHealth("a", v1::FieldHealth());
                  })
                  .ok());
  EXPECT_TRUE(PutJob("b").ok());
  std::vector<JobCount> counts;
  ASSERT_TRUE(store_
                  ->Read([&](StoreReader& reader) {
                    counts = reader.CountJobs().value();
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts[0].count, 2);
}

TEST_F(StoreTest, StepsOfTwoAttemptsStandSideBySide) {
  ASSERT_TRUE(store_
                  ->Write([&](Transaction& transaction) {
                    for (const auto& [step, attempt] :
                         std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {2, 2}, {3, 2}}) {
                      WF_RETURN_IF_ERROR(transaction.PutStep("a", StepAt(step, attempt)));
                    }
                    return transaction.PutStep("a", StepAt(2, 1));
                  })
                  .ok());
  ASSERT_TRUE(store_
                  ->Read([&](StoreReader& reader) {
                    EXPECT_EQ(reader.ListSteps("a", {0, 0}, 0, 100)->size(), 4u);
                    EXPECT_EQ(reader.ListSteps("a", {1, INT32_MAX}, 0, 100)->size(), 3u);
                    EXPECT_EQ(reader.ListSteps("a", {2, 1}, 0, 100)->front().attempt(), 2);
                    EXPECT_EQ(reader.ListSteps("a", {0, 0}, 2, 100)->size(), 2u);
                    return absl::OkStatus();
                  })
                  .ok());
}

TEST_F(StoreTest, RequestIdsAnswerAgainAndExpire) {
  const absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  v1::Job answer;
  answer.set_name("jobs/a");
  const auto keep = [&](const std::string& id, absl::Time now) {
    return store_->Write([&](Transaction& transaction) {
      return KeepAnswer(transaction, "CreateJob", id, "hash", answer, now);
    });
  };
  const auto find = [&](const std::string& id, const std::string& hash) {
    absl::StatusOr<bool> found;
    v1::Job job;
    EXPECT_TRUE(store_
                    ->Read([&](StoreReader& reader) {
                      found = FindAnswer(reader, "CreateJob", id, hash, job);
                      return absl::OkStatus();
                    })
                    .ok());
    if (found.ok() && *found) {
      EXPECT_EQ(job.name(), "jobs/a");
    }
    return found;
  };
  ASSERT_TRUE(keep("r1", start).ok());
  EXPECT_TRUE(*find("r1", "hash"));
  EXPECT_FALSE(*find("r2", "hash"));
  EXPECT_TRUE(absl::IsInvalidArgument(find("r1", "other").status()));
  ASSERT_TRUE(keep("r3", start + kRequestRetention + absl::Seconds(1)).ok());
  EXPECT_FALSE(*find("r1", "hash")) << "older than the retention";
}

v1::ReportEventsRequest StepEvents(const std::string& task, int64_t first, int64_t last) {
  v1::ReportEventsRequest request;
  for (int64_t sequence = first; sequence <= last; ++sequence) {
    v1::WorkerEvent& event = *request.add_events();
    event.set_sequence(sequence);
    event.set_task_id(task);
    *event.mutable_trainer()->mutable_step() = StepAt(sequence);
  }
  return request;
}

TEST_F(StoreTest, EventsAreTakenOnceAndInOrder) {
  JobRecord record = StartedJob("a", 1);
  ASSERT_TRUE(
      store_->Write([&](Transaction& transaction) { return transaction.PutJob(record); }).ok());
  const auto report = [&](const v1::ReportEventsRequest& request) {
    absl::StatusOr<EventOutcome> outcome;
    const absl::Status status = store_->Write([&](Transaction& transaction) {
      outcome =
          ApplyEvents(transaction, "a", "a1", request, CheckpointReads(), absl::FromUnixSeconds(1));
      return outcome.status();
    });
    return status.ok() ? outcome : absl::StatusOr<EventOutcome>(status);
  };
  EXPECT_EQ(report(StepEvents("a/1/0", 1, 5))->acknowledged_sequence, 5);
  EXPECT_EQ(report(StepEvents("a/1/0", 3, 7))->acknowledged_sequence, 7) << "3 to 5 are skipped";
  EXPECT_TRUE(absl::IsFailedPrecondition(report(StepEvents("a/1/0", 9, 9)).status()))
      << "8 is missing";
  EXPECT_EQ(GetJob("a")->job().last_step().step(), 7);
  Reopen();
  EXPECT_EQ(report(StepEvents("a/1/0", 1, 7))->acknowledged_sequence, 7);
  EXPECT_EQ(report(StepEvents("a/2/0", 8, 8))->acknowledged_sequence, 8)
      << "no such epoch: dropped";
  EXPECT_EQ(GetJob("a")->job().last_step().step(), 7);
}

TEST_F(StoreTest, FieldHealthOfAbsurdSizeIsRefusedWithAWarning) {
  v1::ReportEventsRequest request;
  const auto add = [&](int layers, int heads_of_each) {
    v1::WorkerEvent& event = *request.add_events();
    event.set_sequence(request.events_size());
    event.set_task_id("a/1/0");
    v1::FieldHealth& health = *event.mutable_trainer()->mutable_field_health();
    for (int layer = 0; layer < layers; ++layer) {
      v1::LayerHealth& added = *health.add_layers();
      for (int head = 0; head < heads_of_each; ++head) added.add_heads();
    }
  };
  add(1025, 0);
  add(2, 4097);
  add(1024, 8);
  absl::StatusOr<EventOutcome> outcome;
  const absl::Status written = store_->Write([&](Transaction& transaction) -> absl::Status {
    JobRecord record = StartedJob("a", 1);
    WF_RETURN_IF_ERROR(transaction.PutJob(record));
    outcome =
        ApplyEvents(transaction, "a", "a1", request, CheckpointReads(), absl::FromUnixSeconds(1));
    return outcome.status();
  });
  ASSERT_TRUE(written.ok()) << written;
  ASSERT_EQ(outcome->training.size(), 1u);
  EXPECT_EQ(outcome->training[0].second.field_health().layers_size(), 1024);
  const v1::Job job = GetJob("a")->job();
  ASSERT_EQ(job.warnings_size(), 2);
  EXPECT_THAT(job.warnings(0), HasSubstr("1025 layers with 0 heads"));
  EXPECT_THAT(job.warnings(1), HasSubstr("2 layers with 8194 heads"));
}

}  // namespace
}  // namespace wavefield::coordinator
