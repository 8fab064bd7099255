#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/cuda/emulation/permutation.h"
#include "tests/cuda/emulation/runtime.h"

namespace wavefield::emulation {

// A moment in a stream: when the first `number` of its operations are done.
struct Point {
  CUstream_st* stream = nullptr;
  uint64_t number = 0;
};

struct Operation {
  std::string name;
  std::function<bool()> attempt;  // false: not yet, try again
  std::vector<Point> after;
};

// What an event stands for since it was last recorded.
struct Record {
  Point point;
  double milliseconds = 0;  // when it was reached
};

}  // namespace wavefield::emulation

struct CUstream_st {
  int device = 0;
  bool with_default = true;  // waits for the device's default stream and it for this one
  bool destroyed = false;
  bool busy = false;  // its first operation is running
  uint64_t enqueued = 0, done = 0;
  std::deque<wavefield::emulation::Operation> operations;
};

struct CUevent_st {
  int device = 0;
  bool timing = true;
  std::shared_ptr<wavefield::emulation::Record> last;
};

namespace wavefield::emulation {

// The streams of all devices. Operations run on the host threads that wait: nothing runs earlier,
// and while one waits, which of the streams of the device goes on is drawn. Thread-safe; no lock is
// held while an operation runs.
class Queues {
 public:
  // Never destroyed.
  static Queues& Get();

  CUstream_st* Create(int device, bool with_default);
  // The stream of a handle (the default stream of `device` for its handles); null: there is none.
  CUstream_st* Find(cudaStream_t handle, int device);
  void Destroy(CUstream_st* stream);

  Point Enqueue(CUstream_st* stream, Operation operation);
  // Where the stream is when all that is in it now is done.
  Point End(CUstream_st* stream);

  void Wait(Point point);
  void WaitForDevice(int device);
  // Runs a few operations or none; whether the point is reached.
  bool Poll(Point point);

  void SetSeed(uint64_t seed);
  uint64_t DrawSeed();

 private:
  class OpenDevices;

  Queues();
  static bool Reached(Point point) { return point.stream->done >= point.number; }
  static bool CanRun(const CUstream_st& stream);
  CUstream_st* Choose(CUstream_st* target, uint64_t eagerness);
  bool RunFirst(CUstream_st* stream, std::unique_lock<std::mutex>& lock, OpenDevices& open);

  std::mutex mutex_;
  std::condition_variable progress_;
  Random random_;
  std::vector<std::unique_ptr<CUstream_st>> streams_;
  std::vector<CUstream_st*> default_streams_;  // by device
};

}  // namespace wavefield::emulation
