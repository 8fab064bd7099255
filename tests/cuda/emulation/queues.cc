#include "tests/cuda/emulation/queues.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/cuda/emulation/device_api.h"
#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/memory.h"

namespace wavefield::emulation {
namespace {

constexpr auto kBetweenAttempts = std::chrono::microseconds(100);

uint64_t FirstSeed() {
  const char* seed = getenv("WAVEFIELD_EMULATION_SEED");
  return seed == nullptr ? 1 : strtoull(seed, nullptr, 10);
}

}  // namespace

// Device memory that stays accessible as long as this lives.
class Queues::OpenDevices {
 public:
  ~OpenDevices() {
    for (const int device : devices_) DeviceMemory::Get().Close(device);
  }
  void Add(int device) {
    if (std::find(devices_.begin(), devices_.end(), device) != devices_.end()) return;
    DeviceMemory::Get().Open(device);
    devices_.push_back(device);
  }

 private:
  std::vector<int> devices_;
};

Queues& Queues::Get() {
  static Queues& queues = *new Queues;
  return queues;
}

Queues::Queues() : random_(FirstSeed()) {
  for (int device = 0; device < DeviceCount(); ++device) {
    default_streams_.push_back(Create(device, true));
  }
}

CUstream_st* Queues::Create(int device, bool with_default) {
  std::lock_guard lock(mutex_);
  streams_.push_back(std::make_unique<CUstream_st>());
  streams_.back()->device = device;
  streams_.back()->with_default = with_default;
  return streams_.back().get();
}

CUstream_st* Queues::Find(cudaStream_t handle, int device) {
  if (handle == nullptr || handle == cudaStreamLegacy) return default_streams_[device];
  std::lock_guard lock(mutex_);
  for (const auto& stream : streams_) {
    if (stream.get() == handle) return handle->destroyed ? nullptr : handle;
  }
  return nullptr;
}

void Queues::Destroy(CUstream_st* stream) {
  Wait(End(stream));
  std::lock_guard lock(mutex_);
  stream->destroyed = true;  // kept: events may name it
}

Point Queues::Enqueue(CUstream_st* stream, Operation operation) {
  std::lock_guard lock(mutex_);
  CUstream_st* const with = default_streams_[stream->device];
  if (stream == with) {
    for (const auto& other : streams_) {
      if (other.get() != stream && other->device == stream->device && other->with_default) {
        operation.after.push_back({other.get(), other->enqueued});
      }
    }
  } else if (stream->with_default) {
    operation.after.push_back({with, with->enqueued});
  }
  std::erase_if(operation.after, Reached);
  stream->operations.push_back(std::move(operation));
  return {stream, ++stream->enqueued};
}

Point Queues::End(CUstream_st* stream) {
  std::lock_guard lock(mutex_);
  return {stream, stream->enqueued};
}

bool Queues::CanRun(const CUstream_st& stream) {
  return !stream.busy && !stream.operations.empty() &&
         std::all_of(stream.operations.front().after.begin(), stream.operations.front().after.end(),
                     Reached);
}

// A stream whose first operation can run: any of the device with a chance of eagerness / 4, else
// one that the target needs. Null when all that can be chosen is running elsewhere.
CUstream_st* Queues::Choose(CUstream_st* target, uint64_t eagerness) {
  if (random_.Below(4) < eagerness) {
    std::vector<CUstream_st*> candidates;
    for (const auto& stream : streams_) {
      if (stream->device == target->device && CanRun(*stream)) candidates.push_back(stream.get());
    }
    if (!candidates.empty()) return candidates[random_.Below(candidates.size())];
  }
  while (!target->busy && !CanRun(*target)) {
    const std::vector<Point>& after = target->operations.front().after;
    target = std::find_if_not(after.begin(), after.end(), Reached)->stream;
  }
  return target->busy ? nullptr : target;
}

// False: it has to be tried again.
bool Queues::RunFirst(CUstream_st* stream, std::unique_lock<std::mutex>& lock, OpenDevices& open) {
  const Operation& operation = stream->operations.front();  // stays where it is in a deque
  stream->busy = true;
  lock.unlock();
  open.Add(stream->device);
  SetOperation(operation.name.c_str());
  const bool done = operation.attempt();
  SetOperation(nullptr);
  lock.lock();
  stream->busy = false;
  if (done) {
    stream->operations.pop_front();
    ++stream->done;
    progress_.notify_all();
  }
  return done;
}

void Queues::Wait(Point point) {
  OpenDevices open;
  std::unique_lock lock(mutex_);
  const uint64_t eagerness = random_.Below(5);
  while (!Reached(point)) {
    CUstream_st* const stream = Choose(point.stream, eagerness);
    if (stream == nullptr) {
      progress_.wait_for(lock, kBetweenAttempts);
    } else if (!RunFirst(stream, lock, open)) {
      progress_.wait_for(lock, kBetweenAttempts);
    }
  }
}

void Queues::WaitForDevice(int device) {
  std::vector<Point> ends;
  {
    std::lock_guard lock(mutex_);
    for (const auto& stream : streams_) {
      if (stream->device == device) ends.push_back({stream.get(), stream->enqueued});
    }
  }
  for (const Point& end : ends) Wait(end);
}

bool Queues::Poll(Point point) {
  OpenDevices open;
  std::unique_lock lock(mutex_);
  for (uint64_t steps = random_.Below(4); steps > 0 && !Reached(point); --steps) {
    CUstream_st* const stream = Choose(point.stream, random_.Below(5));
    if (stream != nullptr) RunFirst(stream, lock, open);
  }
  return Reached(point);
}

void Queues::SetSeed(uint64_t seed) {
  std::lock_guard lock(mutex_);
  random_ = Random(seed);
}

uint64_t Queues::DrawSeed() {
  std::lock_guard lock(mutex_);
  return random_.Next();
}

void SetSeed(uint64_t seed) { Queues::Get().SetSeed(seed); }

}  // namespace wavefield::emulation
