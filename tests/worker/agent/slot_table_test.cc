#include "worker/agent/slot_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace wavefield {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const SlotTable::Gate kOpen = [](int) { return absl::OkStatus(); };

v1::Assignment Task(const std::string& id, int slot, bool stop = false) {
  v1::Assignment assignment;
  assignment.set_task_id(id);
  assignment.set_slot(slot);
  assignment.mutable_train()->set_job("jobs/a");
  assignment.set_stop_requested(stop);
  return assignment;
}

v1::AssignmentList List(const std::vector<v1::Assignment>& assignments) {
  v1::AssignmentList list;
  for (const v1::Assignment& assignment : assignments) *list.add_assignments() = assignment;
  return list;
}

std::vector<std::string> Started(const SlotActions& actions) {
  std::vector<std::string> ids;
  for (const v1::Assignment& assignment : actions.start) ids.push_back(assignment.task_id());
  return ids;
}

TEST(SlotTable, StartsEachTaskOnce) {
  SlotTable table(2);
  table.Want(List({Task("a/1/0", 0), Task("a/1/1", 1)}));
  EXPECT_THAT(Started(table.Next(kOpen)), ElementsAre("a/1/0", "a/1/1"));
  EXPECT_THAT(Started(table.Next(kOpen)), IsEmpty());
  table.Want(List({Task("a/1/0", 0), Task("a/1/1", 1)}));
  EXPECT_THAT(Started(table.Next(kOpen)), IsEmpty());
  table.Ended("a/1/0", 5);
  EXPECT_THAT(Started(table.Next(kOpen)), IsEmpty()) << "a task that ended is not started again";
}

TEST(SlotTable, ATaskWaitsUntilItsSlotIsFree) {
  SlotTable table(1);
  table.Want(List({Task("a/1/0", 0)}));
  table.Next(kOpen);
  table.Want(List({Task("a/2/0", 0)}));
  const SlotActions actions = table.Next(kOpen);
  EXPECT_THAT(actions.end, ElementsAre("a/1/0"));
  EXPECT_THAT(Started(actions), IsEmpty());
  EXPECT_THAT(table.Next(kOpen).end, IsEmpty()) << "ended once";
  table.Ended("a/1/0", 1);
  EXPECT_THAT(Started(table.Next(kOpen)), ElementsAre("a/2/0"));
}

TEST(SlotTable, ATaskWaitsWhileItsSlotIsHeldAndIsRefusedWhenThatDoesNotEnd) {
  SlotTable table(2);
  table.Want(List({Task("a/1/0", 0), Task("a/1/1", 1)}));
  absl::Status gate_of_1 = absl::UnavailableError("2 GiB are used");
  const auto gate = [&](int slot) { return slot == 1 ? gate_of_1 : absl::OkStatus(); };
  EXPECT_THAT(Started(table.Next(gate)), ElementsAre("a/1/0"));
  EXPECT_TRUE(table.HeldUp());
  gate_of_1 = absl::FailedPreconditionError("2 GiB are still used");
  const SlotActions actions = table.Next(gate);
  ASSERT_EQ(actions.refuse.size(), 1u);
  EXPECT_EQ(actions.refuse[0].first.task_id(), "a/1/1");
  EXPECT_EQ(actions.refuse[0].second, "2 GiB are still used");
  EXPECT_FALSE(table.HeldUp());
  EXPECT_THAT(table.Next(gate).refuse, IsEmpty());
}

TEST(SlotTable, AsksToStopOnce) {
  SlotTable table(2);
  table.Want(List({Task("a/1/0", 0), Task("b/1/0", 1, true)}));
  const SlotActions first = table.Next(kOpen);
  EXPECT_THAT(Started(first), ElementsAre("a/1/0", "b/1/0"));
  EXPECT_THAT(first.stop, ElementsAre("b/1/0"));
  table.Want(List({Task("a/1/0", 0, true), Task("b/1/0", 1, true)}));
  EXPECT_THAT(table.Next(kOpen).stop, ElementsAre("a/1/0"));
  EXPECT_THAT(table.Next(kOpen).stop, IsEmpty());
}

TEST(SlotTable, RemembersWhatEndedUntilUnwantedAndAcknowledged) {
  SlotTable table(1);
  table.Want(List({Task("a/1/0", 0)}));
  table.Next(kOpen);
  table.Ended("a/1/0", 7);
  table.Want({});
  EXPECT_THAT(table.Unacknowledged(), ElementsAre("a/1/0"));
  table.Want(List({Task("a/1/0", 0)}));
  EXPECT_THAT(Started(table.Next(kOpen)), IsEmpty()) << "a list from before the exit was known";
  table.Acknowledge(7);
  EXPECT_THAT(table.Unacknowledged(), IsEmpty());
  EXPECT_THAT(Started(table.Next(kOpen)), IsEmpty()) << "still in the list";
}

TEST(SlotTable, RefusesWhatCanNeverRunHere) {
  const auto reason = [](const v1::Assignment& assignment) {
    SlotTable table(2);
    table.Want(List({assignment}));
    const SlotActions actions = table.Next(kOpen);
    EXPECT_THAT(actions.start, IsEmpty());
    return actions.refuse.empty() ? "" : actions.refuse[0].second;
  };
  EXPECT_THAT(reason(Task("a/1/0", 2)), HasSubstr("slot 2"));
  EXPECT_THAT(reason(Task("a/1/0", -1)), HasSubstr("slot -1"));
  EXPECT_THAT(reason(Task("a/../0", 0)), HasSubstr("task id"));
  v1::Assignment bad_job = Task("a/1/0", 0);
  bad_job.mutable_train()->set_job("jobs/..");
  EXPECT_THAT(reason(bad_job), HasSubstr("name of a job"));
  v1::Assignment unknown = Task("a/1/0", 0);
  unknown.clear_task();
  EXPECT_THAT(reason(unknown), HasSubstr("kind"));
}

TEST(IsValidTaskId, AcceptsWhatIsSafeAsARelativePath) {
  EXPECT_TRUE(IsValidTaskId("my-job.2/12/0"));
  EXPECT_TRUE(IsValidTaskId("inference/4f_2"));
  for (const char* bad : {"", "/a", "a/", "a//b", "..", "a/..", "a/.b", "a b", "a\\b"}) {
    EXPECT_FALSE(IsValidTaskId(bad)) << bad;
  }
  EXPECT_FALSE(IsValidTaskId(std::string(257, 'a')));
}

}  // namespace
}  // namespace wavefield
