// Launches of kernels.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "tests/cuda/emulation/block.h"
#include "tests/cuda/emulation/device.h"
#include "tests/cuda/emulation/device_api.h"
#include "tests/cuda/emulation/queues.h"
#include "tests/cuda/emulation/runtime.h"

namespace wavefield::emulation {
namespace {

constexpr unsigned kMostBlockZ = 64;
constexpr unsigned kMostGridX = 0x7fffffff;
constexpr unsigned kMostGridYZ = 65535;

struct Kernels {
  std::mutex mutex;
  std::map<const void*, int> shared_bytes;  // that a kernel has opted in to
  std::map<std::string, LaunchCount> launches;
};

void AppendLaunches() {
  const char* path = getenv("WAVEFIELD_EMULATION_LAUNCHES");
  if (path == nullptr) return;
  std::string lines;
  for (const auto& [name, count] : Launches()) {
    lines += name + " " + std::to_string(count.launches) + "\n";
  }
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0 || write(file, lines.data(), lines.size()) < 0) {
    perror("CUDA emulation: WAVEFIELD_EMULATION_LAUNCHES");
  }
  if (file >= 0) close(file);
}

Kernels& AllKernels() {
  static Kernels& kernels = *new Kernels;
  static const int registered = atexit(AppendLaunches);
  (void)registered;
  return kernels;
}

std::atomic<Order> order{Order::kSeeded};
std::atomic<unsigned> last_columns{0};  // of a grid, that run; 0: all

std::string Text(dim3 x) {
  return "(" + std::to_string(x.x) + ", " + std::to_string(x.y) + ", " + std::to_string(x.z) + ")";
}

// Why a device would refuse the launch; "" if it would not.
std::string Violation(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads) {
    return "a block of " + Text(block) + " threads; a block has 1 to 1024";
  }
  if (block.z > kMostBlockZ) return "a block of " + Text(block) + " threads; z is at most 64";
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > kMostGridX || grid.y > kMostGridYZ ||
      grid.z > kMostGridYZ) {
    return "a grid of " + Text(grid) + " blocks; x is 1 to 2147483647, y and z are 1 to 65535";
  }
  int limit = kSharedBytesWithoutOptIn;
  Kernels& kernels = AllKernels();
  std::lock_guard lock(kernels.mutex);
  const auto opted_in = kernels.shared_bytes.find(kernel);
  if (opted_in != kernels.shared_bytes.end()) limit = std::max(limit, opted_in->second);
  if (shared_bytes > static_cast<size_t>(limit)) {
    return std::to_string(shared_bytes) + " bytes of shared memory; the kernel may have " +
           std::to_string(limit) + " (cudaFuncSetAttribute raises it up to " +
           std::to_string(kMostSharedBytes) + ")";
  }
  return "";
}

void RunKernel(const char* name, const Grid& grid) {
  {
    Kernels& kernels = AllKernels();
    std::lock_guard lock(kernels.mutex);
    LaunchCount& count = kernels.launches[name];
    ++count.launches;
    count.threads += static_cast<int64_t>(uint64_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z *
                                          grid.threads.x * grid.threads.y * grid.threads.z);
  }
  const auto first_x = static_cast<unsigned>(FirstToRun(grid.blocks.x));
  BlockRunner::Get().Run(grid, first_x, order, Queues::Get().DrawSeed());
}

}  // namespace

void SetOrder(Order new_order) { order = new_order; }
void RunLastBlocks(unsigned columns) { last_columns = columns; }
int64_t FirstToRun(int64_t count) {
  const int64_t last = last_columns;
  return last == 0 ? 0 : std::max<int64_t>(0, count - last);
}

std::map<std::string, LaunchCount> Launches() {
  Kernels& kernels = AllKernels();
  std::lock_guard lock(kernels.mutex);
  return kernels.launches;
}

void ResetLaunches() {
  Kernels& kernels = AllKernels();
  std::lock_guard lock(kernels.mutex);
  kernels.launches.clear();
}

}  // namespace wavefield::emulation

namespace wavefield::cuda {

cudaError_t LaunchOnHost(const char* name, const void* kernel, dim3 grid, dim3 block,
                         size_t shared_bytes, cudaStream_t stream,
                         std::function<void()> thread_body) {
  const std::string violation = emulation::Violation(kernel, grid, block, shared_bytes);
  if (!violation.empty()) {
    return emulation::Result(cudaErrorInvalidConfiguration, std::string(name) + ": " + violation);
  }
  return emulation::Enqueue(
      stream, name,
      [name, launch = emulation::Grid{grid, block, shared_bytes, std::move(thread_body)}] {
        emulation::RunKernel(name, launch);
      });
}

}  // namespace wavefield::cuda

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  namespace emulation = wavefield::emulation;
  emulation::EnterCall("cudaFuncSetAttribute");
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
    return emulation::Result(cudaErrorNotSupported);
  }
  if (value < 0 || value > emulation::kMostSharedBytes) {
    return emulation::Result(cudaErrorInvalidValue,
                             "cudaFuncSetAttribute: " + std::to_string(value) +
                                 " bytes of shared memory; a block has at most " +
                                 std::to_string(emulation::kMostSharedBytes));
  }
  emulation::Kernels& kernels = emulation::AllKernels();
  std::lock_guard lock(kernels.mutex);
  kernels.shared_bytes[kernel] = value;
  return emulation::Result(cudaSuccess);
}
