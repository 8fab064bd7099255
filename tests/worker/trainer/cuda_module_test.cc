#include "worker/trainer/cuda_module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/trainer/device.h"

namespace wavefield {
namespace {

using testing::HasSubstr;

TEST(CudaModule, AFileThatDoesNotLoadSaysWhatIsMissing) {
  const auto module = LoadCudaModuleFrom("/no/such/libwavefield_cuda.so");
  EXPECT_TRUE(absl::IsFailedPrecondition(module.status()));
  EXPECT_THAT(std::string(module.status().message()), HasSubstr("/no/such/libwavefield_cuda.so"));
  EXPECT_THAT(std::string(module.status().message()), HasSubstr("LD_LIBRARY_PATH"));
}

TEST(CudaModule, ALibraryWithoutItsSymbolIsOfAnotherVersion) {
  const auto module = LoadCudaModuleFrom("libm.so.6");
  EXPECT_TRUE(absl::IsFailedPrecondition(module.status()));
  EXPECT_THAT(std::string(module.status().message()), HasSubstr("install both from one build"));
}

TEST(Device, AnUnknownOneIsRefusedByName) {
  const auto device = OpenDevice("tpu", 1);
  EXPECT_TRUE(absl::IsInvalidArgument(device.status()));
  EXPECT_THAT(std::string(device.status().message()), HasSubstr("'tpu'; it knows cpu and cuda"));
}

// A GPU of 24 GiB whose blocks have as much shared memory as those of compute capability 8.9.
absl::StatusOr<CudaDevice> DescribeSmall(int) {
  return CudaDevice{.name = "Small",
                    .compute_capability = 89,
                    .total_memory = int64_t{24} << 30,
                    .free_memory = int64_t{23} << 30,
                    .shared_memory = 99 << 10};
}

class DeviceMemory : public ::testing::Test {
 protected:
  absl::Status Check(const ModelConfig& model) const {
    TrainingConfig training;
    training.sequence_length = 64;
    training.batch_size = training.micro_batch_size = 1;
    training.max_steps = 1;
    FillDefaults(training, 1);
    return CheckMemory(device_, model, training, 1);
  }

  const CudaModule module_{.describe = DescribeSmall};
  const Device device_{.backend = nullptr, .cuda = &module_};
};

TEST_F(DeviceMemory, AModelWhoseKernelsFitIsTaken) {
  for (const char* preset : {"wave-field-3m", "wave-field-124m", "transformer-124m"}) {
    EXPECT_TRUE(Check(*FindPreset(preset)).ok()) << preset << ": " << Check(*FindPreset(preset));
  }
}

TEST_F(DeviceMemory, AKernelThatAsksForMoreSharedMemoryThanABlockHasIsRefused) {
  ModelConfig model = *FindPreset("wave-field-3m");
  model.n_layers = 1;
  model.d_model = 8192;
  model.n_heads = 64;
  const absl::Status status = Check(model);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(HasSubstr("KiB of a block's shared memory, and Small"),
                             HasSubstr("8.9) has 99;")));
}

TEST_F(DeviceMemory, MoreThanIsFreeIsRefusedWithWhatIsNeeded) {
  const absl::Status status = Check(*FindPreset("wave-field-1b5"));
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("Small has 23.00 of 24.00 GiB free"));
}

}  // namespace
}  // namespace wavefield
