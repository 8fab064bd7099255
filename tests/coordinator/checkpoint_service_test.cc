// Checkpoints over gRPC: list, keep, check, remove.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"
#include "tests/coordinator/checkpoint_fixture.h"
#include "tests/support/random_inputs.h"

namespace wavefield::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class Checkpoints : public CheckpointFixture {
 protected:
  static std::vector<std::string> Names(const absl::StatusOr<std::vector<v1::Checkpoint>>& listed) {
    EXPECT_TRUE(listed.ok()) << listed.status();
    std::vector<std::string> names;
    for (const v1::Checkpoint& checkpoint : *listed) {
      names.push_back(checkpoint.name().substr(checkpoint.name().rfind('/') + 1));
    }
    return names;
  }

  absl::StatusOr<v1::CollectGarbageResponse> Collect(const std::string& parent,
                                                     bool validate_only) {
    v1::CollectGarbageRequest request;
    request.set_parent(parent);
    request.set_validate_only(validate_only);
    v1::CollectGarbageResponse response;
    const absl::Status status =
        Call(*checkpoints_, &v1::CheckpointService::Stub::CollectGarbage, request, response);
    return status.ok() ? absl::StatusOr<v1::CollectGarbageResponse>(response) : status;
  }
};

TEST_F(Checkpoints, AreListedByFilterAndInOrder) {
  StartJob("x");
  StartJob("y");
  Save("x", 10, 1, 1, [](CheckpointManifest& m) { m.metrics["evaluation_loss"] = 3.5; });
  Save("y", 20);
  Save("x", 5, 1, 1, [](CheckpointManifest& m) { m.metrics["evaluation_loss"] = 2.5; });
  EXPECT_THAT(Names(List("jobs/-")), ElementsAre("5-1", "20-1", "10-1")) << "newest first";
  EXPECT_THAT(Names(List("jobs/x")), ElementsAre("5-1", "10-1"));
  EXPECT_THAT(Names(List("jobs/-", "", "create_time")), ElementsAre("10-1", "20-1", "5-1"));
  EXPECT_THAT(Names(List("jobs/-", "", "step desc")), ElementsAre("20-1", "10-1", "5-1"));
  EXPECT_THAT(Names(List("jobs/-", "", "evaluation_loss")), ElementsAre("5-1", "10-1", "20-1"));
  EXPECT_THAT(Names(List("jobs/-", "", "evaluation_loss desc")), ElementsAre("10-1", "5-1", "20-1"))
      << "those without a value come last either way";
  EXPECT_THAT(Names(List("jobs/-", "", "job desc")), ElementsAre("20-1", "5-1", "10-1"));
  EXPECT_THAT(Names(List("jobs/-", "job=x AND step>=10")), ElementsAre("10-1"));
  EXPECT_THAT(Names(List("jobs/-", "evaluation_loss<3")), ElementsAre("5-1"));
  EXPECT_THAT(Names(List("jobs/-", "pinned=true")), IsEmpty());
  EXPECT_TRUE(Get("jobs/x/checkpoints/5")->evaluated());
  EXPECT_FALSE(Get("jobs/y/checkpoints/20")->evaluated());
  for (const auto& [filter, order] : std::vector<std::pair<std::string, std::string>>{
           {"steps>1", ""}, {"step>", ""}, {"", "note"}, {"", "step up"}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(List("jobs/-", filter, order).status())) << filter << order;
  }
  EXPECT_TRUE(absl::IsNotFound(List("jobs/none").status()));
}

// Ten thousand checkpoints of a hundred jobs: every order, cut into pages of any size, shows each
// once, and as a sort of all of them would.
TEST_F(Checkpoints, PagesOfTenThousandAreWhole) {
  worker_.reset();
  Stop();
  std::mt19937_64 random(wavefield::testing::FreshSeed());
  std::vector<v1::Checkpoint> all;
  {
    auto store = SqliteStore::Open(options_.data_dir / "coordinator.db", {});
    ASSERT_TRUE(store.ok());
    const absl::Status written = (*store)->Write([&](Transaction& transaction) -> absl::Status {
      for (int i = 0; i < 10'000; ++i) {
        const std::string job = "j" + std::to_string(random() % 100);
        v1::Checkpoint& checkpoint = all.emplace_back();
        checkpoint.set_name("jobs/" + job + "/checkpoints/" + std::to_string(i) + "-1");
        checkpoint.set_directory("checkpoints/" + job + "/" + std::to_string(i) + "-1");
        checkpoint.set_step(static_cast<int64_t>(random() % 1000));
        checkpoint.set_loss(static_cast<double>(random() % 100));
        checkpoint.set_fingerprint(std::string(200, 'f'));
        for (int file = 0; file < 8; ++file) {
          auto& entry = *checkpoint.add_files();
          entry.set_path("model-0000" + std::to_string(file) + "-of-00008.safetensors");
          entry.set_sha256(std::string(64, 'a'));
        }
        absl::Status status = transaction.PutCheckpoint(job, checkpoint);
        if (!status.ok()) return status;
      }
      return absl::OkStatus();
    });
    ASSERT_TRUE(written.ok()) << written;
  }
  Restart();
  std::vector<v1::Checkpoint> expected(all.rbegin(), all.rend());
  const auto compare = [&](const std::string& what, const std::string& filter,
                           const std::string& order, int page_size) {
    const auto begin = std::chrono::steady_clock::now();
    const auto listed = List("jobs/-", filter, order, page_size);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ASSERT_TRUE(listed.ok()) << listed.status();
    ASSERT_EQ(listed->size(), expected.size()) << what;
    const double pages = std::ceil(static_cast<double>(listed->size()) / page_size);
    std::printf("%s: %.1f ms a page of %d\n", what.c_str(), 1000 * seconds / pages, page_size);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ((*listed)[i].name(), expected[i].name()) << what << " at " << i;
    }
  };
  compare("newest first", "", "", 1000);
  std::stable_sort(expected.begin(), expected.end(),
                   [](const auto& a, const auto& b) { return a.loss() < b.loss(); });
  compare("by loss", "", "loss", 1000);
  std::stable_sort(expected.begin(), expected.end(), [](const auto& a, const auto& b) {
    return std::stoi(a.name().substr(a.name().rfind('/') + 1)) >
           std::stoi(b.name().substr(b.name().rfind('/') + 1));
  });
  std::erase_if(expected, [](const auto& c) { return c.step() >= 100; });
  compare("filtered", "step<100", "", 100);
}

TEST_F(Checkpoints, ArePinnedAndNoted) {
  StartJob("x");
  const std::string first = Save("x", 1);
  Save("x", 2);
  const auto pinned = Update("jobs/x/checkpoints/1", true, "the good one", {"pinned", "note"});
  ASSERT_TRUE(pinned.ok()) << pinned.status();
  EXPECT_TRUE(pinned->pinned());
  EXPECT_EQ(Get(first)->note(), "the good one");
  EXPECT_EQ(Get("jobs/x/checkpoints/latest")->step(), 2) << "its place in time stays";
  ASSERT_TRUE(Update(first, false, "other", {"note"}).ok());
  EXPECT_TRUE(Get(first)->pinned()) << "only what the mask names is read";
  EXPECT_THAT(Names(List("jobs/-", "note=oth* AND pinned=true")), ElementsAre("1-1"));
  for (int64_t step = 3; step <= 8; ++step) Save("x", step);
  EXPECT_THAT(Names(List("jobs/x")), ElementsAre("8-1", "7-1", "6-1", "1-1"));
  ASSERT_TRUE(Update(first, false, "", {"pinned"}).ok());
  Save("x", 9);
  EXPECT_THAT(Names(List("jobs/x")), ElementsAre("9-1", "8-1", "7-1"));
}

TEST_F(Checkpoints, UpdatesAreChecked) {
  StartJob("x");
  const std::string name = Save("x", 1);
  EXPECT_THAT(Update(name, true, "", {}).status().message(),
              HasSubstr("update_mask: is empty; allowed: pinned, note"));
  EXPECT_THAT(Update(name, true, "", {"pinned", "step"}).status().message(), HasSubstr("'step'"));
  EXPECT_THAT(Update(name, true, std::string(1001, 'a'), {"note"}).status().message(),
              HasSubstr("has 1001 bytes; at most 1000"));
  EXPECT_THAT(Update(name, true, "a\x1b[2J", {"note"}).status().message(),
              HasSubstr("control characters"));
  EXPECT_TRUE(absl::IsNotFound(Update("jobs/x/checkpoints/7", true, "", {"pinned"}).status()));
  EXPECT_FALSE(Get(name)->pinned());

  v1::UpdateCheckpointRequest request;
  request.mutable_checkpoint()->set_name(name);
  request.mutable_checkpoint()->set_note("once");
  request.mutable_update_mask()->add_paths("note");
  request.set_request_id("r1");
  const auto update = [&](v1::Checkpoint& updated) {
    return Call(*checkpoints_, &v1::CheckpointService::Stub::UpdateCheckpoint, request, updated);
  };
  v1::Checkpoint updated, again;
  ASSERT_TRUE(update(updated).ok());
  ASSERT_TRUE(Update(name, false, "meanwhile", {"note"}).ok());
  ASSERT_TRUE(update(again).ok());
  EXPECT_EQ(again.note(), "once");
  EXPECT_EQ(Get(name)->note(), "meanwhile") << "a retry changes nothing";
  request.mutable_checkpoint()->set_note("another");
  EXPECT_TRUE(absl::IsInvalidArgument(update(again)));
}

TEST_F(Checkpoints, VerificationFindsDamageAndWhatIsDamagedIsTheLastToBeResumedFrom) {
  StartJob("x");
  Save("x", 1);
  const std::string second = Save("x", 2);
  const auto sound = Verify(second);
  ASSERT_TRUE(sound.ok()) << sound.status();
  int64_t bytes = 0;
  const v1::Checkpoint catalogued = Get(second).value();
  for (const auto& file : catalogued.files()) bytes += file.bytes();
  EXPECT_EQ(sound->back().verified_bytes(), bytes);
  EXPECT_EQ(sound->back().total_bytes(), bytes);
  EXPECT_TRUE(sound->back().checkpoint().has_verify_time());
  EXPECT_THAT(sound->back().damaged_files(), IsEmpty());
  EXPECT_TRUE(Get(second)->has_verify_time());

  Damage(DirectoryOf(second) / "model-00001-of-00001.safetensors");
  std::filesystem::remove(DirectoryOf(second) / "model.safetensors.index.json");
  const auto damaged = Verify("jobs/x/checkpoints/latest");
  ASSERT_TRUE(damaged.ok()) << damaged.status();
  EXPECT_THAT(
      damaged->back().damaged_files(),
      UnorderedElementsAre("model-00001-of-00001.safetensors: has another SHA-256 than was written",
                           "model.safetensors.index.json: is missing"));
  EXPECT_THAT(Get(second)->damage(), HasSubstr("and 1 more files"));
  EXPECT_THAT(Names(List("jobs/x", "damaged=true")), ElementsAre("2-1"));
  const std::string first_directory = Get("jobs/x/checkpoints/1")->directory();
  const std::string second_directory = Get(second)->directory();
  EXPECT_THAT(Delete("jobs/x/checkpoints/1").ToString(), HasSubstr("newest verified"));
  EXPECT_TRUE(Delete(second, /*validate_only=*/true).ok());

  ASSERT_TRUE(worker_->ReportExit("x/1/0", 1).ok());
  v1::AssignmentList list;
  WaitForJob("x", [&](const v1::Job&) {
    list = worker_->WaitForAssignments(1);
    return list.assignments_size() == 1 && list.assignments(0).task_id() == "x/2/0";
  });
  EXPECT_THAT(list.assignments(0).train().resume_candidates(),
              ElementsAre(first_directory, second_directory));
}

TEST_F(Checkpoints, ARemovedOneIsGoneAndANeededOneStays) {
  StartJob("x");
  const std::string first = Save("x", 1), second = Save("x", 2), third = Save("x", 3);
  ASSERT_TRUE(Update(second, true, "", {"pinned"}).ok());
  EXPECT_THAT(Delete(second).ToString(),
              AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("it is pinned: unpin it first")));
  EXPECT_THAT(Delete(third).ToString(),
              HasSubstr("the newest verified one of a job that can be resumed"));
  EXPECT_TRUE(absl::IsNotFound(Delete("jobs/x/checkpoints/9")));
  EXPECT_TRUE(absl::IsInvalidArgument(Delete("x")));
  const std::filesystem::path directory = DirectoryOf(first);
  ASSERT_TRUE(Delete(first, /*validate_only=*/true).ok());
  EXPECT_TRUE(Get(first).ok());

  v1::DeleteCheckpointRequest request;
  request.set_name(first);
  request.set_request_id("d1");
  v1::Checkpoint deleted;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(
        Call(*checkpoints_, &v1::CheckpointService::Stub::DeleteCheckpoint, request, deleted).ok());
    EXPECT_EQ(deleted.step(), 1) << "a retry gets the first answer";
  }
  WaitUntilRemoved(directory);

  FinishJob("x");
  ASSERT_TRUE(Delete(third).ok()) << "by its name, once the budget is used up";
  EXPECT_EQ(GetJob("x").latest_checkpoint(), second);
}

TEST_F(Checkpoints, ManyAreRemovedByFilterWithAPreview) {
  StartJob("x", [](v1::JobSpec& spec) { spec.mutable_checkpoint()->set_keep_last(100); });
  StartJob("y");
  for (int64_t step = 1; step <= 6; ++step) Save("x", step);
  Save("y", 2);
  FinishJob("y");
  ASSERT_TRUE(Update("jobs/x/checkpoints/3", true, "", {"pinned"}).ok());
  v1::DeleteCheckpointsRequest request;
  request.set_parent("jobs/-");
  const auto remove = [&](v1::DeleteCheckpointsResponse& response) {
    return Call(*checkpoints_, &v1::CheckpointService::Stub::DeleteCheckpoints, request, response);
  };
  v1::DeleteCheckpointsResponse response;
  EXPECT_THAT(remove(response).ToString(), HasSubstr("filter: is empty"));
  request.set_filter("step<5");
  request.set_validate_only(true);
  std::vector<std::string> said;
  for (int i = 0; i < 2; ++i) {
    response.Clear();
    ASSERT_TRUE(remove(response).ok());
    said.clear();
    for (const auto& decision : response.decisions()) {
      said.push_back(decision.checkpoint().name().substr(5) +
                     (decision.removed() ? " goes: " : " stays: ") + decision.reason());
    }
    EXPECT_THAT(
        said, ElementsAre("y/checkpoints/2-1 stays: the newest verified one of its job",
                          "x/checkpoints/4-1 goes: selected", "x/checkpoints/3-1 stays: pinned",
                          "x/checkpoints/2-1 goes: selected", "x/checkpoints/1-1 goes: selected"));
    EXPECT_EQ(List("jobs/x")->size(), i == 0 ? 6u : 3u);
    request.set_validate_only(false);
  }
}

TEST_F(Checkpoints, GarbageIsCollectedByRuleAndOrphansAreListed) {
  StartJob("x", [](v1::JobSpec& spec) { spec.mutable_checkpoint()->set_keep_last(100); });
  for (int64_t step = 1; step <= 4; ++step) Save("x", step);
  FinishJob("x");
  // What jobs are told while they live: here as if it had been changed afterwards.
  worker_.reset();
  Stop();
  {
    auto store = SqliteStore::Open(options_.data_dir / "coordinator.db", {});
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)
                    ->Write([](Transaction& transaction) -> absl::Status {
                      auto record = transaction.GetJob("x");
                      auto& policy = *record->mutable_job()->mutable_spec()->mutable_checkpoint();
                      policy.set_keep_last(1);
                      policy.set_keep_every_steps(3);
                      return transaction.PutJob(*record);
                    })
                    .ok());
  }
  for (const char* orphan :
       {"checkpoints/x/000000000009-000001", "checkpoints/gone/7-1", "checkpoints/gone/8-1"}) {
    ASSERT_TRUE(CreateDirectories(StorageRoot() / orphan).ok());
    ASSERT_TRUE(WriteFileAtomically(StorageRoot() / orphan / "weights", "1234567").ok());
  }
  std::filesystem::create_directory_symlink("/", StorageRoot() / "checkpoints/gone/root");
  Restart();
  ConnectWorker();
  for (const bool validate_only : {true, false}) {
    const auto collected = Collect("jobs/-", validate_only);
    ASSERT_TRUE(collected.ok()) << collected.status();
    std::vector<std::string> reasons, orphans;
    for (const auto& decision : collected->decisions()) reasons.push_back(decision.reason());
    EXPECT_THAT(reasons, ElementsAre("the newest verified one of its job", "step divisible by 3",
                                     "no rule keeps it", "no rule keeps it"));
    EXPECT_EQ(collected->removed_bytes(), collected->decisions(2).checkpoint().bytes() +
                                              collected->decisions(3).checkpoint().bytes());
    EXPECT_TRUE(collected->decisions(2).removed());
    for (const auto& orphan : collected->orphans()) {
      orphans.push_back(orphan.directory());
      EXPECT_EQ(orphan.bytes(), 7) << orphan.directory();
      EXPECT_GT(orphan.modify_time().seconds(), 0);
    }
    EXPECT_THAT(orphans, ElementsAre("checkpoints/gone/7-1", "checkpoints/gone/8-1",
                                     "checkpoints/x/000000000009-000001"));
    EXPECT_EQ(List("jobs/x")->size(), validate_only ? 4u : 2u);
  }
  EXPECT_TRUE(std::filesystem::exists(StorageRoot() / "checkpoints/gone/7-1/weights"));
  EXPECT_EQ(Collect("jobs/x", true)->orphans_size(), 1);
  EXPECT_TRUE(absl::IsNotFound(Collect("jobs/none", true).status()));
}

TEST_F(Checkpoints, WhatIsReadNowIsNotRemoved) {
  StartJob("x", [](v1::JobSpec& spec) { spec.mutable_checkpoint()->set_keep_last(1); });
  const std::string first = Save("x", 1);
  // Larger than what the network takes off the server's hands unread.
  ASSERT_TRUE(WriteFileAtomically(DirectoryOf(first) / "large", std::string(32 << 20, 'x')).ok());
  worker_.reset();
  Stop();
  {
    auto store = SqliteStore::Open(options_.data_dir / "coordinator.db", {});
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)
                    ->Write([&](Transaction& transaction) -> absl::Status {
                      auto checkpoint = transaction.GetCheckpoint(first);
                      auto& file = *checkpoint->add_files();
                      file.set_path("large");
                      file.set_bytes(32 << 20);
                      return transaction.PutCheckpoint("x", *checkpoint);
                    })
                    .ok());
  }
  Restart();
  worker_ = std::make_unique<FakeWorker>("a", "a1", 4, ReadFile(StorageRoot() / "probe").value());
  ASSERT_TRUE(worker_->Connect(channel_, {"x/1/0"}).ok());
  const std::filesystem::path directory = DirectoryOf(first);
  grpc::ClientContext context;
  v1::DownloadCheckpointRequest request;
  request.set_name(first);
  const auto download = checkpoints_->DownloadCheckpoint(&context, request);
  v1::DownloadCheckpointResponse response;
  ASSERT_TRUE(download->Read(&response));
  Save("x", 2);
  EXPECT_THAT(Names(List("jobs/x")), ElementsAre("2-1", "1-1")) << "retention waits for it";
  EXPECT_THAT(Delete(first).ToString(), HasSubstr("downloads read it now"));
  while (download->Read(&response)) continue;
  EXPECT_TRUE(download->Finish().ok());
  Save("x", 3);
  EXPECT_THAT(Names(List("jobs/x")), ElementsAre("3-1"));
  WaitUntilRemoved(directory);
}

}  // namespace
}  // namespace wavefield::coordinator
