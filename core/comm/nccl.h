#pragma once

#include <memory>
#include <stop_token>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/comm/communicator.h"

namespace wavefield {

struct NcclOptions {
  int rank = 0;
  int world_size = 1;
  absl::Duration connect_timeout = absl::Seconds(60);
  absl::Duration operation_timeout = absl::Minutes(5);
  std::stop_token cancel;  // ends a pending connect within milliseconds, with ABORTED
};

// Over NVLink, PCIe or the network, with NCCL, for memory of the calling thread's CUDA device:
// every span is device memory. (Values of the host travel by a communicator of the host's beside
// it.) Part of the CUDA module alone: core/backend/cuda/module/module.h.
//
// Work goes to a stream of its own, after everything that `compute_stream` (a cudaStream_t, which
// must outlive the communicator) was given before; BeginAllReduceSum() returns at once. All calls
// but Abort() come from one thread, whose current device stays the same. `store` is used during the
// call only: rank 0 sets the unique id under "nccl/id". NCCL finds networks by itself
// (NCCL_SOCKET_IFNAME, NCCL_IB_HCA); it neither encrypts nor authenticates. Sums in NVLink switches
// (NVLS), whose order is not fixed, are switched off unless NCCL_NVLS_ENABLE says otherwise.
absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(const NcclOptions& options,
                                                                   RendezvousStore& store,
                                                                   void* compute_stream);

}  // namespace wavefield
