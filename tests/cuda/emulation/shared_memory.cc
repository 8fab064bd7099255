#include "tests/cuda/emulation/shared_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/faults.h"

namespace wavefield::emulation {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kMostBytes = size_t{64} * kPage;  // above what a block may have
constexpr size_t kRegionBytes = kMostBytes + 2 * kPage;
constexpr size_t kAlignment = 16;
constexpr int kUninitialized = 0xFF;
constexpr char kCanary = 0x5A;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

SharedMemoryBuffer::SharedMemoryBuffer() {
  void* region = mmap(nullptr, kRegionBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) Fatal("cannot allocate shared memory");
  region_ = static_cast<char*>(region);
  end_ = data_ = region_ + kRegionBytes - kPage;
}

SharedMemoryBuffer::~SharedMemoryBuffer() {
  SetSharedMemoryRange({}, 0);
  munmap(region_, kRegionBytes);
}

void SharedMemoryBuffer::Resize(size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(region_);
  SetSharedMemoryRange({begin, begin + kRegionBytes}, bytes);
  if (bytes == bytes_) return;
  bytes_ = bytes;
  data_ = end_ - RoundUp(bytes, kAlignment);
  mprotect(region_, kRegionBytes, PROT_NONE);
  mprotect(end_ - RoundUp(bytes, kPage), RoundUp(bytes, kPage), PROT_READ | PROT_WRITE);
}

void SharedMemoryBuffer::Fill() {
  memset(data_, kUninitialized, bytes_);
  memset(data_ + bytes_, kCanary, end_ - data_ - bytes_);
}

void SharedMemoryBuffer::Check() const {
  for (const char* x = data_ + bytes_; x < end_; ++x) {
    if (*x != kCanary) {
      Fatal("out of bounds of the block's " + std::to_string(bytes_) + " bytes of shared memory");
    }
  }
}

}  // namespace wavefield::emulation
