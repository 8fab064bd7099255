#pragma once

// The emulated CUDA runtime beyond CUDA's own functions: what the stand-ins of CUDA's libraries and
// tests use. All functions are thread-safe. README.md says what is enforced.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace wavefield::emulation {

// Appends `work` to the stream as one operation. It runs later, on some host thread, in the
// stream's order, and may then access the memory of the stream's device and the host's; it must
// copy its arguments and must not call CUDA. `name` is for messages. The device of the stream must
// be current. Errors as a launch on that stream has them.
cudaError_t Enqueue(cudaStream_t stream, std::string name, std::function<void()> work);

// The same for what waits for something outside the device, such as another rank: `attempt` is
// called again and again until it returns true, and must not block.
cudaError_t EnqueueAttempts(cudaStream_t stream, std::string name, std::function<bool()> attempt);

// Whether these bytes lie within one live allocation of some device.
bool IsDeviceRange(const void* data, size_t bytes);

// The device of a live stream (of a null stream: the current one); −1 for anything else.
int DeviceOf(cudaStream_t stream);

// What every choice of order is drawn from, from now on. At start: the environment variable
// WAVEFIELD_EMULATION_SEED, or 1.
void SetSeed(uint64_t seed);

// In which order the blocks of a grid and the threads of a block run. At start: kSeeded.
enum class Order { kIdentity, kReverse, kSeeded };
void SetOrder(Order order);

// For tensors that are too large to be computed whole: from now on, of the blocks of a grid only
// those run whose x is among the last `columns`, and of a batch of products only the last so many;
// 0: all.
void RunLastBlocks(unsigned columns);
// The first of `count` that is to run.
int64_t FirstToRun(int64_t count);

// What has run so far, by the name of the kernel. If the environment variable
// WAVEFIELD_EMULATION_LAUNCHES names a file, a process appends a line "name launches" for every
// kernel that it ran when it exits.
struct LaunchCount {
  int64_t launches = 0;
  int64_t threads = 0;
};
std::map<std::string, LaunchCount> Launches();
void ResetLaunches();

}  // namespace wavefield::emulation
