#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "core/comm/communicator.h"
#include "tests/core/comm/rank_group.h"

namespace wavefield {
namespace {

using testing::AllOf;
using testing::HasSubstr;

GlooOptions Options(int rank, int world_size, absl::Duration connect_timeout) {
  GlooOptions options;
  options.rank = rank;
  options.world_size = world_size;
  options.connect_timeout = connect_timeout;
  return options;
}

// Leaves in `store` what a rank publishes, and is gone.
void PublishAndLeave(MemoryRendezvousStore& store, int rank, int world_size) {
  class Forwarder final : public RendezvousStore {
   public:
    explicit Forwarder(RendezvousStore& store) : store_(store) {}
    absl::Status Set(const std::string& key, const std::string& value) override {
      return store_.Set(key, value);
    }
    absl::StatusOr<std::string> Wait(const std::string&, absl::Duration) override {
      return absl::AbortedError("leaving");
    }

   private:
    RendezvousStore& store_;
  } forwarder(store);
  const auto made = MakeGlooCommunicator(Options(rank, world_size, absl::Seconds(5)), forwarder);
  ASSERT_TRUE(absl::IsAborted(made.status())) << made.status();
}

TEST(GlooConnect, IsBoundedWhenAPeerNeverComesAndNamesIt) {
  MemoryRendezvousStore store;
  const Stopwatch watch;
  const auto made = MakeGlooCommunicator(Options(0, 2, absl::Milliseconds(300)), store);
  EXPECT_TRUE(absl::IsDeadlineExceeded(made.status())) << made.status();
  EXPECT_THAT(std::string(made.status().message()),
              AllOf(HasSubstr("rank 0 of 2"), HasSubstr("rank 1"), HasSubstr("connect_timeout")));
  EXPECT_LT(watch.Elapsed(), kWakeLimit);
}

// Whichever side listens: the first rank's address may be smaller or greater than the second's.
TEST(GlooConnect, IsBoundedWhenAPeerDiedAfterItPublishedItsAddress) {
  for (int round = 0; round < 4; ++round) {
    MemoryRendezvousStore store;
    PublishAndLeave(store, 1, 2);
    const Stopwatch watch;
    const auto made = MakeGlooCommunicator(Options(0, 2, absl::Milliseconds(300)), store);
    ASSERT_FALSE(made.ok());
    EXPECT_THAT(std::string(made.status().message()),
                AllOf(HasSubstr("rank 0 of 2"), HasSubstr("rank 1")));
    EXPECT_LT(watch.Elapsed(), kWakeLimit);
  }
}

TEST(GlooConnect, EndsWithinMillisecondsWhenCancelled) {
  for (int round = 0; round < 4; ++round) {
    MemoryRendezvousStore store;
    PublishAndLeave(store, 1, 3);
    PublishAndLeave(store, 2, 3);
    std::stop_source source;
    GlooOptions options = Options(0, 3, absl::Minutes(5));
    options.cancel = source.get_token();
    Stopwatch since_cancel;
    std::jthread canceller([&] {
      absl::SleepFor(absl::Milliseconds(50));
      since_cancel.Restart();
      source.request_stop();
    });
    const auto made = MakeGlooCommunicator(options, store);
    canceller.join();
    ASSERT_FALSE(made.ok());
    EXPECT_LT(since_cancel.Elapsed(), kWakeLimit);
  }
}

TEST(GlooConnect, ReportsAnErrorOfTheRendezvous) {
  class Closed final : public RendezvousStore {
   public:
    absl::Status Set(const std::string&, const std::string&) override { return absl::OkStatus(); }
    absl::StatusOr<std::string> Wait(const std::string&, absl::Duration) override {
      return absl::AbortedError("attempt 3 is over");
    }
  } store;
  const auto made = MakeGlooCommunicator(Options(0, 2, absl::Minutes(1)), store);
  EXPECT_TRUE(absl::IsAborted(made.status()));
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("attempt 3 is over"));
}

TEST(GlooConnect, RefusesWhatIsNoAddressList) {
  for (const std::string value : {"", "zz", "00,11,22"}) {
    MemoryRendezvousStore store;
    ASSERT_TRUE(store.Set("gloo/1", value).ok());
    const auto made = MakeGlooCommunicator(Options(0, 2, absl::Milliseconds(300)), store);
    EXPECT_FALSE(made.ok()) << value;
    EXPECT_THAT(std::string(made.status().message()), HasSubstr("rank 1"));
  }
}

TEST(GlooConnect, RefusesAnAddressThatIsNotThisHosts) {
  for (const std::string address : {"203.0.113.7", "300.1.1.1", ""}) {
    MemoryRendezvousStore store;
    GlooOptions options = Options(0, 2, absl::Milliseconds(300));
    options.address = address;
    const auto made = MakeGlooCommunicator(options, store);
    EXPECT_TRUE(absl::IsUnavailable(made.status())) << address;
    EXPECT_THAT(std::string(made.status().message()), HasSubstr("address '" + address + "'"));
  }
}

}  // namespace
}  // namespace wavefield
