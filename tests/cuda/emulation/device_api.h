#pragma once

#include <driver_types.h>

#include <string>

namespace wavefield::emulation {

// Of WAVEFIELD_EMULATED_DEVICES; 2 without it.
int DeviceCount();

// Of the calling host thread.
int CurrentDevice();

// Remembers an error for cudaGetLastError and returns the result. `why`, if any, goes to stderr.
cudaError_t Result(cudaError_t result, const std::string& why = "");

// What every call starts with: ends the program within an operation of a stream.
void EnterCall(const char* call);

constexpr int kMostSharedBytes = 227 << 10;  // of a block that has opted in
constexpr int kSharedBytesWithoutOptIn = 48 << 10;

}  // namespace wavefield::emulation
