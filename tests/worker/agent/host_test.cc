#include "worker/agent/host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/agent/fake_tasks.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;

const auto never = [] { return false; };

TEST(Host, TheDefaultNameIsValid) { EXPECT_TRUE(CheckWorkerName(DefaultWorkerName()).ok()); }

TEST(Host, RefusesNamesTheCoordinatorWould) {
  EXPECT_TRUE(CheckWorkerName("gpu-7.cluster").ok());
  for (const std::string& bad : {std::string(), std::string("7up"), std::string("A"),
                                 std::string("a_b"), std::string("a/b"), std::string(64, 'a')}) {
    EXPECT_EQ(CheckWorkerName(bad).code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Host, HasThreadsAndMemory) {
  EXPECT_GE(HardwareThreads(), 1);
  EXPECT_GT(TotalMemory(), int64_t{64} << 20);
}

TEST(Host, ALocalCoordinatorIsReachedFromLoopback) {
  for (const char* address : {"localhost:7070", "127.0.0.1:7070", "[::1]:7070", "unix:/run/x"}) {
    EXPECT_EQ(AddressTowards(address).value_or("error"), "127.0.0.1") << address;
  }
}

TEST(Host, AnUnknownCoordinatorIsAnErrorThatSaysWhatToDo) {
  const auto address = AddressTowards("no-such-host.invalid:7070");
  EXPECT_EQ(address.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(address.status().message()), HasSubstr("--advertise-address"));
}

TEST(Host, TheRateIsWhatTheTrainerTells) {
  EXPECT_EQ(MeasureSlotRate(FakeTrainerProgram(), 1, never).value_or(0), 1.5e11);
}

TEST(Host, ATrainerThatTellsNoRateIsAnError) {
  EXPECT_EQ(MeasureSlotRate("/bin/echo", 1, never).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(MeasureSlotRate("/no/such/program", 1, never).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Host, MeasuringEndsWhenCancelled) {
  EXPECT_EQ(MeasureSlotRate("/usr/bin/yes", 1, [] { return true; }).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace wavefield
