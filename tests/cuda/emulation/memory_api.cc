// Memory of the device and of the host, and copies.

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "tests/cuda/emulation/device_api.h"
#include "tests/cuda/emulation/memory.h"
#include "tests/cuda/emulation/queues.h"
#include "tests/cuda/emulation/runtime.h"

namespace wavefield::emulation {
namespace {

// Host memory that the device reads and writes when an operation runs; other host memory is copied
// when the operation is enqueued.
struct PinnedMemory {
  std::mutex mutex;
  std::map<const char*, size_t> bytes;
};

PinnedMemory& Pinned() {
  static PinnedMemory& pinned = *new PinnedMemory;
  return pinned;
}

bool IsPinned(const void* data, size_t bytes) {
  PinnedMemory& pinned = Pinned();
  std::lock_guard lock(pinned.mutex);
  const char* const begin = static_cast<const char*>(data);
  auto after = pinned.bytes.upper_bound(begin);
  return after != pinned.bytes.begin() &&
         begin + bytes <= std::prev(after)->first + std::prev(after)->second;
}

bool IsDeviceAddress(const void* data) {
  return DeviceMemory::Get().InRegion(reinterpret_cast<uintptr_t>(data));
}

struct Copy {
  void* destination;
  size_t destination_pitch;
  const void* source;
  size_t source_pitch;
  size_t width, height;  // height > 0, width > 0
};

size_t Extent(size_t pitch, size_t width, size_t height) { return pitch * (height - 1) + width; }

void Run(const Copy& copy) {
  for (size_t row = 0; row < copy.height; ++row) {
    memmove(static_cast<char*>(copy.destination) + row * copy.destination_pitch,
            static_cast<const char*>(copy.source) + row * copy.source_pitch, copy.width);
  }
}

// Why the operands do not suit the direction; "" if they do.
std::string Violation(const Copy& copy, bool from_device, bool to_device) {
  const auto check = [&](const void* data, size_t pitch, bool on_device,
                         const char* what) -> std::string {
    if (IsDeviceAddress(data) != on_device) {
      return std::string("the ") + what + " is not in the memory of the " +
             (on_device ? "device" : "host");
    }
    const size_t bytes = Extent(pitch, copy.width, copy.height);
    if (on_device && !DeviceMemory::Get().Contains(data, bytes)) {
      return std::to_string(bytes) + " bytes of the " + what + " are not within one allocation";
    }
    return "";
  };
  const std::string source = check(copy.source, copy.source_pitch, from_device, "source");
  return !source.empty()
             ? source
             : check(copy.destination, copy.destination_pitch, to_device, "destination");
}

cudaError_t EnqueueCopy(const char* call, Copy copy, cudaMemcpyKind kind, cudaStream_t stream) {
  EnterCall(call);
  if (copy.width == 0 || copy.height == 0) return Result(cudaSuccess);
  if (copy.width > copy.destination_pitch || copy.width > copy.source_pitch) {
    return Result(cudaErrorInvalidValue, std::string(call) + ": rows are longer than the pitch");
  }
  bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) {
    from_device = IsDeviceAddress(copy.source);
    to_device = IsDeviceAddress(copy.destination);
  } else if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) {
    return Result(cudaErrorInvalidMemcpyDirection);
  }
  const std::string violation = Violation(copy, from_device, to_device);
  if (!violation.empty()) {
    return Result(cudaErrorInvalidValue, std::string(call) + ": " + violation);
  }
  const size_t source_bytes = Extent(copy.source_pitch, copy.width, copy.height);
  if (!from_device && !IsPinned(copy.source, source_bytes)) {
    const char* const source = static_cast<const char*>(copy.source);
    return Enqueue(stream, call,
                   [copy, staged = std::vector<char>(source, source + source_bytes)]() mutable {
                     copy.source = staged.data();
                     Run(copy);
                   });
  }
  const cudaError_t result = Enqueue(stream, call, [copy] { Run(copy); });
  if (result != cudaSuccess || to_device ||
      IsPinned(copy.destination, Extent(copy.destination_pitch, copy.width, copy.height))) {
    return result;
  }
  return cudaStreamSynchronize(stream);
}

cudaError_t EnqueueFill(const char* call, void* data, int value, size_t bytes,
                        cudaStream_t stream) {
  EnterCall(call);
  if (bytes == 0) return Result(cudaSuccess);
  if (!DeviceMemory::Get().Contains(data, bytes)) {
    return Result(cudaErrorInvalidValue, std::string(call) + ": " + std::to_string(bytes) +
                                             " bytes are not within one allocation");
  }
  return Enqueue(stream, call, [=] { memset(data, value, bytes); });
}

}  // namespace

bool IsDeviceRange(const void* data, size_t bytes) {
  return DeviceMemory::Get().Contains(data, bytes);
}

}  // namespace wavefield::emulation

namespace emulation = wavefield::emulation;
using wavefield::emulation::DeviceMemory;
using wavefield::emulation::Result;

cudaError_t cudaMalloc(void** data, size_t bytes) {
  emulation::EnterCall("cudaMalloc");
  if (emulation::DeviceCount() == 0) return Result(cudaErrorNoDevice);
  return Result(DeviceMemory::Get().Allocate(emulation::CurrentDevice(), bytes, data));
}

cudaError_t cudaFree(void* data) {
  emulation::EnterCall("cudaFree");
  if (data == nullptr) return Result(cudaSuccess);
  const int device = DeviceMemory::Get().DeviceOf(data);
  if (device >= 0) emulation::Queues::Get().WaitForDevice(device);
  return Result(DeviceMemory::Get().Free(data));
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  emulation::EnterCall("cudaMemGetInfo");
  if (emulation::DeviceCount() == 0) return Result(cudaErrorNoDevice);
  *free = DeviceMemory::Get().BytesFree(emulation::CurrentDevice());
  *total = DeviceMemory::Get().BytesPerDevice();
  return Result(cudaSuccess);
}

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  emulation::EnterCall("cudaHostAlloc");
  *data = nullptr;
  if (bytes == 0) return Result(cudaSuccess);
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Result(cudaErrorMemoryAllocation);
  emulation::PinnedMemory& pinned = emulation::Pinned();
  std::lock_guard lock(pinned.mutex);
  pinned.bytes[static_cast<char*>(memory)] = bytes;
  *data = memory;
  return Result(cudaSuccess);
}

cudaError_t cudaMallocHost(void** data, size_t bytes) { return cudaHostAlloc(data, bytes, 0); }

cudaError_t cudaFreeHost(void* data) {
  emulation::EnterCall("cudaFreeHost");
  if (data == nullptr) return Result(cudaSuccess);
  for (int device = 0; device < emulation::DeviceCount(); ++device) {
    emulation::Queues::Get().WaitForDevice(device);
  }
  emulation::PinnedMemory& pinned = emulation::Pinned();
  std::lock_guard lock(pinned.mutex);
  const auto found = pinned.bytes.find(static_cast<char*>(data));
  if (found == pinned.bytes.end()) {
    return Result(cudaErrorInvalidValue, "cudaFreeHost of what cudaHostAlloc did not return");
  }
  munmap(data, found->second);
  pinned.bytes.erase(found);
  return Result(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  return emulation::EnqueueCopy("cudaMemcpyAsync", {destination, bytes, source, bytes, bytes, 1},
                                kind, stream);
}

cudaError_t cudaMemcpy(void* destination, const void* source, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t result = emulation::EnqueueCopy(
      "cudaMemcpy", {destination, bytes, source, bytes, bytes, 1}, kind, nullptr);
  return result != cudaSuccess ? result : cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemcpy2DAsync(void* destination, size_t destination_pitch, const void* source,
                              size_t source_pitch, size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return emulation::EnqueueCopy(
      "cudaMemcpy2DAsync", {destination, destination_pitch, source, source_pitch, width, height},
      kind, stream);
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  return emulation::EnqueueFill("cudaMemsetAsync", data, value, bytes, stream);
}

cudaError_t cudaMemset(void* data, int value, size_t bytes) {
  return emulation::EnqueueFill("cudaMemset", data, value, bytes, nullptr);
}
