// The commands about checkpoints, run as programs against a fake coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"
#include "tests/cli/hostile_text.h"
#include "tests/cli/terminal_program.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

v1::Checkpoint MakeCheckpoint(const std::string& job, int64_t step) {
  v1::Checkpoint checkpoint;
  checkpoint.set_name("jobs/" + job + "/checkpoints/" + std::to_string(step) + "-1");
  checkpoint.set_step(step);
  checkpoint.set_attempt(1);
  checkpoint.set_bytes(3 << 20);
  checkpoint.set_loss(2.5);
  checkpoint.mutable_create_time()->set_seconds(absl::ToUnixSeconds(absl::Now()) - 3 * 86400 - 60);
  return checkpoint;
}

class CheckpointVerbsTest : public testing::Test {
 protected:
  CheckpointVerbsTest() {
    // "latest" is step 40; the job "missing" has none.
    cluster_.get_checkpoint = [](const v1::GetCheckpointRequest& request, v1::Checkpoint& answer) {
      const std::string& name = request.name();
      if (name.starts_with("jobs/missing/")) {
        return grpc::Status(grpc::StatusCode::NOT_FOUND, "no checkpoint " + name);
      }
      const std::string id = name.substr(name.rfind('/') + 1);
      answer = MakeCheckpoint(name.substr(5, name.find('/', 5) - 5),
                              id == "latest" ? 40 : std::stoll(id));
      return grpc::Status::OK;
    };
  }
  CommandResult Run(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), "checkpoints");
    return RunWavefield(cluster_.address(), std::move(arguments), input);
  }

  FakeCluster cluster_;
};

TEST_F(CheckpointVerbsTest, TheListIsFilteredOrderedAndShownInUtcWhereWide) {
  std::vector<v1::ListCheckpointsRequest> requests;
  cluster_.list_checkpoints = [&](const v1::ListCheckpointsRequest& request,
                                  v1::ListCheckpointsResponse& response) {
    requests.push_back(request);
    *response.add_checkpoints() = MakeCheckpoint("first", 40);
    v1::Checkpoint& damaged = *response.add_checkpoints();
    damaged = MakeCheckpoint("first", 20);
    damaged.set_pinned(true);
    damaged.set_damage("model.safetensors is not as it was written");
    damaged.set_note(kHostileText);
    damaged.set_evaluated(true);
    damaged.set_evaluation_loss(0);
    damaged.set_fingerprint("cpu avx2");
    return grpc::Status::OK;
  };
  const CommandResult result =
      Run({"list", "first", "--filter", "step>=20", "--order-by", "loss desc"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(requests[0].parent(), "jobs/first");
  EXPECT_EQ(requests[0].filter(), "step>=20");
  EXPECT_EQ(requests[0].order_by(), "loss desc");
  EXPECT_THAT(result.out, ContainsRegex("first@40-1 +40 +1 +2.5000 +- +0 +3.0 MiB +3 days ago\n"));
  EXPECT_THAT(result.out, ContainsRegex("first@20-1 .* 0.0000 .* pinned, damaged +model.safe"));
  EXPECT_THAT(result.out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(result.out, Not(HasSubstr("cpu avx2")));
  const CommandResult wide = Run({"list", "--output", "wide"});
  EXPECT_EQ(requests[1].parent(), "jobs/-");
  EXPECT_THAT(wide.out, ContainsRegex("20..-..-..T..:..:..Z"));
  EXPECT_THAT(wide.out, HasSubstr("cpu avx2"));
  EXPECT_EQ(Run({"list", "--limit", "1", "--output", "names"}).out, "first@40-1\n");
}

TEST_F(CheckpointVerbsTest, ShowTellsWhetherItWasVerified) {
  const CommandResult result = Run({"show", "first"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ContainsRegex("checkpoint +first@40-1\n"));
  EXPECT_THAT(result.out, ContainsRegex("verified +not since it was written\n"));
  EXPECT_EQ(Run({"show", "missing"}).exit_code, 3);
  EXPECT_EQ(Run({"show", "first@x"}).exit_code, 2);
}

TEST_F(CheckpointVerbsTest, PinNoteAndUnpinChangeOnlyWhatTheySay) {
  std::vector<v1::UpdateCheckpointRequest> updates;
  cluster_.update_checkpoint = [&](const v1::UpdateCheckpointRequest& request,
                                   v1::Checkpoint& answer) {
    updates.push_back(request);
    answer = request.checkpoint();
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"pin", "first", "--note", "the\nbest"}).out, "first@40-1 pinned: the best\n");
  EXPECT_EQ(Run({"unpin", "first@20"}).out, "first@20-1 is no longer pinned\n");
  EXPECT_EQ(Run({"note", "first@20", ""}).out, "first@20-1 has no note\n");
  EXPECT_EQ(Run({"pin", "missing"}).exit_code, 3);
  ASSERT_EQ(updates.size(), 3u);
  EXPECT_EQ(updates[0].checkpoint().name(), "jobs/first/checkpoints/40-1");
  EXPECT_THAT(updates[0].update_mask().paths(), ElementsAre("pinned", "note"));
  EXPECT_THAT(updates[1].update_mask().paths(), ElementsAre("pinned"));
  EXPECT_THAT(updates[2].update_mask().paths(), ElementsAre("note"));
  EXPECT_FALSE(updates[0].request_id().empty());
  EXPECT_EQ(Run({"note", "first@20", "good"}).out, "first@20-1: good\n");
}

TEST_F(CheckpointVerbsTest, VerifyFailsWhereFilesAreDamaged) {
  std::atomic<bool> damaged = false;
  cluster_.verify_checkpoint = [&](const v1::VerifyCheckpointRequest& request,
                                   grpc::ServerWriter<v1::VerifyCheckpointResponse>& writer) {
    EXPECT_EQ(request.name(), "jobs/first/checkpoints/40-1");
    v1::VerifyCheckpointResponse response;
    response.set_verified_bytes(1 << 20);
    response.set_total_bytes(3 << 20);
    writer.Write(response);
    response.set_verified_bytes(3 << 20);
    *response.mutable_checkpoint() = MakeCheckpoint("first", 40);
    if (damaged) {
      response.mutable_checkpoint()->set_damage("1 of 3 files");
      response.add_damaged_files(kHostileText);
    }
    writer.Write(response);
    return grpc::Status::OK;
  };
  const CommandResult good = Run({"verify", "first"});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("as they were written, 3.0 MiB"));
  damaged = true;
  const CommandResult bad = Run({"verify", "first"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.out, HasSubstr("first@40-1 DAMAGED: 1 of 3 files\n"));
  EXPECT_THAT(bad.out, Not(HasSubstr("\x1b")));
  EXPECT_EQ(json::parse(Run({"verify", "first", "--json"}).out)["damaged_files"].size(), 1u);
}

TEST_F(CheckpointVerbsTest, DeleteOfNamedOnesIsAllOrNone) {
  std::vector<std::string> removed;
  cluster_.delete_checkpoint = [&](const v1::DeleteCheckpointRequest& request,
                                   v1::Checkpoint& answer) {
    if (request.name().ends_with("/40-1")) {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "first@40-1 is pinned");
    }
    if (!request.validate_only()) removed.push_back(request.name());
    answer.set_name(request.name());
    return grpc::Status::OK;
  };
  const CommandResult refused = Run({"delete", "first@20", "first@40", "--yes"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, ContainsRegex("first@40-1 .* kept +first@40-1 is pinned"));
  EXPECT_THAT(refused.err, HasSubstr("Nothing was removed"));
  const CommandResult unsure = Run({"delete", "first@20"});
  EXPECT_EQ(unsure.exit_code, 2);
  EXPECT_THAT(unsure.err, HasSubstr("Remove 1 checkpoint, 3.0 MiB, for good?"));
  EXPECT_EQ(Run({"delete", "first@20", "--dry-run"}).exit_code, 0);
  for (const char* job : {"first", "jobs/first"}) {
    const CommandResult newest = Run({"delete", job, "--yes"});
    EXPECT_EQ(newest.exit_code, 2) << job;
    EXPECT_THAT(newest.err, HasSubstr("first@STEP"));
  }
  EXPECT_THAT(removed, ElementsAre());
  EXPECT_EQ(Run({"delete", "first@20", "jobs/first/checkpoints/20-1", "--yes"}).out,
            "first@20-1 removed\n");
  EXPECT_THAT(removed, ElementsAre("jobs/first/checkpoints/20-1")) << "named twice, removed once";
  EXPECT_EQ(Run({"delete"}).exit_code, 2);
}

TEST_F(CheckpointVerbsTest, DeleteOfNamedOnesTellsOfEachWhatCameOfIt) {
  cluster_.delete_checkpoint = [](const v1::DeleteCheckpointRequest& request, v1::Checkpoint&) {
    if (!request.validate_only() && request.name().ends_with("/30-1")) {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "pinned by now");
    }
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"delete", "first@20", "first@30", "first@40", "--yes"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "first@20-1 removed\nfirst@40-1 removed\n");
  EXPECT_THAT(result.err, HasSubstr("first@30-1 not removed: pinned by now\n"));
}

TEST_F(CheckpointVerbsTest, DeleteByFilterSaysWhatStays) {
  std::vector<v1::DeleteCheckpointsRequest> requests;
  cluster_.delete_checkpoints = [&](const v1::DeleteCheckpointsRequest& request,
                                    v1::DeleteCheckpointsResponse& response) {
    requests.push_back(request);
    for (const int64_t step : {40, 20}) {
      v1::CheckpointDecision& decision = *response.add_decisions();
      *decision.mutable_checkpoint() = MakeCheckpoint("first", step);
      decision.set_removed(step == 20);
      decision.set_reason(step == 20 ? "selected" : "needed by jobs/second");
    }
    response.set_more(true);
    return grpc::Status::OK;
  };
  const CommandResult unsure = Run({"delete", "first", "--filter", "step<50"});
  EXPECT_EQ(unsure.exit_code, 2);
  EXPECT_THAT(unsure.err, ContainsRegex("first@40-1 .*kept +needed by jobs/second"));
  const CommandResult done = Run({"delete", "first", "--filter", "step<50", "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, ContainsRegex("first@20-1 .*removed +selected"));
  EXPECT_THAT(done.err, HasSubstr("There are more"));
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[2].parent(), "jobs/first");
  EXPECT_FALSE(requests[2].validate_only());
  EXPECT_TRUE(requests[1].validate_only());
  EXPECT_EQ(Run({"delete", "a", "b", "--filter", "step<50"}).exit_code, 2);
}

TEST_F(CheckpointVerbsTest, GcGivesAReasonForEachAndListsOrphans) {
  std::atomic<int> collected = 0;
  cluster_.collect_garbage = [&](const v1::CollectGarbageRequest& request,
                                 v1::CollectGarbageResponse& response) {
    if (!request.validate_only()) ++collected;
    EXPECT_EQ(request.parent(), "jobs/-");
    for (const int64_t step : {40, 20}) {
      v1::CheckpointDecision& decision = *response.add_decisions();
      *decision.mutable_checkpoint() = MakeCheckpoint("first", step);
      decision.set_removed(step == 20);
      decision.set_reason(step == 20 ? "no rule keeps it" : "one of the newest 3");
    }
    response.set_removed_bytes(3 << 20);
    v1::OrphanDirectory& orphan = *response.add_orphans();
    orphan.set_directory("checkpoints/old");
    orphan.set_message(kHostileText);
    return grpc::Status::OK;
  };
  const CommandResult dry = Run({"gc", "--dry-run"});
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(dry.out, ContainsRegex("first@20-1 .*removed +no rule keeps it"));
  EXPECT_THAT(dry.out, ContainsRegex("first@40-1 .*kept +one of the newest 3"));
  EXPECT_THAT(dry.out, HasSubstr("checkpoints/old"));
  EXPECT_THAT(dry.out, Not(HasSubstr("\x1b")));
  EXPECT_EQ(Run({"gc"}).exit_code, 2);
  EXPECT_EQ(collected, 0);
  EXPECT_EQ(Run({"gc", "--yes"}).out, "removed 1 checkpoint, 3.0 MiB\n");
  EXPECT_EQ(collected, 1);
}

TEST_F(CheckpointVerbsTest, OnATerminalNothingIsRemovedThatWasNotShown) {
  std::vector<std::string> removed;
  cluster_.delete_checkpoint = [&](const v1::DeleteCheckpointRequest& request, v1::Checkpoint&) {
    if (request.name().ends_with("/30-1")) {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "pinned by now");
    }
    removed.push_back(request.name());
    return grpc::Status::OK;
  };
  const auto decide = [](const auto& request, auto& response) {
    EXPECT_TRUE(request.validate_only());
    for (const int64_t step : {40, 30, 20}) {
      v1::CheckpointDecision& decision = *response.add_decisions();
      *decision.mutable_checkpoint() = MakeCheckpoint("first", step);
      decision.set_removed(step != 40);
    }
    return grpc::Status::OK;
  };
  cluster_.delete_checkpoints = decide;
  cluster_.collect_garbage = [&](const v1::CollectGarbageRequest& request,
                                 v1::CollectGarbageResponse& response) {
    response.set_removed_bytes(6 << 20);
    return decide(request, response);
  };
  for (const std::vector<std::string>& what :
       {std::vector<std::string>{"delete", "--filter", "step<50"}, {"gc"}}) {
    std::vector<std::string> arguments = {"checkpoints"};
    arguments.insert(arguments.end(), what.begin(), what.end());
    removed.clear();
    TerminalProgram terminal(cluster_.address(), arguments, TerminalProgram::Streams::kAll);
    terminal.WaitFor("Remove 2 checkpoints, 6.0 MiB, for good? [y/N]");
    terminal.Type("y\n");
    EXPECT_EQ(terminal.Finish(), 0);
    EXPECT_THAT(removed, ElementsAre("jobs/first/checkpoints/20-1"));
    EXPECT_THAT(terminal.output(),
                HasSubstr(what[0] == "gc" ? "removed 1 checkpoint, 3.0 MiB" : "pinned by now"));
  }
}

TEST_F(CheckpointVerbsTest, DiffPutsWhatMovedFurthestFirst) {
  cluster_.diff_checkpoints = [](const v1::DiffCheckpointsRequest& request,
                                 v1::DiffCheckpointsResponse& response) {
    EXPECT_EQ(request.a(), "jobs/a/checkpoints/latest");
    EXPECT_EQ(request.b(), "jobs/b/checkpoints/7");
    *response.mutable_a() = MakeCheckpoint("a", 40);
    *response.mutable_b() = MakeCheckpoint("b", 7);
    v1::SettingDifference& setting = *response.add_settings();
    setting.set_path("training.schedule.learning_rate");
    setting.set_a("0.001");
    response.set_relative_distance(0.125);
    for (int i = 0; i < 30; ++i) {
      v1::TensorDifference& tensor = *response.add_tensors();
      tensor.set_name("layer." + std::to_string(i));
      tensor.set_shape_a("[64]");
      tensor.set_shape_b(i == 3 ? "" : "[64]");
      tensor.set_relative_distance(i);
    }
    return grpc::Status::OK;
  };
  const CommandResult result = Run({"diff", "a", "b@7"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ContainsRegex("training.schedule.learning_rate +0.001 +-\n"));
  EXPECT_THAT(result.out, HasSubstr("relative distance 0.125 over 30 tensors; the 20"));
  EXPECT_THAT(result.out, ContainsRegex("LARGEST DIFFERENCE\nlayer.3 +.64. / none .*\nlayer.29 "));
  EXPECT_THAT(result.out, Not(HasSubstr("layer.5 ")));
  EXPECT_THAT(Run({"diff", "a", "b@7", "--output", "wide"}).out, HasSubstr("layer.5 "));
}

TEST_F(CheckpointVerbsTest, LineageIsDrawnAsATree) {
  cluster_.get_lineage = [](const v1::GetLineageRequest& request, v1::Lineage& lineage) {
    EXPECT_EQ(request.name(), "jobs/fork");
    const auto add = [&](const std::string& name, const std::string& parent) -> auto& {
      v1::LineageNode& node = *lineage.add_nodes();
      node.set_name(name);
      node.set_parent(parent);
      node.set_attempt(1);
      node.set_loss(2);
      return node;
    };
    add("jobs/a/checkpoints/10-1", "").set_removed(true);
    add("jobs/a/checkpoints/20-1", "jobs/a/checkpoints/10-1").set_pinned(true);
    add("jobs/fork/checkpoints/5-1", "jobs/a/checkpoints/20-1").set_fork(true);
    add("jobs/fork/checkpoints/10-1", "jobs/fork/checkpoints/5-1");
    add("jobs/a/checkpoints/30-1", "jobs/a/checkpoints/20-1");
    add("jobs/own/checkpoints/1-1", "jobs/gone/checkpoints/9-1");
    // Two that name each other: nothing to draw, and no reason to hang.
    add("jobs/x/checkpoints/1-1", "jobs/y/checkpoints/1-1");
    add("jobs/y/checkpoints/1-1", "jobs/x/checkpoints/1-1");
    return grpc::Status::OK;
  };
  const std::string drawn =
      RunCommand({(ProgramDirectory() / "wavefield").string(), "checkpoints", "lineage", "fork"},
                 {"WAVEFIELD_ADDRESS=" + cluster_.address(), "LC_ALL=C.UTF-8"})
          .out;
  EXPECT_EQ(drawn,
            "● a@10-1  attempt 1  loss 2.0000  removed\n"
            "● a@20-1  attempt 1  loss 2.0000  pinned\n"
            "├─ ● fork@5-1  attempt 1  loss 2.0000  fork  *\n"
            "│  ● fork@10-1  attempt 1  loss 2.0000  *\n"
            "└─ ● a@30-1  attempt 1  loss 2.0000\n"
            "\n"
            "● own@1-1  attempt 1  loss 2.0000\n");
  const std::string plain =
      RunCommand({(ProgramDirectory() / "wavefield").string(), "checkpoints", "lineage", "fork"},
                 {"WAVEFIELD_ADDRESS=" + cluster_.address(), "LC_ALL=C"})
          .out;
  EXPECT_THAT(plain, HasSubstr("|- o fork@5-1"));
  EXPECT_TRUE(std::all_of(plain.begin(), plain.end(), [](char c) { return c >= 0; }));
}

}  // namespace
}  // namespace wavefield
