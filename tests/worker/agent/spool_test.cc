#include "worker/agent/spool.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <random>

#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

using ::testing::HasSubstr;

v1::WorkerEvent Warning(const std::string& text) {
  v1::WorkerEvent event;
  event.set_task_id("a/1/0");
  event.mutable_trainer()->set_warning(text);
  return event;
}

v1::WorkerEvent Step(int64_t step) {
  v1::WorkerEvent event;
  event.set_task_id("a/1/0");
  event.mutable_trainer()->mutable_step()->set_step(step);
  return event;
}

std::vector<std::filesystem::path> Segments(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".segment") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

class SpoolTest : public ::testing::Test {
 protected:
  std::unique_ptr<Spool> Open(int64_t segment_bytes = 4 << 20, int64_t limit_bytes = 1 << 30) {
    auto spool = Spool::Open({directory_.path(), segment_bytes, limit_bytes});
    EXPECT_TRUE(spool.ok()) << spool.status();
    return *std::move(spool);
  }

  // Texts of all events after `after`, read in batches, checking that no sequence is missing.
  std::vector<std::string> ReadAll(Spool& spool, int64_t after, int batch = 1000) {
    std::vector<std::string> texts;
    for (auto events = spool.Read(after, batch, 1 << 20); !events.empty();
         events = spool.Read(after, batch, 1 << 20)) {
      for (const v1::WorkerEvent& event : events) {
        EXPECT_EQ(event.sequence(), ++after);
        texts.push_back(event.trainer().warning());
      }
    }
    return texts;
  }

  // Appends "1" … "n" and syncs.
  void Fill(Spool& spool, int n) {
    for (int i = 1; i <= n; ++i) spool.Append(Warning(std::to_string(i)));
    ASSERT_TRUE(spool.Sync().ok());
  }

  std::vector<std::string> Numbers(int first, int last) {
    std::vector<std::string> texts;
    for (int i = first; i <= last; ++i) texts.push_back(std::to_string(i));
    return texts;
  }

  TemporaryDirectory directory_;
};

TEST_F(SpoolTest, TenThousandEventsComeBackInOrderAfterARestart) {
  {
    const auto spool = Open(64 << 10);
    for (int i = 1; i <= 10000; ++i) {
      EXPECT_EQ(spool->Append(Warning(std::to_string(i))), i);
      if (i % 100 == 0) {
        ASSERT_TRUE(spool->Sync().ok());
      }
    }
    EXPECT_EQ(ReadAll(*spool, 0, 77), Numbers(1, 10000));
  }
  EXPECT_GT(Segments(directory_.path()).size(), 3u);
  const auto spool = Open(64 << 10);
  EXPECT_EQ(spool->last_sequence(), 10000);
  EXPECT_EQ(ReadAll(*spool, 0), Numbers(1, 10000));
  EXPECT_EQ(ReadAll(*spool, 9990, 3), Numbers(9991, 10000));
  EXPECT_EQ(spool->Append(Warning("10001")), 10001);
  ASSERT_TRUE(spool->Sync().ok());
  EXPECT_EQ(ReadAll(*spool, 9998), Numbers(9999, 10001));
}

TEST_F(SpoolTest, EventsCanBeReadOnceTheyAreOnDisk) {
  const auto spool = Open();
  Fill(*spool, 3);
  spool->Append(Warning("4"));
  spool->Append(Warning("5"));
  EXPECT_EQ(ReadAll(*spool, 0), Numbers(1, 3));
  ASSERT_TRUE(spool->Sync().ok());
  EXPECT_EQ(ReadAll(*spool, 0), Numbers(1, 5));
  EXPECT_EQ(ReadAll(*spool, 3, 1), Numbers(4, 5));
}

TEST_F(SpoolTest, AcknowledgedSegmentsAreRemoved) {
  const auto spool = Open(/*segment_bytes=*/50);
  for (int i = 1; i <= 20; ++i) {
    spool->Append(Warning(std::to_string(i)));
    ASSERT_TRUE(spool->Sync().ok());
  }
  const size_t before = Segments(directory_.path()).size();
  ASSERT_GT(before, 4u);
  spool->Acknowledge(10);
  const size_t between = Segments(directory_.path()).size();
  EXPECT_LT(between, before);
  EXPECT_EQ(ReadAll(*spool, 10), Numbers(11, 20));
  spool->Acknowledge(5);
  EXPECT_EQ(spool->acknowledged(), 10);
  spool->Acknowledge(1000);
  EXPECT_EQ(spool->acknowledged(), 20);
  EXPECT_LE(Segments(directory_.path()).size(), 1u);
  EXPECT_EQ(spool->Append(Warning("21")), 21);
  ASSERT_TRUE(spool->Sync().ok());
  EXPECT_EQ(ReadAll(*spool, 20), Numbers(21, 21));
}

TEST_F(SpoolTest, LeavesNothingBehindWhenAllIsAcknowledged) {
  {
    const auto spool = Open();
    Fill(*spool, 5);
    spool->Acknowledge(5);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(SpoolTest, WhatWasAcknowledgedIsStillSoAfterARestart) {
  {
    const auto spool = Open();
    Fill(*spool, 9);
    spool->Acknowledge(4);
  }
  EXPECT_EQ(Open()->acknowledged(), 4);
  EXPECT_EQ(Open()->last_sequence(), 9);
}

TEST_F(SpoolTest, ATornTailIsCutOffWhereverItIsTorn) {
  const TemporaryDirectory source;
  std::string whole;
  {
    auto spool = *Spool::Open({.directory = source.path()});
    Fill(*spool, 3);
    whole = *ReadFile(Segments(source.path()).at(0));
  }
  const std::filesystem::path name = Segments(source.path()).at(0).filename();
  const size_t record = whole.size() / 3;
  ASSERT_EQ(whole.size() % 3, 0u);
  for (size_t size = 0; size < whole.size(); ++size) {
    const TemporaryDirectory torn;
    ASSERT_TRUE(WriteFileAtomically(torn.path() / name, whole.substr(0, size)).ok());
    auto spool = Spool::Open({.directory = torn.path()});
    ASSERT_TRUE(spool.ok()) << spool.status();
    const int left = static_cast<int>(size / record);
    ASSERT_EQ(ReadAll(**spool, 0), Numbers(1, left)) << size;
    EXPECT_EQ((*spool)->Append(Warning(std::to_string(left + 1))), left + 1);
    ASSERT_TRUE((*spool)->Sync().ok());
    spool->reset();
    ASSERT_EQ(ReadAll(**Spool::Open({.directory = torn.path()}), 0), Numbers(1, left + 1)) << size;
  }
}

TEST_F(SpoolTest, AFlippedBitEndsWhatIsTakenUp) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  Fill(*Open(), 9);
  const std::filesystem::path segment = Segments(directory_.path()).at(0);
  std::string bytes = *ReadFile(segment);
  const size_t record = bytes.size() / 9;
  const size_t place = seed % bytes.size();
  bytes[place] = static_cast<char>(bytes[place] ^ (1 << seed / 7 % 8));
  ASSERT_TRUE(WriteFileAtomically(segment, bytes).ok());
  const auto spool = Open();
  EXPECT_EQ(ReadAll(*spool, 0), Numbers(1, static_cast<int>(place / record)));
}

TEST_F(SpoolTest, WhatFollowsALostSegmentIsNotTakenUp) {
  {
    const auto spool = Open(/*segment_bytes=*/1);
    for (int i = 1; i <= 5; ++i) {
      spool->Append(Warning(std::to_string(i)));
      ASSERT_TRUE(spool->Sync().ok());
    }
  }
  std::filesystem::remove(Segments(directory_.path()).at(2));
  const auto spool = Open();
  EXPECT_EQ(ReadAll(*spool, 0), Numbers(1, 2));
  EXPECT_EQ(Segments(directory_.path()).size(), 2u);
}

TEST_F(SpoolTest, EventsLostWhileRunningComeWithoutContentAndLeaveNoGap) {
  const auto spool = Open(/*segment_bytes=*/50);
  Fill(*spool, 4);
  const std::filesystem::path segment = Segments(directory_.path()).at(0);
  std::string bytes = *ReadFile(segment);
  bytes[bytes.size() / 2 + 9] ^= 1;  // in the third of four
  std::ofstream(segment, std::ios::binary) << bytes;
  spool->Append(Warning("5"));
  ASSERT_TRUE(spool->Sync().ok());
  EXPECT_EQ(ReadAll(*spool, 0), (std::vector<std::string>{"1", "2", "", "", "5"}));
}

TEST_F(SpoolTest, WhileTheDiskIsFullEventsWaitInMemoryAndNoneIsLost) {
  ::signal(SIGXFSZ, SIG_IGN);
  {
    const auto spool = Open();
    Fill(*spool, 2);
    rlimit before;
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit tight = before;
    tight.rlim_cur = std::filesystem::file_size(Segments(directory_.path()).at(0)) + 7;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    spool->Append(Warning("3"));
    spool->Append(Warning("4"));
    const absl::Status full = spool->Sync();
    EXPECT_EQ(ReadAll(*spool, 0), Numbers(1, 4));
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_FALSE(full.ok());
    EXPECT_THAT(std::string(full.message()), HasSubstr("cannot write"));
    spool->Append(Warning("5"));
    EXPECT_TRUE(spool->Sync().ok());
  }
  EXPECT_EQ(ReadAll(*Open(), 0), Numbers(1, 5));
}

TEST_F(SpoolTest, AcknowledgingWhatNeverReachedTheDiskLeavesNoGapThere) {
  {
    const auto spool = Open();
    Fill(*spool, 2);
    spool->Append(Warning("3"));
    spool->Acknowledge(3);
    spool->Append(Warning("4"));
    ASSERT_TRUE(spool->Sync().ok());
  }
  EXPECT_EQ(ReadAll(*Open(), 3), Numbers(4, 4));
}

TEST_F(SpoolTest, StepMetricsAreThinnedNearTheLimitAndNothingElse) {
  const auto spool = Open(4 << 20, /*limit_bytes=*/4000);
  const std::string padding(500, 'x');
  int64_t steps = 0;
  int64_t others = 0;
  int64_t step = 0;
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 10; ++j) steps += spool->Append(Step(++step)) != 0 ? 1 : 0;
    others += spool->Append(Warning(padding)) != 0 ? 1 : 0;
  }
  EXPECT_EQ(others, 5);
  EXPECT_EQ(spool->thinned(), step - steps);
  EXPECT_GT(steps, 20);
  EXPECT_LT(steps, 50);
  for (int i = 0; i < 5; ++i) EXPECT_GT(spool->Append(Warning(padding)), 0);
  EXPECT_EQ(spool->Append(Step(60)), 0) << "beyond the limit no step is taken";
  spool->Acknowledge(spool->last_sequence());
  EXPECT_GT(spool->Append(Step(61)), 0);
}

TEST_F(SpoolTest, WaitingEndsWithAnEventOrATimeoutOrAWake) {
  const auto spool = Open();
  EXPECT_FALSE(spool->WaitForEvent(0, absl::Milliseconds(1)));
  spool->Wake();
  EXPECT_FALSE(spool->WaitForEvent(0, absl::Seconds(30)));
  std::thread writer([&] { spool->Append(Warning("1")); });
  EXPECT_TRUE(spool->WaitForEvent(0, absl::Seconds(30)));
  writer.join();
}

}  // namespace
}  // namespace wavefield
