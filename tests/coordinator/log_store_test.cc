#include "coordinator/logs/log_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "coordinator/jobs/lifecycle.h"
#include "coordinator/logs/log_reader.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield::coordinator {
namespace {

namespace v1 = wavefield::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LogStoreTest : public testing::Test {
 protected:
  LogStoreTest() { Open(); }

  void Open() {
    store_.reset();
    auto store = LogStore::Open(Folder(), limits_, absl::Now());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::filesystem::path Folder() const { return directory_.path() / "logs"; }

  // Attempt `attempt` of the job, one rank on each worker, with that epoch.
  void StartAttempt(const std::string& job, int attempt, const std::vector<std::string>& workers) {
    JobRecord record;
    record.mutable_job()->set_name("jobs/" + job);
    record.mutable_job()->set_state(v1::JOB_STATE_STARTING);
    record.mutable_job()->set_attempt(attempt);
    record.mutable_job()->set_epoch(attempt);
    for (size_t rank = 0; rank < workers.size(); ++rank) {
      TaskRecord& task = *record.add_tasks();
      task.set_epoch(attempt);
      task.set_rank(static_cast<int>(rank));
      task.set_worker(workers[rank]);
    }
    store_->JobsCommitted({record});
  }

  static v1::ReportLogsRequest::Chunk Chunk(const std::string& task, int64_t first,
                                            const std::vector<std::string>& texts,
                                            int64_t seconds = 0, bool complete = false) {
    v1::ReportLogsRequest::Chunk chunk;
    chunk.set_task_id(task);
    chunk.set_first_line(first);
    for (const std::string& text : texts) {
      v1::LogLine& line = *chunk.add_lines();
      line.set_text(text);
      line.mutable_time()->set_seconds(seconds);
    }
    chunk.set_complete(complete);
    return chunk;
  }
  int64_t Append(const v1::ReportLogsRequest::Chunk& chunk, const std::string& worker = "w1") {
    const auto next = store_->Append(worker, chunk);
    EXPECT_TRUE(next.ok()) << next.status();
    return next.value_or(-1);
  }

  // "ATTEMPT.RANK TEXT", with "(N) " in front where lines are missing.
  static std::vector<std::string> ReadOn(LogReader& reader, size_t limit = SIZE_MAX) {
    std::vector<std::string> lines;
    const absl::Status read =
        reader.ReadOn([&](const TaskLog& task, const NumberedLine& line, int64_t skipped) {
          if (lines.size() == limit) return false;
          lines.push_back(absl::StrCat(skipped > 0 ? absl::StrCat("(", skipped, ") ") : "",
                                       task.attempt, ".", task.rank, " ", line.text));
          return true;
        });
    EXPECT_TRUE(read.ok()) << read;
    return lines;
  }
  std::vector<std::string> Read(const std::string& job, const LogSelection& selection = {}) {
    LogReader reader(*store_, job, selection, LogCursor());
    return ReadOn(reader);
  }

  std::vector<std::string> JobsOnDisk() const {
    std::vector<std::string> jobs;
    for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
      jobs.push_back(entry.path().filename());
    }
    std::sort(jobs.begin(), jobs.end());
    return jobs;
  }

  TemporaryDirectory directory_;
  LogLimits limits_;
  std::unique_ptr<LogStore> store_;
};

TEST_F(LogStoreTest, KeepsLinesOverARestartAndSaysWhichItWants) {
  StartAttempt("a", 1, {"w1"});
  EXPECT_EQ(Append(Chunk("a/1/0", 0, {"one", "two"})), 2);
  Open();
  EXPECT_EQ(Append(Chunk("a/1/0", 0, {"one", "two", "three"})), 3) << "the first two are known";
  EXPECT_THAT(Read("a"), ElementsAre("1.0 one", "1.0 two", "1.0 three"));
  EXPECT_EQ(Append(Chunk("a/1/0", 10, {"eleven"})), 11);
  EXPECT_THAT(Read("a"), ElementsAre("1.0 one", "1.0 two", "1.0 three", "(7) 1.0 eleven"));
  EXPECT_FALSE(store_->Tasks("a").at(0).complete);
  EXPECT_EQ(Append(Chunk("a/1/0", 11, {}, 0, true)), 11);
  Open();
  ASSERT_EQ(store_->Tasks("a").size(), 1u);
  EXPECT_TRUE(store_->Tasks("a")[0].complete);
  EXPECT_EQ(store_->Tasks("a")[0].worker, "w1");
  EXPECT_EQ(Append(Chunk("a/1/0", 11, {"after the end"})), 12);
  EXPECT_EQ(Read("a").size(), 4u);
}

TEST_F(LogStoreTest, AFolderThatWasRemovedByHandIsMadeAgain) {
  StartAttempt("a", 1, {"w0"});
  ASSERT_TRUE(store_->Append("w0", Chunk("a/1/0", 0, {"one", "two"})).ok());
  std::filesystem::remove_all(Folder() / "a");
  const auto next = store_->Append("w0", Chunk("a/1/0", 2, {"three"}));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(*next, 3);
  EXPECT_EQ(store_->bytes(), store_->Tasks("a").at(0).lines->bytes());
  EXPECT_TRUE(store_->Append("w0", Chunk("a/1/0", 3, {}, 0, true)).ok());
  EXPECT_TRUE(store_->Tasks("a").at(0).complete);
}

TEST_F(LogStoreTest, WhatIsNotOfARankOfThatWorkerIsAcknowledgedAndDropped) {
  StartAttempt("a", 1, {"w1"});
  for (const char* task : {"a/1/1", "a/2/0", "b/1/0", "a/1", "a/1/0/0", "", "../a/1/0", "a/../0",
                           "inference/0123/0", "a/1/x"}) {
    EXPECT_EQ(Append(Chunk(task, 5, {"x", "y"})), 7) << task;
  }
  EXPECT_EQ(Append(Chunk("a/1/0", 0, {"x"}), "w2"), 1);
  EXPECT_THAT(Read("a"), IsEmpty());
  EXPECT_THAT(Read("nobody"), IsEmpty());
  EXPECT_THAT(JobsOnDisk(), ElementsAre("a"));
}

TEST_F(LogStoreTest, TextIsOneLineOfBoundedLength) {
  StartAttempt("a", 1, {"w1"});
  std::string wide;
  while (wide.size() < 10000) wide += "ä";
  Append(Chunk("a/1/0", 0, {"two\nlines", wide}));
  const std::vector<std::string> lines = Read("a");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "1.0 two lines");
  EXPECT_LE(lines[1].size(), 4 + 4096u);
  EXPECT_GT(lines[1].size(), 4000u);
}

TEST_F(LogStoreTest, RanksAreMergedByTimeWithinEachAttempt) {
  StartAttempt("a", 1, {"w1", "w1"});
  Append(Chunk("a/1/0", 0, {"p"}, 10));
  Append(Chunk("a/1/0", 1, {"r"}, 30));
  Append(Chunk("a/1/1", 0, {"q"}, 20));
  Append(Chunk("a/1/1", 1, {"s"}, 30));
  StartAttempt("a", 2, {"w1"});
  Append(Chunk("a/2/0", 0, {"t"}, 5));  // by another clock
  EXPECT_THAT(Read("a"), ElementsAre("1.0 p", "1.1 q", "1.0 r", "1.1 s", "2.0 t"));
  EXPECT_THAT(Read("a", {.rank = 1}), ElementsAre("1.1 q", "1.1 s"));
  EXPECT_THAT(Read("a", {.attempt = 2}), ElementsAre("2.0 t"));
  EXPECT_THAT(Read("a", {.since = absl::FromUnixSeconds(20)}),
              ElementsAre("1.1 q", "1.0 r", "1.1 s"));
  LogReader tail(*store_, "a", {}, LogCursor());
  ASSERT_TRUE(tail.KeepLast(2).ok());
  EXPECT_THAT(ReadOn(tail), ElementsAre("1.1 s", "2.0 t"));
  LogReader all(*store_, "a", {}, LogCursor());
  ASSERT_TRUE(all.KeepLast(100).ok());
  EXPECT_EQ(ReadOn(all).size(), 5u);
}

// However the reading is cut into pieces, and whatever comes meanwhile, each line comes once.
TEST_F(LogStoreTest, ACursorResumesWithoutLossOrRepetition) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::multiset<std::string> printed;
  std::multiset<std::string> read;
  std::map<std::string, int64_t> next;
  std::string cursor;
  int attempts = 0;
  const auto step = [&] {
    if (attempts == 0 || (attempts < 30 && random() % 50 == 0)) {
      StartAttempt("a", ++attempts, {"w1", "w1", "w1"});
    }
    if (random() % 40 == 0) Open();
    // Now and then of an attempt before.
    const int attempt = std::max(1, attempts - static_cast<int>(random() % 3));
    const std::string rank = std::to_string(random() % 3);
    const std::string task = absl::StrCat("a/", attempt, "/", rank);
    const int64_t number = next[task]++;
    const std::string text = absl::StrCat("line ", number, std::string(random() % 300, 'x'));
    Append(Chunk(task, number, {text}, static_cast<int64_t>(random() % 1000)));
    printed.insert(absl::StrCat(attempt, ".", rank, " ", text));
  };
  const auto read_on = [&](size_t limit) {
    auto parsed = LogCursor::Parse("a", cursor);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    LogReader reader(*store_, "a", {}, *std::move(parsed));
    for (const std::string& line : ReadOn(reader, limit)) read.insert(line);
    cursor = reader.cursor().ToString("a");
  };
  for (int i = 0; i < 3000; ++i) {
    step();
    if (random() % 10 == 0) read_on(random() % 30);
  }
  read_on(SIZE_MAX);
  EXPECT_EQ(read, printed);
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    for (int rank = 0; rank < 3; ++rank) {
      const std::string task = absl::StrCat("a/", attempt, "/", rank);
      Append(Chunk(task, next[task], {}, 0, true));
    }
  }
  read_on(SIZE_MAX);
  EXPECT_LT(cursor.size(), 100u) << "attempts that are over are not in it";
  EXPECT_FALSE(LogCursor::Parse("b", cursor).ok()) << "it is of another job";
  for (const char* bad : {"?", "YQ==", "YSB4", "YSAxIDEuMS4tMQ==", "YSAxIDEuMQ=="}) {
    EXPECT_FALSE(LogCursor::Parse("a", bad).ok()) << bad;
  }
}

TEST_F(LogStoreTest, AJobKeepsItsNewestLinesWithinTheLimit) {
  limits_.job_bytes = 256 << 10;
  Open();
  StartAttempt("a", 1, {"w1", "w1"});
  int64_t number = 0;
  for (; number < 20000; ++number) {
    Append(Chunk(absl::StrCat("a/1/", number % 2), number / 2, {absl::StrCat("line ", number)},
                 number));
  }
  EXPECT_LE(store_->bytes(), 256 << 10);
  EXPECT_GT(store_->bytes(), 200 << 10);
  const std::vector<std::string> lines = Read("a");
  EXPECT_EQ(lines.back(), absl::StrCat("1.1 line ", number - 1));
  int64_t missing = 0;
  LogReader reader(*store_, "a", {}, LogCursor());
  ASSERT_TRUE(reader
                  .ReadOn([&](const TaskLog&, const NumberedLine&, int64_t skipped) {
                    missing += skipped;
                    return true;
                  })
                  .ok());
  EXPECT_EQ(missing + static_cast<int64_t>(lines.size()), number);
  Open();
  EXPECT_LE(store_->bytes(), 256 << 10);
  EXPECT_EQ(Read("a"), lines);
}

TEST_F(LogStoreTest, ASweepRemovesWhatIsTooOldOrOfNoJob) {
  for (const char* job : {"old", "young", "live", "gone"}) {
    StartAttempt(job, 1, {"w1"});
    Append(Chunk(absl::StrCat(job, "/1/0"), 0, {"x"}));
  }
  Open();
  const absl::Time now = absl::Now();
  const auto end_of = [&](const std::string& job) -> absl::StatusOr<absl::Time> {
    if (job == "gone") return absl::NotFoundError("there is no such job");
    if (job == "live") return absl::InfiniteFuture();
    return now - absl::Hours(24 * (job == "old" ? 31 : 29));
  };
  ASSERT_TRUE(store_->TakeSweep(absl::Seconds(1)));
  EXPECT_FALSE(store_->TakeSweep(absl::Seconds(2)));
  store_->Sweep(end_of, now);
  EXPECT_THAT(JobsOnDisk(), ElementsAre("live", "young"));
  EXPECT_THAT(Read("old"), IsEmpty());
  EXPECT_THAT(Read("live"), ElementsAre("1.0 x"));
  store_->Detach("young");
  store_->RemoveDetached();
  EXPECT_THAT(JobsOnDisk(), ElementsAre("live"));
  EXPECT_EQ(Append(Chunk("young/1/0", 1, {"late"})), 2);
  EXPECT_THAT(JobsOnDisk(), ElementsAre("live"));
}

TEST_F(LogStoreTest, AllLogsTogetherAreBoundedByWhatEndedFirst) {
  limits_.total_bytes = 400 << 10;
  limits_.job_bytes = 200 << 10;
  Open();
  for (int job = 0; job < 6; ++job) {
    StartAttempt(absl::StrCat("job-", job), 1, {"w1"});
    for (int i = 0; i < 100; ++i) {
      Append(Chunk(absl::StrCat("job-", job, "/1/0"), i, {std::string(1000, 'x')}));
    }
  }
  EXPECT_GT(store_->bytes(), limits_.total_bytes);
  const absl::Time now = absl::Now();
  std::set<std::string> live = {"job-0"};
  const auto end_of = [&](const std::string& job) -> absl::StatusOr<absl::Time> {
    if (live.contains(job)) return absl::InfiniteFuture();
    return now - absl::Hours(job.back() - '0');
  };
  ASSERT_TRUE(store_->TakeSweep(absl::Seconds(1)));
  store_->Sweep(end_of, now);
  EXPECT_LE(store_->bytes(), limits_.total_bytes);
  EXPECT_THAT(JobsOnDisk(), ElementsAre("job-0", "job-1", "job-2"));

  // Where all live, each loses its oldest lines.
  for (const char* job : {"job-3", "job-4"}) {
    live.insert(job);
    StartAttempt(job, 2, {"w1"});
    for (int i = 0; i < 150; ++i) {
      Append(Chunk(absl::StrCat(job, "/2/0"), i, {std::string(1000, 'x')}));
    }
  }
  live.insert({"job-1", "job-2"});
  store_->Sweep(end_of, now);
  EXPECT_LE(store_->bytes(), limits_.total_bytes);
  EXPECT_EQ(JobsOnDisk().size(), 5u);
  for (const std::string& job : live) EXPECT_FALSE(Read(job).empty()) << job;
}

TEST_F(LogStoreTest, ManyAttemptsDoNotFillTheFolder) {
  const std::vector<std::string> workers(64, "w1");
  for (int attempt = 1; attempt <= 70; ++attempt) StartAttempt("a", attempt, workers);
  EXPECT_EQ(store_->Tasks("a").size(), 4096u);
  EXPECT_EQ(store_->Tasks("a").back().attempt, 70);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(Folder() / "a"),
                          std::filesystem::directory_iterator()),
            4096);
}

}  // namespace
}  // namespace wavefield::coordinator
