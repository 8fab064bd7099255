// What the store knows of changed and deleted jobs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "coordinator/control/control_loop.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/status_macros.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class JobChangesTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    store_.reset();
    SqliteStore::Observer observer;
    auto store = SqliteStore::Open(directory_.path() / "coordinator.db", observer);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Write(const std::function<absl::Status(Transaction&)>& body) {
    const absl::Status written = store_->Write(body);
    ASSERT_TRUE(written.ok()) << written;
  }
  // Creates it, or changes it.
  void Put(const std::string& id) {
    Write([&](Transaction& transaction) -> absl::Status {
      auto record = transaction.GetJob(id);
      JobRecord changed = record.ok() ? *record : QueuedJob(id);
      return transaction.PutJob(changed);
    });
  }
  static absl::Status Delete(Transaction& transaction, const std::string& id) {
    WF_ASSIGN_OR_RETURN(const JobRecord record, transaction.GetJob(id));
    return transaction.DeleteJob(record);
  }
  JobChanges After(int64_t revision, int limit = 100) {
    JobChanges changes;
    EXPECT_TRUE(store_
                    ->Read([&](StoreReader& reader) -> absl::Status {
                      WF_ASSIGN_OR_RETURN(changes, reader.JobsAfterRevision(revision, limit));
                      return absl::OkStatus();
                    })
                    .ok());
    return changes;
  }
  static std::vector<std::string> Ids(const JobChanges& changes) {
    std::vector<std::string> ids;
    for (const JobRecord& record : changes.jobs) ids.push_back(JobId(record));
    return ids;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<SqliteStore> store_;
};

TEST_F(JobChangesTest, ComeInTheOrderOfTheirLastChangeAndInParts) {
  for (const char* id : {"a", "b", "c", "a"}) Put(id);
  const JobChanges all = After(0);
  EXPECT_THAT(Ids(all), ElementsAre("b", "c", "a"));
  EXPECT_FALSE(all.more);
  EXPECT_EQ(all.revision, all.store_revision);
  const JobChanges first = After(0, 2);
  EXPECT_THAT(Ids(first), ElementsAre("b", "c"));
  EXPECT_TRUE(first.more);
  const JobChanges rest = After(first.revision, 2);
  EXPECT_THAT(Ids(rest), ElementsAre("a"));
  EXPECT_FALSE(rest.more);
  EXPECT_THAT(Ids(After(rest.revision)), IsEmpty());
}

TEST_F(JobChangesTest, ADeletedJobTakesItsHistoryAlongAndIsRemembered) {
  Put("a");
  Put("b");
  Write([](Transaction& transaction) -> absl::Status {
    for (int64_t step = 1; step <= 10; ++step) {
      WF_RETURN_IF_ERROR(transaction.PutStep("a", StepAt(step)));
      WF_RETURN_IF_ERROR(transaction.PutStep("b", StepAt(step)));
    }
    v1::EvaluationResult evaluation;
    WF_RETURN_IF_ERROR(transaction.PutEvaluation("a", evaluation));
    return transaction.PutFieldHealth("a", v1::FieldHealth());
  });
  const int64_t before = After(0).revision;
  Write([](Transaction& transaction) { return Delete(transaction, "a"); });
  Reopen();
  const JobChanges changes = After(before);
  EXPECT_THAT(changes.deleted, ElementsAre("a"));
  EXPECT_THAT(Ids(changes), IsEmpty());
  EXPECT_EQ(changes.forgotten_revision, 0);
  Put("a");
  EXPECT_THAT(After(before).deleted, IsEmpty()) << "it exists again";
  EXPECT_THAT(Ids(After(before)), ElementsAre("a"));
  const absl::Status read = store_->Read([](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const auto steps, reader.ListSteps("a", {}, 1, 100));
    WF_ASSIGN_OR_RETURN(const auto evaluations, reader.ListEvaluations("a", -1, 100));
    WF_ASSIGN_OR_RETURN(const auto health, reader.ListFieldHealth("a", INT64_MAX, 100));
    EXPECT_TRUE(steps.empty() && evaluations.empty() && health.empty());
    WF_ASSIGN_OR_RETURN(const auto others, reader.ListSteps("b", {}, 1, 100));
    EXPECT_EQ(others.size(), 10u);
    WF_ASSIGN_OR_RETURN(const auto directories, reader.PendingDeletions(""));
    EXPECT_THAT(directories, ElementsAre("checkpoints/a"));
    WF_ASSIGN_OR_RETURN(const auto further, reader.PendingDeletions("checkpoints/a"));
    EXPECT_THAT(further, IsEmpty());
    return absl::OkStatus();
  });
  EXPECT_TRUE(read.ok()) << read;
}

TEST_F(JobChangesTest, DirectoriesThatCannotBeRemovedHinderNoOthers) {
  constexpr size_t kStuck = 101;
  const std::filesystem::path root = directory_.path() / "storage";
  std::filesystem::create_directories(root / "checkpoints" / "b");
  Write([&](Transaction& transaction) -> absl::Status {
    for (size_t i = 0; i <= kStuck; ++i) {
      JobRecord record = QueuedJob("job-" + std::to_string(i));
      // No file system takes such a name.
      record.set_checkpoint_directory(i == kStuck ? "checkpoints/b"
                                                  : "checkpoints/" + std::string(300, 'a') +
                                                        std::to_string(i));
      WF_RETURN_IF_ERROR(transaction.PutJob(record));
      WF_RETURN_IF_ERROR(transaction.DeleteJob(record));
    }
    return absl::OkStatus();
  });
  ManualClock clock;
  LeaseTable leases(absl::Seconds(10), clock);
  Cluster cluster(leases);
  prometheus::Registry registry;
  CoordinatorMetrics metrics(registry);
  ControlLoop loop(*store_, cluster, leases, metrics, clock, root);
  loop.Tick();
  EXPECT_FALSE(std::filesystem::exists(root / "checkpoints" / "b"));
  const absl::Status read = store_->Read([](StoreReader& reader) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const bool pending, reader.IsDeletionPending("checkpoints/b"));
    EXPECT_FALSE(pending);
    WF_ASSIGN_OR_RETURN(const auto stuck, reader.PendingDeletions(""));
    EXPECT_EQ(stuck.size(), 100u);
    WF_ASSIGN_OR_RETURN(const auto others, reader.PendingDeletions(stuck.back()));
    EXPECT_EQ(others.size(), kStuck - 100);
    return absl::OkStatus();
  });
  EXPECT_TRUE(read.ok()) << read;
}

TEST_F(JobChangesTest, OnlyTheNewestDeletionsAreRemembered) {
  Write([](Transaction& transaction) -> absl::Status {
    for (int i = 0; i < kDeletedJobRetention + 3; ++i) {
      JobRecord record = QueuedJob("j" + std::to_string(i));
      WF_RETURN_IF_ERROR(transaction.PutJob(record));
      WF_RETURN_IF_ERROR(transaction.DeleteJob(record));
    }
    return absl::OkStatus();
  });
  const JobChanges changes = After(0, 100'000);
  ASSERT_EQ(std::ssize(changes.deleted), kDeletedJobRetention);
  EXPECT_EQ(changes.deleted.front(), "j3");
  EXPECT_EQ(changes.forgotten_revision, 6) << "of the deletion of j2";
}

TEST_F(JobChangesTest, DirectoriesBelowOneThatIsAskedForArePending) {
  const auto pending = [&](const std::string& directory) {
    bool found = false;
    EXPECT_TRUE(store_
                    ->Read([&](StoreReader& reader) -> absl::Status {
                      WF_ASSIGN_OR_RETURN(found, reader.IsDeletionPendingIn(directory));
                      return absl::OkStatus();
                    })
                    .ok());
    return found;
  };
  v1::Checkpoint checkpoint;
  checkpoint.set_name("jobs/x/checkpoints/1-1");
  checkpoint.set_directory("checkpoints/x/1-1");
  Write([&](Transaction& transaction) { return transaction.DeleteCheckpoint(checkpoint); });
  EXPECT_TRUE(pending("checkpoints/x"));
  EXPECT_TRUE(pending("checkpoints/x/1-1"));
  EXPECT_FALSE(pending("checkpoints/x/1"));
  EXPECT_FALSE(pending("checkpoints/x-1"));
}

}  // namespace
}  // namespace wavefield::coordinator
