#include "worker/agent/gpu_slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/base/file.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kGiB = int64_t{1} << 30;

nlohmann::json Gpu(const std::string& uuid) {
  return {{"uuid", uuid},     {"name", "Emulated"}, {"capability", 90},  {"memory", 80 * kGiB},
          {"reserved", kGiB}, {"used", 0},          {"utilization", 25}, {"temperature", 40},
          {"power", 100'500}, {"ecc", 3},           {"xid", 0},          {"throttle_reasons", 0}};
}

// On a host whose driver is the stand-in of tests/cuda/emulation/nvml.cc.
class GpuSlotsTest : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("WAVEFIELD_EMULATED_NVML", (directory_.path() / "nvml.json").c_str(), 1);
    Save();
  }

  void Save() {
    ASSERT_TRUE(WriteFileAtomically(directory_.path() / "nvml.json", state_.dump()).ok());
  }

  std::unique_ptr<GpuSlots> MakeSlots(
      const std::optional<std::set<int>>& selection = std::nullopt) {
    auto made = GpuSlots::Make(Nvml::Open().value(), selection, 4, requirements_);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }

  TemporaryDirectory directory_;
  nlohmann::json state_ = {
      {"driver", "580.65.06"}, {"cuda", 13000}, {"gpus", {Gpu("GPU-a"), Gpu("GPU-b")}}};
  absl::StatusOr<CudaRequirements> requirements_ =
      CudaRequirements{.cuda_version = 13020, .least_compute_capability = 80};
};

TEST_F(GpuSlotsTest, EveryGpuIsASlotAndTellsOfItself) {
  const auto slots = MakeSlots();
  EXPECT_EQ(slots->slots(), 2);
  const std::vector<v1::Gpu> report = slots->Report();
  ASSERT_EQ(report.size(), 2u);
  EXPECT_EQ(report[1].slot(), 5);
  EXPECT_EQ(report[1].uuid(), "GPU-b");
  EXPECT_EQ(report[1].model(), "Emulated");
  EXPECT_EQ(report[1].memory_bytes(), 79 * kGiB);
  EXPECT_EQ(report[1].compute_capability(), 90);
  EXPECT_EQ(report[1].driver_version(), "580.65.06");
  EXPECT_EQ(report[1].unavailable(), "");
  const v1::GpuTelemetry& now = report[1].telemetry();
  EXPECT_EQ(now.memory_used_bytes(), 0);
  EXPECT_EQ(now.utilization(), 0.25);
  EXPECT_EQ(now.temperature_celsius(), 40);
  EXPECT_EQ(now.power_watts(), 100.5);
  EXPECT_EQ(now.uncorrected_ecc_errors(), 3);
  EXPECT_EQ(now.last_xid(), 0);
  EXPECT_THAT(slots->Occupy(5), ElementsAre("CUDA_VISIBLE_DEVICES=GPU-b"));
  EXPECT_THAT(slots->Occupy(3), IsEmpty());
}

TEST_F(GpuSlotsTest, WhatADriverDoesNotTellIsLeftOut) {
  for (const char* key : {"utilization", "temperature", "power", "ecc", "throttle_reasons"}) {
    state_["gpus"][0].erase(key);
  }
  Save();
  const v1::GpuTelemetry now = MakeSlots()->Report()[0].telemetry();
  EXPECT_FALSE(now.has_utilization() || now.has_temperature_celsius() || now.has_power_watts() ||
               now.has_uncorrected_ecc_errors() || now.has_throttled());
  EXPECT_TRUE(now.has_memory_used_bytes());
}

TEST_F(GpuSlotsTest, HeatAndThePowerSupplyThrottleAndThePowerCapDoesNot) {
  const auto slots = MakeSlots();
  const auto throttled = [&](uint64_t reasons) {
    state_["gpus"][0]["throttle_reasons"] = reasons;
    Save();
    const v1::GpuTelemetry now = slots->Report()[0].telemetry();
    EXPECT_TRUE(now.has_throttled());
    return now.throttled();
  };
  // NVML's bits: idle, clocks set by the user, power cap, boost in step, display.
  for (const uint64_t reason : {0x0, 0x1, 0x2, 0x4, 0x10, 0x100}) {
    EXPECT_FALSE(throttled(reason)) << reason;
  }
  // The hardware's slowdown, the driver's for heat, the hardware's for heat, the power brake.
  for (const uint64_t reason : {0x8, 0x20, 0x40, 0x80}) {
    EXPECT_TRUE(throttled(reason)) << reason;
    EXPECT_TRUE(throttled(reason | 0x4)) << reason;
  }
}

TEST_F(GpuSlotsTest, CriticalErrorsOfTheDriverAreTold) {
  const auto slots = MakeSlots();
  state_["gpus"][0]["xid"] = 79;
  Save();
  EXPECT_EQ(slots->Report()[0].telemetry().last_xid(), 79);
  EXPECT_EQ(slots->Report()[0].telemetry().last_xid(), 79) << "the last one stays";
  EXPECT_EQ(slots->Report()[1].telemetry().last_xid(), 0);
}

TEST_F(GpuSlotsTest, ASlotWhoseMemoryIsUsedByOthersIsHeld) {
  const auto slots = MakeSlots();
  state_["gpus"][1]["used"] = 3 * kGiB;
  Save();
  EXPECT_TRUE(slots->CheckFree(4).ok());
  EXPECT_TRUE(slots->CheckFree(0).ok()) << "a slot of the CPU";
  EXPECT_TRUE(absl::IsUnavailable(slots->CheckFree(5)));
  EXPECT_THAT(slots->Report()[1].unavailable(), HasSubstr("3.0 GiB of its memory are used"));
  slots->Occupy(5);
  EXPECT_EQ(slots->Report()[1].unavailable(), "") << "its own task uses it";
  slots->Vacate(5);
  EXPECT_NE(slots->Report()[1].unavailable(), "");
  state_["gpus"][1]["used"] = 0;
  Save();
  EXPECT_TRUE(slots->CheckFree(5).ok());
  EXPECT_EQ(slots->Report()[1].unavailable(), "");
}

TEST_F(GpuSlotsTest, AGpuThatDoesNotFitIsShownWithTheReasonAndHasNoSlot) {
  state_["cuda"] = 11040;
  Save();
  const auto old_driver = MakeSlots();
  EXPECT_EQ(old_driver->slots(), 0);
  EXPECT_EQ(old_driver->Report()[0].slot(), -1);
  EXPECT_THAT(
      old_driver->Report()[0].unavailable(),
      HasSubstr("the driver 580.65.06 knows CUDA 11.4, the CUDA module was built with 13.2"));

  state_["cuda"] = 13000;
  state_["gpus"][0]["capability"] = 75;
  Save();
  const auto old_gpu = MakeSlots();
  EXPECT_EQ(old_gpu->slots(), 1);
  EXPECT_THAT(old_gpu->Report()[0].unavailable(), HasSubstr("compute capability 7.5"));
  EXPECT_EQ(old_gpu->Report()[1].slot(), 4);

  requirements_ = absl::FailedPreconditionError("device cuda needs the CUDA module");
  EXPECT_THAT(MakeSlots()->Report()[1].unavailable(), HasSubstr("needs the CUDA module"));
}

TEST_F(GpuSlotsTest, GpusAreSelectedByIndex) {
  const auto one = MakeSlots(ParseGpuSelection("1").value());
  ASSERT_EQ(one->Report().size(), 1u);
  EXPECT_EQ(one->Report()[0].uuid(), "GPU-b");
  EXPECT_EQ(one->Report()[0].slot(), 4);
  EXPECT_THAT(MakeSlots(ParseGpuSelection("none").value())->Report(), IsEmpty());
  EXPECT_EQ(MakeSlots(ParseGpuSelection("all").value())->slots(), 2);
  const auto missing =
      GpuSlots::Make(Nvml::Open().value(), ParseGpuSelection("0,7").value(), 4, requirements_);
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("GPU 7, and this host has 2"));
  for (const char* wrong : {"", "-1", "0,0", "0;1", "x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseGpuSelection(wrong).status())) << wrong;
  }
}

TEST_F(GpuSlotsTest, ADriverThatDoesNotAnswerSaysWhy) {
  state_["init"] = 18;
  Save();
  const auto nvml = Nvml::Open();
  EXPECT_TRUE(absl::IsUnavailable(nvml.status()));
  EXPECT_THAT(std::string(nvml.status().message()), HasSubstr("version mismatch"));
}

}  // namespace
}  // namespace wavefield
