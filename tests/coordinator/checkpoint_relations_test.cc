// What two checkpoints differ in, and where a checkpoint comes from, over gRPC.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/coordinator/checkpoint_fixture.h"

namespace wavefield::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Relations : public CheckpointFixture {
 protected:
  absl::StatusOr<v1::DiffCheckpointsResponse> Diff(const std::string& a, const std::string& b) {
    v1::DiffCheckpointsRequest request;
    request.set_a(a);
    request.set_b(b);
    v1::DiffCheckpointsResponse response;
    const absl::Status status =
        Call(*checkpoints_, &v1::CheckpointService::Stub::DiffCheckpoints, request, response);
    return status.ok() ? absl::StatusOr<v1::DiffCheckpointsResponse>(response) : status;
  }

  absl::StatusOr<v1::Lineage> LineageOf(const std::string& name) {
    v1::GetLineageRequest request;
    request.set_name(name);
    v1::Lineage lineage;
    const absl::Status status =
        Call(*checkpoints_, &v1::CheckpointService::Stub::GetLineage, request, lineage);
    return status.ok() ? absl::StatusOr<v1::Lineage>(lineage) : status;
  }
};

TEST_F(Relations, AreComparedBySettingsAndWeights) {
  StartJob("x");
  StartJob("y", [](v1::JobSpec& spec) {
    spec.mutable_training()->mutable_schedule()->set_learning_rate(0.5);
  });
  const std::string a = Save("x", 1, 1, 1.0f), b = Save("y", 1, 1, 1.5f);
  const auto diff = Diff(a, b);
  ASSERT_TRUE(diff.ok()) << diff.status();
  EXPECT_EQ(diff->a().name(), a);
  ASSERT_EQ(diff->settings_size(), 1) << diff->ShortDebugString();
  EXPECT_EQ(diff->settings(0).path(), "training.schedule.learning_rate");
  EXPECT_EQ(diff->settings(0).b(), "0.5");
  ASSERT_EQ(diff->tensors_size(), 2) << "the optimizer's state is not compared";
  for (const auto& tensor : diff->tensors()) {
    const double elements = tensor.name() == "norm.weight" ? 8 : 512;
    EXPECT_EQ(tensor.shape_a(), tensor.name() == "norm.weight" ? "[8]" : "[64, 8]");
    // Each differs by a half of itself; one element is twice the others.
    EXPECT_NEAR(tensor.distance(), 0.5 * std::sqrt(elements + 3), 1e-12);
    EXPECT_NEAR(tensor.relative_distance(), 0.5, 1e-12);
    EXPECT_NEAR(tensor.max_difference(), 1.0, 1e-12);
  }
  EXPECT_NEAR(diff->relative_distance(), 0.5, 1e-12);

  const auto same = Diff(a, "jobs/x/checkpoints/latest");
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->settings_size(), 0);
  EXPECT_EQ(same->relative_distance(), 0);

  Damage(DirectoryOf(b) / "manifest.json");
  const absl::Status damaged = Diff(a, b).status();
  EXPECT_TRUE(absl::IsDataLoss(damaged));
  EXPECT_THAT(damaged.ToString(),
              AllOf(HasSubstr("manifest.json of " + b), Not(HasSubstr(StorageRoot().string()))));
  EXPECT_TRUE(absl::IsNotFound(Diff(a, "jobs/x/checkpoints/77").status()));
}

TEST_F(Relations, LineageGoesOverAttemptsForksAndWhatWasRemoved) {
  StartJob("x", [](v1::JobSpec& spec) { spec.mutable_checkpoint()->set_keep_last(1); });
  Save("x", 1);
  const std::string second = Save("x", 2);
  const std::string second_directory = Get(second)->directory();
  ASSERT_TRUE(worker_->ReportExit("x/1/0", 1).ok());
  WaitForJob("x", [](const v1::Job& job) { return job.attempt() == 2; });
  ASSERT_TRUE(worker_->ReportStarted("x/2/0").ok());
  ASSERT_TRUE(worker_->ReportTraining("x/2/0", second_directory).ok());
  Save("x", 3, 2);
  const std::string fourth = Save("x", 4, 2);
  EXPECT_EQ(Get(fourth)->parent(), second);
  EXPECT_TRUE(absl::IsNotFound(Get(second).status())) << "keep_last is 1";

  StartJob("y", [&](v1::JobSpec& spec) { spec.set_init_from(fourth); });
  EXPECT_THAT(Delete(fourth).ToString(), HasSubstr("FAILED_PRECONDITION"));
  Save("x", 5, 2);
  EXPECT_TRUE(Get(fourth).ok()) << "jobs/y starts from it";
  const std::string forked = Save("y", 1);
  EXPECT_EQ(Get(forked)->parent(), fourth);
  StartJob("z");
  Save("z", 1);

  for (const std::string& of : {std::string("jobs/x"), std::string("jobs/y"), forked, fourth}) {
    const auto lineage = LineageOf(of);
    ASSERT_TRUE(lineage.ok()) << lineage.status();
    std::vector<std::string> shown;
    for (const auto& node : lineage->nodes()) {
      shown.push_back(node.name().substr(5) + (node.removed() ? " removed" : "") +
                      (node.fork() ? " fork" : "") +
                      (node.parent().empty() ? "" : " of " + node.parent().substr(5)));
    }
    EXPECT_THAT(shown,
                ElementsAre("x/checkpoints/2-1 removed", "x/checkpoints/4-2 of x/checkpoints/2-1",
                            "x/checkpoints/5-2 of x/checkpoints/4-2",
                            "y/checkpoints/1-1 fork of x/checkpoints/4-2"))
        << of;
  }
  EXPECT_EQ(LineageOf("jobs/z")->nodes_size(), 1);
  EXPECT_TRUE(absl::IsNotFound(LineageOf("jobs/none").status()));
  EXPECT_TRUE(absl::IsNotFound(LineageOf("jobs/x/checkpoints/77").status()));
}

}  // namespace
}  // namespace wavefield::coordinator
