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

}  // namespace
}  // namespace wavefield
