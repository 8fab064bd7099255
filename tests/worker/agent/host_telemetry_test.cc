#include "worker/agent/host_telemetry.h"

#include <gtest/gtest.h>
#include <sys/statvfs.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/file.h"
#include "tests/core/base/temporary_directory.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

class HostMeterTest : public ::testing::Test {
 protected:
  void Tell(const std::string& file, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(directory_.path() / file, text).ok());
  }
  // user … steal; guest time is part of user's.
  void TellTicks(const std::vector<int64_t>& ticks) {
    std::string line = "cpu ";
    for (const int64_t t : ticks) absl::StrAppend(&line, " ", t);
    Tell("stat", line + " 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1 2 3\n");
  }

  TemporaryDirectory directory_;
};

TEST_F(HostMeterTest, UtilizationIsTheShareThatWasNotIdleSinceTheLastReading) {
  std::mt19937_64 random(testing::FreshSeed());
  std::uniform_int_distribution<int64_t> some(1, 100'000);
  std::vector<int64_t> ticks(8);
  for (int64_t& t : ticks) t = some(random);
  TellTicks(ticks);
  HostMeter meter(directory_.path(), directory_.path());
  for (int i = 0; i < 20; ++i) {
    int64_t busy = 0;
    int64_t idle = 0;
    for (size_t k = 0; k < ticks.size(); ++k) {
      const int64_t more = some(random);
      ticks[k] += more;
      (k == 3 || k == 4 ? idle : busy) += more;
    }
    TellTicks(ticks);
    EXPECT_NEAR(meter.Read().cpu_utilization(),
                static_cast<double>(busy) / static_cast<double>(busy + idle), 1e-12);
  }
}

TEST_F(HostMeterTest, WithoutTimeInBetweenThereIsNoUtilization) {
  TellTicks({1, 2, 3, 4, 5, 6, 7, 8});
  HostMeter meter(directory_.path(), directory_.path());
  EXPECT_FALSE(meter.Read().has_cpu_utilization());
}

TEST_F(HostMeterTest, UsedMemoryIsWhatIsNotAvailable) {
  Tell("meminfo",
       "MemTotal:       16384000 kB\nMemFree:          100000 kB\nMemAvailable:   12000000 kB\n"
       "Buffers:             100 kB\nHugePages_Total:       0\n");
  const v1::HostTelemetry host = HostMeter(directory_.path(), directory_.path()).Read();
  EXPECT_EQ(host.memory_bytes(), int64_t{16384000} * 1024);
  EXPECT_EQ(host.memory_used_bytes(), int64_t{4384000} * 1024);
}

TEST_F(HostMeterTest, WhatIsNotToldIsLeftOut) {
  for (const char* stat : {"", "intr 1", "cpu 1 2 3", "cpu a b c d e f g h"}) {
    Tell("stat", stat);
    Tell("meminfo", "MemFree: 1 kB\n");
    HostMeter meter(directory_.path() / "absent", directory_.path());
    TellTicks({9, 9, 9, 9, 9, 9, 9, 9});
    const v1::HostTelemetry host = meter.Read();
    EXPECT_EQ(host.ByteSizeLong(), 0u) << stat << ": " << host.ShortDebugString();
  }
}

TEST_F(HostMeterTest, TheDiskIsThatOfTheStateDirectory) {
  const v1::HostTelemetry host = HostMeter("/proc", directory_.path()).Read();
  EXPECT_EQ(host.disk_bytes(), 0) << "a file system without a disk";
  struct statvfs disk {};
  ASSERT_EQ(::statvfs(directory_.path().c_str(), &disk), 0);
  const v1::HostTelemetry here = HostMeter(directory_.path(), directory_.path()).Read();
  EXPECT_EQ(here.disk_bytes(), static_cast<int64_t>(disk.f_blocks * disk.f_frsize));
  EXPECT_GT(here.disk_free_bytes(), 0);
  EXPECT_LE(here.disk_free_bytes(), here.disk_bytes());
}

TEST_F(HostMeterTest, ThisHostTellsAll) {
  HostMeter meter(directory_.path());
  v1::HostTelemetry host;
  // Ticks are of 10 ms.
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (!host.has_cpu_utilization() && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(1));
    host = meter.Read();
  }
  EXPECT_TRUE(host.has_cpu_utilization());
  EXPECT_GE(host.cpu_utilization(), 0);
  EXPECT_LE(host.cpu_utilization(), 1);
  EXPECT_GT(host.memory_used_bytes(), 0);
  EXPECT_LT(host.memory_used_bytes(), host.memory_bytes());
}

}  // namespace
}  // namespace wavefield
