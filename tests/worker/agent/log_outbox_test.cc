#include "worker/agent/log_outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LogOutboxTest : public testing::Test {
 protected:
  void Open(LogOutboxOptions options = {}) {
    outbox_.reset();
    options.directory = directory_.path() / "outbox";
    auto outbox = LogOutbox::Open(options);
    ASSERT_TRUE(outbox.ok()) << outbox.status();
    outbox_ = *std::move(outbox);
  }

  void Print(const std::string& task_id, int count) {
    std::vector<std::string> lines;
    for (int i = 0; i < count; ++i) lines.push_back(absl::StrCat("line ", printed_[task_id]++));
    outbox_->Append(task_id, lines, absl::FromUnixSeconds(1'700'000'000));
  }

  // What a coordinator would get and acknowledge: "TASK FIRST+COUNT", with a "." when complete.
  std::vector<std::string> Send(int64_t max_bytes = 1 << 20, size_t max_chunks = 100) {
    std::vector<std::string> sent;
    for (const LogOutbox::Chunk& chunk : outbox_->NextBatch(max_bytes, max_chunks)) {
      sent.push_back(absl::StrCat(chunk.task_id(), " ", chunk.first_line(), "+", chunk.lines_size(),
                                  chunk.complete() ? "." : ""));
      for (int i = 0; i < chunk.lines_size(); ++i) {
        EXPECT_EQ(chunk.lines(i).text(), absl::StrCat("line ", chunk.first_line() + i));
      }
      outbox_->Acknowledge(chunk, chunk.first_line() + chunk.lines_size());
    }
    return sent;
  }

  bool NothingIsLeftOnDisk() const {
    return std::filesystem::is_empty(directory_.path() / "outbox");
  }

  TemporaryDirectory directory_;
  std::map<std::string, int64_t> printed_;
  std::unique_ptr<LogOutbox> outbox_;
};

TEST_F(LogOutboxTest, GivesEachLineUntilItIsAcknowledged) {
  Open();
  EXPECT_FALSE(outbox_->HasNews());
  outbox_->Begin("a/1/0");
  Print("a/1/0", 3);
  EXPECT_TRUE(outbox_->HasNews());
  EXPECT_EQ(outbox_->NextBatch(1 << 20, 100).at(0).lines_size(), 3);
  EXPECT_THAT(Send(), ElementsAre("a/1/0 0+3")) << "not acknowledged: once more";
  EXPECT_FALSE(outbox_->HasNews());
  EXPECT_THAT(Send(), IsEmpty());
  Print("a/1/0", 2);
  EXPECT_THAT(Send(), ElementsAre("a/1/0 3+2"));
  Print("a/1/0", 1);
  outbox_->End("a/1/0");
  EXPECT_THAT(Send(), ElementsAre("a/1/0 5+1."));
  EXPECT_FALSE(outbox_->HasNews());
  EXPECT_TRUE(NothingIsLeftOnDisk());
}

TEST_F(LogOutboxTest, TellsTheEndOfATaskThatPrintedNothing) {
  Open();
  outbox_->Begin("a/1/0");
  EXPECT_FALSE(outbox_->HasNews());
  outbox_->End("a/1/0");
  EXPECT_THAT(Send(), ElementsAre("a/1/0 0+0."));
  EXPECT_TRUE(NothingIsLeftOnDisk());
}

TEST_F(LogOutboxTest, KeepsLinesOverARestartWhoseTasksHaveEnded) {
  Open();
  outbox_->Begin("a/1/0");
  outbox_->Begin("a/1/1");
  Print("a/1/0", 4);
  EXPECT_THAT(Send(), ElementsAre("a/1/0 0+4"));
  Print("a/1/0", 2);
  Open();
  EXPECT_TRUE(outbox_->HasNews());
  EXPECT_THAT(Send(), ElementsAre("a/1/0 4+2.", "a/1/1 0+0."));
  EXPECT_TRUE(NothingIsLeftOnDisk());
}

TEST_F(LogOutboxTest, BatchesAreBoundedAndTasksTakeTurns) {
  Open({.segment_bytes = 16 << 10});
  for (const char* task : {"a/1/0", "b/1/0", "c/1/0"}) {
    outbox_->Begin(task);
    Print(task, 2000);  // some 80 kB each
    outbox_->End(task);
  }
  std::map<std::string, int> served;
  int64_t lines = 0;
  while (outbox_->HasNews()) {
    const auto batch = outbox_->NextBatch(32 << 10, 100);
    ASSERT_FALSE(batch.empty());
    int64_t bytes = 0;
    for (const auto& chunk : batch) {
      bytes += static_cast<int64_t>(chunk.ByteSizeLong());
      lines += chunk.lines_size();
      ++served[chunk.task_id()];
      outbox_->Acknowledge(chunk, chunk.first_line() + chunk.lines_size());
    }
    EXPECT_LE(bytes, 36 << 10);
  }
  EXPECT_EQ(lines, 6000);
  EXPECT_GE(served["a/1/0"], 3);
  EXPECT_LE(std::abs(served["a/1/0"] - served["c/1/0"]), 2);
}

TEST_F(LogOutboxTest, DropsTheOldestBeyondItsLimitAndTellsTheGap) {
  Open({.task_bytes = 64 << 10, .segment_bytes = 8 << 10});
  outbox_->Begin("a/1/0");
  for (int i = 0; i < 100; ++i) Print("a/1/0", 100);
  outbox_->End("a/1/0");
  const auto batch = outbox_->NextBatch(1 << 20, 100);
  ASSERT_EQ(batch.size(), 1u);
  EXPECT_GT(batch[0].first_line(), 0);
  EXPECT_GT(batch[0].lines_size(), 500);
  EXPECT_EQ(batch[0].first_line() + batch[0].lines_size(), 10000);
  EXPECT_TRUE(batch[0].complete());
}

TEST_F(LogOutboxTest, AllTasksTogetherAreBoundedToo) {
  Open({.total_bytes = 200 << 10, .segment_bytes = 8 << 10});
  for (int task = 0; task < 20; ++task) {
    const std::string id = absl::StrCat("a/", task, "/0");
    outbox_->Begin(id);
    for (int i = 0; i < 10; ++i) Print(id, 100);
    outbox_->End(id);
  }
  uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_.path())) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_LE(bytes, 210u << 10);
  int complete = 0;
  while (outbox_->HasNews()) {
    for (const std::string& chunk : Send()) complete += chunk.back() == '.' ? 1 : 0;
  }
  EXPECT_EQ(complete, 20);
}

TEST_F(LogOutboxTest, LinesOfAnEarlierTaskOfTheSameNameAreDropped) {
  Open();
  outbox_->Begin("a/1/0");
  Print("a/1/0", 5);
  outbox_->End("a/1/0");
  outbox_->Begin("a/1/0");
  printed_.clear();
  Print("a/1/0", 1);
  EXPECT_THAT(Send(), ElementsAre("a/1/0 0+1"));
}

TEST_F(LogOutboxTest, AnAcknowledgementOfAnEarlierTaskDoesNotEndThatOfTheSameName) {
  Open();
  outbox_->Begin("a/1/0");
  outbox_->End("a/1/0");
  const auto earlier = outbox_->NextBatch(1 << 20, 100);
  ASSERT_EQ(earlier.size(), 1u);
  outbox_->Begin("a/1/0");
  outbox_->Acknowledge(earlier[0], 0);
  Print("a/1/0", 1);
  outbox_->End("a/1/0");
  EXPECT_THAT(Send(), ElementsAre("a/1/0 0+1."));
}

TEST_F(LogOutboxTest, WhatTheDiskRefusesIsAGapAndNoHindrance) {
  Open();
  outbox_->Begin("a/1/0");
  Print("a/1/0", 2);
  EXPECT_THAT(Send(), ElementsAre("a/1/0 0+2"));
  const std::filesystem::path folder = directory_.path() / "outbox/a/1/0";
  std::filesystem::rename(folder, directory_.path() / "away");
  Print("a/1/0", 3);
  EXPECT_FALSE(outbox_->HasNews());
  std::filesystem::rename(directory_.path() / "away", folder);
  Print("a/1/0", 1);
  outbox_->End("a/1/0");
  EXPECT_THAT(Send(), ElementsAre("a/1/0 5+1."));
}

TEST_F(LogOutboxTest, LossAtTheEndIsToldToo) {
  Open();
  outbox_->Begin("a/1/0");
  std::filesystem::remove_all(directory_.path() / "outbox/a");
  Print("a/1/0", 3);
  outbox_->End("a/1/0");
  EXPECT_THAT(Send(), ElementsAre("a/1/0 3+0."));
  EXPECT_FALSE(outbox_->HasNews());
}

}  // namespace
}  // namespace wavefield
