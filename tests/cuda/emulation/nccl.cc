// Stands in for the part of NCCL that core/comm/nccl.cc calls, between threads and processes of one
// host over its loopback address. Sums are in the order of ranks. What NCCL refuses is refused,
// with the reason on stderr, and so are ranks that call different things, which NCCL would hang or
// fall over. A collective whose peer is gone ends when the communicator is aborted, not before.

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/nccl_communicator.h"
#include "tests/cuda/emulation/runtime.h"

struct ncclComm {
  std::shared_ptr<wavefield::emulation::nccl::Communicator> communicator;
  std::string failure;
};

namespace {

using wavefield::emulation::DeviceOf;
using wavefield::emulation::EnqueueAttempts;
using wavefield::emulation::IsDeviceRange;
using namespace wavefield::emulation::nccl;  // NCCL's own names are in no namespace

constexpr uint64_t kMagic = 0x6e63636c2d6964;
constexpr unsigned kConfigMagic = 0xcafebeef;

std::mutex mutex;
std::map<ncclComm_t, std::unique_ptr<ncclComm>> communicators;
std::map<uint64_t, Socket> listeners;  // of unique ids that rank 0 has not come with, by nonce
thread_local std::string last_refusal;

template <typename... Arguments>
ncclResult_t Refuse(ncclResult_t result, fmt::format_string<Arguments...> format,
                    Arguments&&... arguments) {
  last_refusal = fmt::format(format, std::forward<Arguments>(arguments)...);
  wavefield::emulation::Refuse(
      fmt::format("NCCL: {}: {}", ncclGetErrorString(result), last_refusal));
  return result;
}

// Null when the handle is not of a communicator, or no longer.
std::shared_ptr<Communicator> Find(ncclComm_t handle) {
  const std::lock_guard lock(mutex);
  const auto found = communicators.find(handle);
  return found == communicators.end() ? nullptr : found->second->communicator;
}

ncclResult_t NoCommunicator() { return Refuse(ncclInvalidArgument, "not a communicator"); }

void Forget(ncclComm_t handle) {
  const std::lock_guard lock(mutex);
  communicators.erase(handle);
}

ncclResult_t AwaitState(Communicator& communicator) {
  for (;;) {
    const ncclResult_t state = communicator.State();
    if (state != ncclInProgress) return state;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

ncclResult_t Collective(const char* name, const Header& header, const void* in, void* out,
                        ncclComm_t handle, cudaStream_t stream) {
  const auto communicator = Find(handle);
  if (communicator == nullptr) return NoCommunicator();
  if (header.type != ncclFloat32 && header.type != ncclFloat64) {
    return Refuse(ncclInvalidArgument, "{} of elements of type {}", name, header.type);
  }
  const size_t element = header.type == ncclFloat64 ? sizeof(double) : sizeof(float);
  const size_t bytes = static_cast<size_t>(header.count) * element;
  const bool reads = header.kind == Kind::kAllReduce || header.root == communicator->rank();
  if (header.root < 0 || header.root >= communicator->size()) {
    return Refuse(ncclInvalidArgument, "{} from rank {} of {}", name, header.root,
                  communicator->size());
  }
  if ((reads && !IsDeviceRange(in, bytes)) || !IsDeviceRange(out, bytes)) {
    return Refuse(ncclInvalidArgument, "{}: {} bytes at {} and {} are not device memory", name,
                  bytes, in, out);
  }
  const auto from = reinterpret_cast<uintptr_t>(in), to = reinterpret_cast<uintptr_t>(out);
  if ((reads && from % element != 0) || to % element != 0) {
    return Refuse(ncclInvalidArgument, "{}: {} and {} are not aligned to elements", name, in, out);
  }
  if (reads && from != to && from < to + bytes && to < from + bytes) {
    return Refuse(ncclInvalidArgument, "{}: {} bytes at {} and {} overlap", name, bytes, in, out);
  }
  if (DeviceOf(stream) != communicator->device()) {
    return Refuse(ncclInvalidArgument, "{}: the stream is of device {}, the communicator of {}",
                  name, DeviceOf(stream), communicator->device());
  }
  if (const ncclResult_t taken = communicator->Take(); taken != ncclSuccess) {
    return Refuse(taken, "{} on a communicator that was not seen to be ready", name);
  }
  auto operation = communicator->Add(header, in, out);
  if (EnqueueAttempts(stream, name, [communicator, operation = std::move(operation)] {
        return communicator->Attempt(*operation);
      }) != cudaSuccess) {
    return Refuse(ncclUnhandledCudaError, "the stream does not take the {}", name);
  }
  return communicator->blocking() ? ncclSuccess : ncclInProgress;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  if (version == nullptr) return Refuse(ncclInvalidArgument, "no place for the version");
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t handle) {
  const std::lock_guard lock(mutex);
  const auto found = communicators.find(handle);
  if (found == communicators.end()) return last_refusal.c_str();
  found->second->failure = found->second->communicator->Failure();
  return found->second->failure.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  if (id == nullptr) return Refuse(ncclInvalidArgument, "no place for the id");
  Rendezvous rendezvous{};
  Socket listener = Listen(&rendezvous.port);
  if (!listener.valid()) return Refuse(ncclSystemError, "no socket to listen at");
  std::random_device random;
  rendezvous.magic = kMagic;
  rendezvous.nonce = uint64_t{random()} << 32 | random();
  *id = {};
  std::memcpy(id->internal, &rendezvous, sizeof(rendezvous));
  const std::lock_guard lock(mutex);
  listeners[rendezvous.nonce] = std::move(listener);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* handle, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (handle == nullptr || size < 1 || rank < 0 || rank >= size) {
    return Refuse(ncclInvalidArgument, "rank {} of {}", rank, size);
  }
  *handle = nullptr;
  if (config == nullptr || config->magic != kConfigMagic || config->size != sizeof(*config) ||
      config->version != NCCL_VERSION_CODE) {
    return Refuse(ncclInvalidArgument, "the config is not NCCL_CONFIG_INITIALIZER");
  }
  if (config->blocking != 0 && config->blocking != 1 && config->blocking != NCCL_CONFIG_UNDEF_INT) {
    return Refuse(ncclInvalidArgument, "blocking is {}", config->blocking);
  }
  Rendezvous rendezvous;
  std::memcpy(&rendezvous, id.internal, sizeof(rendezvous));
  if (rendezvous.magic != kMagic) return Refuse(ncclInvalidArgument, "not a unique id");
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return Refuse(ncclUnhandledCudaError, "no device");
  Socket listener;
  if (rank == 0) {
    const std::lock_guard lock(mutex);
    const auto found = listeners.find(rendezvous.nonce);
    if (found == listeners.end()) {
      return Refuse(ncclInvalidUsage, "rank 0 has not made this unique id, or has used it");
    }
    listener = std::move(found->second);
    listeners.erase(found);
  }
  const bool blocking = config->blocking != 0;
  auto made = std::make_unique<ncclComm>();
  made->communicator =
      std::make_shared<Communicator>(size, rank, blocking, device, rendezvous, std::move(listener));
  const auto communicator = made->communicator;
  {
    const std::lock_guard lock(mutex);
    *handle = made.get();
    communicators[*handle] = std::move(made);
  }
  return blocking ? AwaitState(*communicator) : ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* state) {
  const auto communicator = Find(handle);
  if (communicator == nullptr || state == nullptr) return NoCommunicator();
  *state = communicator->State();
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t handle, int* count) {
  const auto communicator = Find(handle);
  if (communicator == nullptr || count == nullptr) return NoCommunicator();
  *count = communicator->size();
  return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
  const auto communicator = Find(handle);
  if (communicator == nullptr || rank == nullptr) return NoCommunicator();
  *rank = communicator->rank();
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclRedOp_t reduction, ncclComm_t handle, cudaStream_t stream) {
  if (reduction != ncclSum) {
    return Refuse(ncclInvalidArgument, "reduction {}", static_cast<int>(reduction));
  }
  return Collective("ncclAllReduce", {Kind::kAllReduce, type, 0, 0, static_cast<int64_t>(count)},
                    in, out, handle, stream);
}

ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t handle, cudaStream_t stream) {
  return Collective("ncclBroadcast", {Kind::kBroadcast, type, root, 0, static_cast<int64_t>(count)},
                    in, out, handle, stream);
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  const auto communicator = Find(handle);
  if (communicator == nullptr) return NoCommunicator();
  if (const ncclResult_t taken = communicator->Take(); taken != ncclSuccess) {
    return Refuse(taken, "ncclCommFinalize on a communicator that was not seen to be ready");
  }
  communicator->Finalize();
  return communicator->blocking() ? AwaitState(*communicator) : ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  const auto communicator = Find(handle);
  if (communicator == nullptr) return NoCommunicator();
  if (communicator->Take() == ncclSuccess) {
    communicator->Finalize();
    AwaitState(*communicator);
  }
  communicator->Abort();
  Forget(handle);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t handle) {
  const auto communicator = Find(handle);
  if (communicator == nullptr) return NoCommunicator();
  communicator->Abort();
  Forget(handle);
  return ncclSuccess;
}

}  // extern "C"
