#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <vector>

#include "tests/cuda/emulation/device.h"
#include "tests/cuda/emulation/fiber.h"
#include "tests/cuda/emulation/permutation.h"
#include "tests/cuda/emulation/runtime.h"
#include "tests/cuda/emulation/shared_memory.h"

namespace wavefield::emulation {

constexpr int kMostThreads = 1024;  // of a block

struct Grid {
  dim3 blocks, threads;
  size_t shared_bytes;
  std::function<void()> thread_body;
};

// Runs kernels on the calling host thread, one block after another. A thread of a block runs until
// it waits; which one goes on then is drawn.
class BlockRunner {
 public:
  // The calling host thread's own.
  static BlockRunner& Get();

  // Those blocks whose x is at least `first_x`.
  void Run(const Grid& grid, unsigned first_x, Order order, uint64_t seed);

  // For the running thread of the block.
  int lane() const { return current_ % kWarpSize; }
  void Barrier(const std::source_location& place);
  uint64_t WarpWait(WarpOperation operation, unsigned mask, uint64_t value, int source,
                    const std::source_location& place);

 private:
  static constexpr int kWarpSize = 32;
  enum class State { kRunnable, kAtBarrier, kInWarp, kFinished };
  struct Thread {
    uint3 index;
    Fiber* fiber;  // while it has begun and not finished
    State state;
    std::source_location place;  // where it waits
    WarpOperation operation;     // the rest: what it waits for
    unsigned mask;
    int source;
    uint64_t value;
    uint64_t result;
  };

  BlockRunner();
  static void Work(void* self);
  void Work();
  void RunBlock();
  void DrawOrder();
  int Next();
  void Suspend();
  void GoTo(Fiber& from, Fiber& to);
  void Enter(int thread);
  void Exchange(int warp, unsigned mask);
  [[noreturn]] void Stuck() const;

  Fibers fibers_;
  Fiber main_;
  Fiber* fiber_ = &main_;  // that runs
  SharedMemoryBuffer shared_;
  const Grid* grid_ = nullptr;
  Order order_ = Order::kIdentity;
  Random random_{0};

  // Of the running block.
  int count_ = 0;
  std::vector<Thread> threads_;
  int current_ = 0;
  int finished_ = 0;
  int at_barrier_ = 0;
  std::vector<unsigned> waiting_lanes_;  // of each warp
  std::vector<int> queue_;               // runnable from position_ on
  size_t position_ = 0;
  std::vector<int> woken_;  // runnable before those; the last one first
  int chosen_ = -1;         // to be begun by the next fiber
};

}  // namespace wavefield::emulation
