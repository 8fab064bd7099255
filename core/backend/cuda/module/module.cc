#include "core/backend/cuda/module/module.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/errors.h"
#include "core/backend/cuda/module/cuda_status.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

std::string Version(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// A newer driver of the same or a later major version runs what an older toolkit built.
absl::Status CheckDriver() {
  int driver = 0;
  WF_RETURN_IF_ERROR(WF_CUDA_STATUS(cudaDriverGetVersion(&driver)));
  if (driver == 0) {
    return absl::UnavailableError(
        "no NVIDIA driver is installed on this host (libcuda.so.1 was not found); install one, or "
        "train on device cpu");
  }
  if (driver / 1000 < CUDART_VERSION / 1000) {
    return absl::FailedPreconditionError(
        fmt::format("the NVIDIA driver knows CUDA {}, the module was built with {}; install a "
                    "driver for CUDA {}.0 or later",
                    Version(driver), Version(CUDART_VERSION), CUDART_VERSION / 1000));
  }
  return absl::OkStatus();
}

absl::StatusOr<CudaDevice> Describe(int device) {
  WF_RETURN_IF_ERROR(CheckDriver());
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorNoDevice || (counted == cudaSuccess && device >= count)) {
    return absl::NotFoundError(
        fmt::format("this process sees {} CUDA devices and needs device {}; `nvidia-smi` lists "
                    "the host's, CUDA_VISIBLE_DEVICES hides some of them",
                    counted == cudaSuccess ? count : 0, device));
  }
  WF_RETURN_IF_ERROR(WF_CUDA_STATUS(counted));
  cudaDeviceProp properties{};
  WF_RETURN_IF_ERROR(WF_CUDA_STATUS(cudaGetDeviceProperties(&properties, device)));
  CudaDevice described{.name = properties.name,
                       .compute_capability = 10 * properties.major + properties.minor};
  if (described.compute_capability < WAVEFIELD_CUDA_LEAST_CAPABILITY) {
    return absl::FailedPreconditionError(
        fmt::format("{} has compute capability {}.{}; the module has code for {}.{} and later",
                    described.name, properties.major, properties.minor,
                    WAVEFIELD_CUDA_LEAST_CAPABILITY / 10, WAVEFIELD_CUDA_LEAST_CAPABILITY % 10));
  }
  WF_RETURN_IF_ERROR(WF_CUDA_STATUS(cudaSetDevice(device)));
  size_t free = 0, total = 0;
  WF_RETURN_IF_ERROR(WF_CUDA_STATUS(cudaMemGetInfo(&free, &total)));
  described.free_memory = static_cast<int64_t>(free);
  described.total_memory = static_cast<int64_t>(total);
  described.shared_memory = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  return described;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(int device) {
  WF_RETURN_IF_ERROR(Describe(device).status());
  return std::make_unique<CudaBackend>(device);
}

absl::StatusOr<std::unique_ptr<Communicator>> MakeCommunicator(Backend& backend,
                                                               const NcclOptions& options,
                                                               RendezvousStore& store) {
  return MakeNcclCommunicator(options, store, static_cast<CudaBackend&>(backend).stream());
}

int NcclVersion() {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

}  // namespace
}  // namespace wavefield

const wavefield::CudaModule* WavefieldCudaModule(int version) {
  static const wavefield::CudaModule module = {
      .cuda_version = CUDART_VERSION,
      .least_compute_capability = WAVEFIELD_CUDA_LEAST_CAPABILITY,
      .nccl_version = wavefield::NcclVersion(),
      .describe = wavefield::Describe,
      .make_backend = wavefield::MakeBackend,
      .make_communicator = wavefield::MakeCommunicator,
      .set_step = wavefield::cuda::SetStep,
  };
  return version == wavefield::kCudaModuleVersion ? &module : nullptr;
}
