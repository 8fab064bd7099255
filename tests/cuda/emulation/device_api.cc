#include "tests/cuda/emulation/device_api.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/memory.h"
#include "tests/cuda/emulation/queues.h"

namespace wavefield::emulation {
namespace {

constinit thread_local int current_device = 0;
constinit thread_local cudaError_t last_error = cudaSuccess;

struct ErrorName {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorName kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection",
     "invalid copy direction for memcpy"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
};
constexpr ErrorName kUnknown{cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};

const ErrorName& Find(cudaError_t error) {
  for (const ErrorName& entry : kErrors) {
    if (entry.error == error) return entry;
  }
  return kUnknown;
}

}  // namespace

int DeviceCount() {
  static const int count = [] {
    const char* devices = getenv("WAVEFIELD_EMULATED_DEVICES");
    return devices == nullptr ? 2 : std::clamp(atoi(devices), 0, 64);
  }();
  return count;
}

int CurrentDevice() { return current_device; }

cudaError_t Result(cudaError_t result, const std::string& why) {
  if (!why.empty()) Refuse(why);
  if (result != cudaSuccess && result != cudaErrorNotReady) last_error = result;
  return result;
}

void EnterCall(const char* call) {
  if (CurrentOperation() != nullptr) Fatal(std::string(call) + " is called by an operation");
}

}  // namespace wavefield::emulation

using wavefield::emulation::DeviceCount;
using wavefield::emulation::DeviceMemory;
using wavefield::emulation::Queues;
using wavefield::emulation::Result;

const char* cudaGetErrorName(cudaError_t error) { return wavefield::emulation::Find(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return wavefield::emulation::Find(error).text; }

cudaError_t cudaGetLastError() {
  return std::exchange(wavefield::emulation::last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() { return wavefield::emulation::last_error; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = DeviceCount();
  return Result(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaSetDevice(int device) {
  wavefield::emulation::EnterCall("cudaSetDevice");
  if (device < 0 || device >= DeviceCount()) return Result(cudaErrorInvalidDevice);
  wavefield::emulation::current_device = device;
  return Result(cudaSuccess);
}

cudaError_t cudaGetDevice(int* device) {
  *device = wavefield::emulation::CurrentDevice();
  return Result(cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= DeviceCount()) return Result(cudaErrorInvalidDevice);
  *properties = cudaDeviceProp{};
  strcpy(properties->name, "Emulated");
  properties->uuid.bytes[15] = static_cast<char>(device);
  properties->totalGlobalMem = DeviceMemory::Get().BytesPerDevice();
  properties->sharedMemPerBlock = wavefield::emulation::kSharedBytesWithoutOptIn;
  properties->sharedMemPerBlockOptin = wavefield::emulation::kMostSharedBytes;
  properties->sharedMemPerMultiprocessor = 228 << 10;
  properties->reservedSharedMemPerBlock = 1 << 10;
  properties->regsPerBlock = properties->regsPerMultiprocessor = 64 << 10;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
  properties->maxThreadsDim[2] = 64;
  properties->maxGridSize[0] = 0x7fffffff;
  properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 132;
  properties->l2CacheSize = 50 << 20;
  properties->pciBusID = device + 1;
  return Result(cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t result = cudaGetDeviceProperties(&properties, device);
  if (result != cudaSuccess) return result;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(properties.sharedMemPerBlock);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrWarpSize:
      *value = properties.warpSize;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      break;
    case cudaDevAttrL2CacheSize:
      *value = properties.l2CacheSize;
      break;
    default:
      return Result(cudaErrorNotSupported,
                    "cudaDeviceGetAttribute does not know attribute " + std::to_string(attribute));
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  if (device < 0 || device >= DeviceCount()) return Result(cudaErrorInvalidDevice);
  if (length < 13) return Result(cudaErrorInvalidValue);
  snprintf(id, length, "0000:%02x:00.0", static_cast<unsigned char>(device + 1));
  return Result(cudaSuccess);
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return Result(cudaSuccess);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return Result(cudaSuccess);
}

cudaError_t cudaDeviceSynchronize() {
  wavefield::emulation::EnterCall("cudaDeviceSynchronize");
  Queues::Get().WaitForDevice(wavefield::emulation::CurrentDevice());
  return Result(cudaSuccess);
}

cudaError_t cudaDeviceReset() {
  wavefield::emulation::EnterCall("cudaDeviceReset");
  Queues::Get().WaitForDevice(wavefield::emulation::CurrentDevice());
  DeviceMemory::Get().FreeAll(wavefield::emulation::CurrentDevice());
  return Result(cudaSuccess);
}
