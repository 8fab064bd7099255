// Streams and events.

#include <cuda_runtime_api.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "tests/cuda/emulation/device_api.h"
#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/queues.h"
#include "tests/cuda/emulation/runtime.h"

namespace wavefield::emulation {
namespace {

double Milliseconds() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

CUstream_st* FindStream(cudaStream_t handle, const char* call) {
  EnterCall(call);
  if (DeviceCount() == 0) return nullptr;
  CUstream_st* const stream = Queues::Get().Find(handle, CurrentDevice());
  if (stream == nullptr) Refuse(std::string(call) + " is given a stream that does not exist");
  return stream;
}

}  // namespace

cudaError_t EnqueueAttempts(cudaStream_t handle, std::string name, std::function<bool()> attempt) {
  CUstream_st* const stream = FindStream(handle, name.c_str());
  if (stream == nullptr) return Result(cudaErrorInvalidResourceHandle);
  if (stream->device != CurrentDevice()) {
    return Result(cudaErrorInvalidResourceHandle,
                  name + ": the stream is of device " + std::to_string(stream->device) +
                      ", the current device is " + std::to_string(CurrentDevice()));
  }
  Queues::Get().Enqueue(stream, {std::move(name), std::move(attempt), {}});
  return Result(cudaSuccess);
}

cudaError_t Enqueue(cudaStream_t stream, std::string name, std::function<void()> work) {
  return EnqueueAttempts(stream, std::move(name), [work = std::move(work)] {
    work();
    return true;
  });
}

int DeviceOf(cudaStream_t handle) {
  if (DeviceCount() == 0) return -1;
  const CUstream_st* stream = Queues::Get().Find(handle, CurrentDevice());
  return stream == nullptr ? -1 : stream->device;
}

}  // namespace wavefield::emulation

using wavefield::emulation::CurrentDevice;
using wavefield::emulation::FindStream;
using wavefield::emulation::Point;
using wavefield::emulation::Queues;
using wavefield::emulation::Record;
using wavefield::emulation::Result;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  wavefield::emulation::EnterCall("cudaStreamCreateWithFlags");
  if (wavefield::emulation::DeviceCount() == 0) return Result(cudaErrorNoDevice);
  if (flags != cudaStreamDefault && flags != cudaStreamNonBlocking) {
    return Result(cudaErrorInvalidValue);
  }
  *stream = Queues::Get().Create(CurrentDevice(), flags == cudaStreamDefault);
  return Result(cudaSuccess);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  CUstream_st* const stream = FindStream(handle, "cudaStreamDestroy");
  if (stream == nullptr || stream != handle) return Result(cudaErrorInvalidResourceHandle);
  Queues::Get().Destroy(stream);
  return Result(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  CUstream_st* const stream = FindStream(handle, "cudaStreamSynchronize");
  if (stream == nullptr) return Result(cudaErrorInvalidResourceHandle);
  Queues::Get().Wait(Queues::Get().End(stream));
  return Result(cudaSuccess);
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  CUstream_st* const stream = FindStream(handle, "cudaStreamQuery");
  if (stream == nullptr) return Result(cudaErrorInvalidResourceHandle);
  return Result(Queues::Get().Poll(Queues::Get().End(stream)) ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  CUstream_st* const stream = FindStream(handle, "cudaStreamWaitEvent");
  if (stream == nullptr || event == nullptr) return Result(cudaErrorInvalidResourceHandle);
  if (event->last != nullptr) {
    Queues::Get().Enqueue(stream,
                          {"cudaStreamWaitEvent", [] { return true; }, {event->last->point}});
  }
  return Result(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  wavefield::emulation::EnterCall("cudaEventCreateWithFlags");
  *event = new CUevent_st;
  (*event)->device = CurrentDevice();
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return Result(cudaSuccess);
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  wavefield::emulation::EnterCall("cudaEventDestroy");
  if (event == nullptr) return Result(cudaErrorInvalidResourceHandle);
  delete event;
  return Result(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  CUstream_st* const stream = FindStream(handle, "cudaEventRecord");
  if (stream == nullptr || event == nullptr) return Result(cudaErrorInvalidResourceHandle);
  if (stream->device != event->device) {
    return Result(cudaErrorInvalidResourceHandle,
                  "cudaEventRecord: the event is of device " + std::to_string(event->device) +
                      ", the stream of device " + std::to_string(stream->device));
  }
  const auto record = std::make_shared<Record>();
  record->point = Queues::Get().Enqueue(stream, {"cudaEventRecord",
                                                 [record] {
                                                   record->milliseconds =
                                                       wavefield::emulation::Milliseconds();
                                                   return true;
                                                 },
                                                 {}});
  event->last = record;
  return Result(cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  wavefield::emulation::EnterCall("cudaEventQuery");
  if (event == nullptr) return Result(cudaErrorInvalidResourceHandle);
  if (event->last == nullptr) return Result(cudaSuccess);
  return Result(Queues::Get().Poll(event->last->point) ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  wavefield::emulation::EnterCall("cudaEventSynchronize");
  if (event == nullptr) return Result(cudaErrorInvalidResourceHandle);
  if (event->last != nullptr) Queues::Get().Wait(event->last->point);
  return Result(cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  wavefield::emulation::EnterCall("cudaEventElapsedTime");
  for (const cudaEvent_t event : {start, end}) {
    if (event == nullptr || !event->timing || event->last == nullptr) {
      return Result(cudaErrorInvalidResourceHandle);
    }
    if (!Queues::Get().Poll(event->last->point)) return Result(cudaErrorNotReady);
  }
  *milliseconds = static_cast<float>(end->last->milliseconds - start->last->milliseconds);
  return Result(cudaSuccess);
}
