// Ranks as processes: what a survivor sees when a peer is killed or stopped.

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/time/clock.h"
#include "core/base/file.h"
#include "tests/core/comm/rank_group.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

// Rendezvous of processes through files.
class FileRendezvousStore final : public RendezvousStore {
 public:
  explicit FileRendezvousStore(fs::path root) : root_(std::move(root)) {}
  absl::Status Set(const std::string& key, const std::string& value) override {
    return WriteFileAtomically(Path(key), value);
  }
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Duration timeout) override {
    const Stopwatch watch;
    while (watch.Elapsed() < timeout) {
      if (auto value = ReadFile(Path(key)); value.ok()) return value;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return absl::DeadlineExceededError(key);
  }

 private:
  fs::path Path(std::string key) const {
    std::replace(key.begin(), key.end(), '/', '_');
    return root_ / key;
  }
  const fs::path root_;
};

// Three ranks: 0 is this process, 1 and 2 are children. They meet in a barrier; then rank 2 pauses,
// and rank 1 enters an all-reduce, which AbortRank1() aborts, and exits with the code of its
// status.
class ProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wavefield-comm-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
  }

  void TearDown() override {
    communicator_.reset();
    for (const pid_t child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    fs::remove_all(root_);
  }

  void Start(absl::Duration operation_timeout = absl::Minutes(5)) {
    for (int rank = 1; rank <= 2; ++rank) {
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto communicator = Connect(rank, operation_timeout);
        if (rank == 2) {
          if (!FileRendezvousStore(root_).Set("paused", "").ok()) ::abort();
          ::pause();
        }
        std::thread([&] {
          if (FileRendezvousStore(root_).Wait("abort", absl::Minutes(1)).ok()) {
            communicator->Abort("told to");
          }
        }).detach();
        ::_exit(static_cast<int>(Sum(*communicator).code()));
      }
      children_.push_back(child);
    }
    communicator_ = Connect(0, operation_timeout);
    ASSERT_TRUE(FileRendezvousStore(root_).Wait("paused", absl::Seconds(20)).ok());
  }

  static absl::Status Sum(Communicator& communicator) {
    std::vector<float> data(100'000, 1.0f);
    return communicator.AllReduceSum(std::span<float>(data));
  }

  // The status code with which rank 1 ended its operation.
  absl::StatusCode StatusOfRank1() {
    int status = 0;
    const pid_t child = children_[0];
    children_.erase(children_.begin());
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    return static_cast<absl::StatusCode>(WEXITSTATUS(status));
  }

  void AbortRank1() { EXPECT_TRUE(FileRendezvousStore(root_).Set("abort", "").ok()); }

  pid_t rank2() const { return children_.back(); }

  std::unique_ptr<Communicator> communicator_;

 private:
  std::unique_ptr<Communicator> Connect(int rank, absl::Duration operation_timeout) {
    FileRendezvousStore store(root_);
    GlooOptions options;
    options.rank = rank;
    options.world_size = 3;
    options.operation_timeout = operation_timeout;
    auto communicator = MakeGlooCommunicator(options, store);
    if (!communicator.ok() || !(*communicator)->Barrier().ok()) ::abort();
    return *std::move(communicator);
  }

  fs::path root_;
  std::vector<pid_t> children_;
};

TEST_F(ProcessTest, AKilledPeerAbortsTheSurvivorsWithinMilliseconds) {
  Start();
  Stopwatch since_kill;
  std::jthread killer([&, pid = rank2()] {
    absl::SleepFor(absl::Milliseconds(50));
    since_kill.Restart();
    ::kill(pid, SIGKILL);
  });
  const absl::Status status = Sum(*communicator_);
  EXPECT_LT(since_kill.Elapsed(), kWakeLimit);
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_EQ(StatusOfRank1(), absl::StatusCode::kAborted);
  EXPECT_LT(since_kill.Elapsed(), absl::Seconds(10));
  EXPECT_EQ(Sum(*communicator_), status);
}

TEST_F(ProcessTest, AbortFreesTheSurvivorsOfAStoppedPeer) {
  Start();
  ::kill(rank2(), SIGSTOP);
  Stopwatch since_abort;
  std::jthread aborter([&] {
    absl::SleepFor(absl::Milliseconds(100));
    since_abort.Restart();
    communicator_->Abort("worker w2 is silent");
    AbortRank1();
  });
  const absl::Status status = Sum(*communicator_);
  EXPECT_LT(since_abort.Elapsed(), kWakeLimit);
  EXPECT_EQ(status, absl::AbortedError("worker w2 is silent"));
  EXPECT_EQ(StatusOfRank1(), absl::StatusCode::kAborted);
  EXPECT_LT(since_abort.Elapsed(), absl::Seconds(10));
}

TEST_F(ProcessTest, AStoppedPeerThatNobodyReportsRunsIntoTheOperationTimeout) {
  Start(absl::Milliseconds(300));
  ::kill(rank2(), SIGSTOP);
  const Stopwatch watch;
  const absl::Status status = Sum(*communicator_);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status) || absl::IsAborted(status)) << status;
  EXPECT_GE(watch.Elapsed(), absl::Milliseconds(200));
  EXPECT_LT(watch.Elapsed(), kWakeLimit);
}

}  // namespace
}  // namespace wavefield
