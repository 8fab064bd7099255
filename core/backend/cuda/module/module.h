#pragma once

// What libwavefield_cuda.so offers: everything that needs CUDA or NCCL, behind one symbol. Programs
// that have no GPU never load it, and nobody but the module includes headers of CUDA.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/backend/backend.h"
#include "core/comm/communicator.h"
#include "core/comm/nccl.h"

namespace wavefield {

// Of this header and of every class that passes through it.
inline constexpr int kCudaModuleVersion = 2;
inline constexpr char kCudaModuleFile[] = "libwavefield_cuda.so";
inline constexpr char kCudaModuleSymbol[] = "WavefieldCudaModule";

struct CudaDevice {
  std::string name;
  int compute_capability = 0;  // 90 is 9.0
  int64_t total_memory = 0;    // bytes
  int64_t free_memory = 0;     // bytes, as of now
  int64_t shared_memory = 0;   // bytes that a block of threads can have
};

// All functions: from one thread. Of the statuses, UNAVAILABLE says that the driver is missing,
// FAILED_PRECONDITION that driver or device do not fit the module, NOT_FOUND that there is no such
// device; each says what to do.
struct CudaModule {
  int cuda_version;  // built with: 13020 is 13.2; a driver of that major version runs it
  int least_compute_capability;  // that it has code for: 80 is 8.0
  int nccl_version;              // 22703 is 2.27.3

  // A device of this process: CUDA_VISIBLE_DEVICES decides which there are.
  absl::StatusOr<CudaDevice> (*describe)(int device);
  // A backend on that device, which becomes the calling thread's.
  absl::StatusOr<std::unique_ptr<Backend>> (*make_backend)(int device);
  // For memory of `backend`, which make_backend() made and which must outlive the communicator.
  absl::StatusOr<std::unique_ptr<Communicator>> (*make_communicator)(Backend& backend,
                                                                     const NcclOptions& options,
                                                                     RendezvousStore& store);
  // The optimizer step that messages of CUDA errors name; −1: none.
  void (*set_step)(int64_t step);
};

}  // namespace wavefield

// Null unless `version` is the module's own kCudaModuleVersion. The result lives as long as the
// module is loaded, which must not be unloaded.
extern "C" __attribute__((visibility("default"))) const wavefield::CudaModule* WavefieldCudaModule(
    int version);
