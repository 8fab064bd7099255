#include "tests/cuda/emulation/block.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/faults.h"

namespace wavefield::emulation {
namespace {

bool Same(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() &&
         (a.file_name() == b.file_name() || strcmp(a.file_name(), b.file_name()) == 0);
}

std::string Name(const std::source_location& place) {
  return std::string(place.file_name()) + ":" + std::to_string(place.line());
}

}  // namespace

namespace {
constexpr Running kOutside{{}, {}, dim3(0, 0, 0), dim3(0, 0, 0), nullptr};
}
constinit thread_local Running running = kOutside;

BlockRunner::BlockRunner() : fibers_(kMostThreads + 1) { UseFaultStack(); }

BlockRunner& BlockRunner::Get() {
  thread_local BlockRunner runner;
  return runner;
}

void BlockRunner::Run(const Grid& grid, unsigned first_x, Order order, uint64_t seed) {
  grid_ = &grid;
  order_ = order;
  random_ = Random(seed);
  shared_.Resize(grid.shared_bytes);
  count_ = static_cast<int>(grid.threads.x * grid.threads.y * grid.threads.z);
  threads_.assign(count_, Thread{});
  waiting_lanes_.assign((count_ + kWarpSize - 1) / kWarpSize, 0);
  queue_.resize(count_);
  int thread = 0;
  for (unsigned z = 0; z < grid.threads.z; ++z) {
    for (unsigned y = 0; y < grid.threads.y; ++y) {
      for (unsigned x = 0; x < grid.threads.x; ++x) threads_[thread++].index = {x, y, z};
    }
  }
  running.block_dim = grid.threads;
  running.grid_dim = grid.blocks;
  running.shared = shared_.data();
  const unsigned columns = grid.blocks.x - first_x;
  const uint64_t blocks = uint64_t{columns} * grid.blocks.y * grid.blocks.z;
  Permutation permutation(order, blocks, random_);
  for (uint64_t b = 0; b < blocks; ++b) {
    const uint64_t block = permutation.Next();
    running.block = {first_x + static_cast<unsigned>(block % columns),
                     static_cast<unsigned>(block / columns % grid.blocks.y),
                     static_cast<unsigned>(block / columns / grid.blocks.y)};
    RunBlock();
  }
  running = kOutside;
}

void BlockRunner::RunBlock() {
  shared_.Fill();
  for (Thread& thread : threads_) thread.state = State::kRunnable;
  finished_ = 0;
  DrawOrder();
  GoTo(main_, fibers_.Take(Work, this));
  if (finished_ < count_) Stuck();
  shared_.Check();
}

// Threads are mostly kept together in warps, which is also the order that runs fastest.
void BlockRunner::DrawOrder() {
  position_ = 0;
  if (order_ != Order::kSeeded || random_.Below(4) == 0) {
    Permutation permutation(order_, count_, random_);
    for (int& thread : queue_) thread = static_cast<int>(permutation.Next());
    return;
  }
  const int warps = static_cast<int>(waiting_lanes_.size());
  Permutation warp_order(order_, warps, random_);
  int next = 0;
  for (int i = 0; i < warps; ++i) {
    const int first = static_cast<int>(warp_order.Next()) * kWarpSize;
    const int lanes = std::min(kWarpSize, count_ - first);
    Permutation lane_order(order_, lanes, random_);
    for (int j = 0; j < lanes; ++j) queue_[next++] = first + static_cast<int>(lane_order.Next());
  }
}

int BlockRunner::Next() {
  if (chosen_ >= 0) return std::exchange(chosen_, -1);
  if (!woken_.empty()) {
    const int thread = woken_.back();
    woken_.pop_back();
    return thread;
  }
  return position_ < queue_.size() ? queue_[position_++] : -1;
}

void BlockRunner::GoTo(Fiber& from, Fiber& to) {
  fiber_ = &to;
  Switch(from, to);
  fiber_ = &from;
}

void BlockRunner::Enter(int thread) {
  current_ = thread;
  threads_[thread].state = State::kRunnable;
  running.thread = threads_[thread].index;
}

void BlockRunner::Work(void* self) { static_cast<BlockRunner*>(self)->Work(); }

// Begins and ends threads on one fiber as long as none of them waits.
void BlockRunner::Work() {
  Fiber& self = *fiber_;
  while (true) {
    const int next = Next();
    if (next >= 0 && threads_[next].fiber == nullptr) {
      Thread& thread = threads_[next];
      thread.fiber = &self;
      Enter(next);
      grid_->thread_body();
      thread.fiber = nullptr;
      thread.state = State::kFinished;
      ++finished_;
    } else {
      fibers_.GiveBack(self);
      GoTo(self, next < 0 ? main_ : *threads_[next].fiber);
    }
  }
}

// Lets others run until it is the running thread's turn again.
void BlockRunner::Suspend() {
  const int self = current_;
  const int next = Next();
  if (next < 0) Stuck();
  if (next != self) {
    Fiber* fiber = threads_[next].fiber;
    if (fiber == nullptr) {
      chosen_ = next;
      fiber = &fibers_.Take(Work, this);
    }
    GoTo(*threads_[self].fiber, *fiber);
  }
  Enter(self);
}

void BlockRunner::Barrier(const std::source_location& place) {
  Thread& thread = threads_[current_];
  thread.state = State::kAtBarrier;
  thread.place = place;
  if (++at_barrier_ == count_) {
    for (const Thread& other : threads_) {
      if (!Same(other.place, place)) {
        Fatal("divergent barrier: threads of one block wait at " + Name(place) + " and at " +
              Name(other.place));
      }
    }
    at_barrier_ = 0;
    DrawOrder();
  }
  Suspend();
}

uint64_t BlockRunner::WarpWait(WarpOperation operation, unsigned mask, uint64_t value, int source,
                               const std::source_location& place) {
  const unsigned bit = 1u << lane();
  const int warp = current_ / kWarpSize;
  if ((mask & bit) == 0) Fatal("a lane is not in its own mask at " + Name(place));
  Thread& thread = threads_[current_];
  thread.state = State::kInWarp;
  thread.place = place;
  thread.operation = operation;
  thread.mask = mask;
  thread.source = source;
  thread.value = value;
  waiting_lanes_[warp] |= bit;
  if ((waiting_lanes_[warp] & mask) == mask) Exchange(warp, mask);
  Suspend();
  return thread.result;
}

// All lanes of the mask have come: gives each its result and wakes it.
void BlockRunner::Exchange(int warp, unsigned mask) {
  Thread* const lanes = &threads_[warp * kWarpSize];
  const Thread& last = threads_[current_];
  unsigned ballot = 0;
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const Thread& thread = lanes[lane];
    if (thread.mask != mask || thread.operation != last.operation ||
        !Same(thread.place, last.place)) {
      Fatal("lanes of one warp wait at different operations or with different masks: at " +
            Name(last.place) + " and at " + Name(thread.place));
    }
    ballot |= static_cast<unsigned>(thread.value != 0) << lane;
  }
  Permutation order(order_ == Order::kSeeded ? order_ : Order::kReverse, kWarpSize, random_);
  const size_t first = woken_.size();
  for (int i = 0; i < kWarpSize; ++i) {
    const int lane = static_cast<int>(order.Next());
    if ((mask >> lane & 1) == 0) continue;
    Thread& thread = lanes[lane];
    if (last.operation == WarpOperation::kShuffle) {
      if ((mask >> thread.source & 1) == 0) {
        Fatal("a shuffle reads lane " + std::to_string(thread.source) +
              ", which is not in the mask, at " + Name(last.place));
      }
      thread.result = lanes[thread.source].value;
    } else {
      thread.result = ballot;
    }
    woken_.push_back(warp * kWarpSize + lane);
  }
  if (order_ == Order::kReverse) std::reverse(woken_.begin() + first, woken_.end());
  waiting_lanes_[warp] &= ~mask;
}

// No thread can go on and not all have finished.
void BlockRunner::Stuck() const {
  int finished = 0, at_barrier = 0, in_warp = 0;
  std::string barrier_place, warp_place;
  for (const Thread& thread : threads_) {
    if (thread.state == State::kFinished) ++finished;
    if (thread.state == State::kAtBarrier) {
      ++at_barrier;
      barrier_place = Name(thread.place);
    }
    if (thread.state == State::kInWarp) {
      ++in_warp;
      warp_place = Name(thread.place);
    }
  }
  std::string message = at_barrier > 0 ? "divergent barrier: " : "divergent warp: ";
  message +=
      "of " + std::to_string(count_) + " threads " + std::to_string(finished) + " have finished";
  if (at_barrier > 0) {
    message += ", " + std::to_string(at_barrier) + " wait at the barrier at " + barrier_place;
  }
  if (in_warp > 0) {
    message += ", " + std::to_string(in_warp) + " wait for lanes of their mask at " + warp_place;
  }
  Fatal(message);
}

void BlockBarrier(const std::source_location& place) {
  if (running.block_dim.x == 0) Fatal("a barrier outside of a kernel");
  BlockRunner::Get().Barrier(place);
}

uint64_t WarpWait(WarpOperation operation, unsigned mask, uint64_t value, int source,
                  const std::source_location& place) {
  if (running.block_dim.x == 0) Fatal("a warp operation outside of a kernel");
  return BlockRunner::Get().WarpWait(operation, mask, value, source, place);
}

int Lane() { return BlockRunner::Get().lane(); }

void Trap(const std::source_location& place) { Fatal("__trap() at " + Name(place)); }

}  // namespace wavefield::emulation
