#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace wavefield::emulation {

struct Allocation {
  uintptr_t data;
  size_t bytes;
  uintptr_t first_page, end;  // the pages that hold it; data + bytes is as near to end as 256-byte
                              // alignment of data allows
  int device;
  int64_t number;  // counted from 1
  bool live;
};

// The memory of all devices: one region of addresses in which nothing is used twice. The pages of
// an allocation can be touched only between Open() and Close() of its device; those around it
// never. Thread-safe.
class DeviceMemory {
 public:
  // Never destroyed.
  static DeviceMemory& Get();

  cudaError_t Allocate(int device, size_t bytes, void** data);
  // Ends the program when what surrounds the allocation has been written to.
  cudaError_t Free(void* data);
  void FreeAll(int device);

  bool Contains(const void* data, size_t bytes);
  // The device of the allocation that holds `data`; −1 if none does.
  int DeviceOf(const void* data);
  size_t BytesFree(int device);
  size_t BytesPerDevice() const { return bytes_per_device_; }

  void Open(int device);
  // Checks what surrounds the allocations.
  void Close(int device);

  bool InRegion(uintptr_t address) const {
    return address >= region_ && address < region_ + kRegionBytes;
  }
  // Says what is wrong with touching this address of the region. For the handler of faults: takes
  // no lock.
  [[noreturn]] void ExplainFault(uintptr_t address, bool on_device) const;

 private:
  static constexpr size_t kRegionBytes = size_t{1} << 40;

  DeviceMemory();
  void Check(const Allocation& allocation) const;
  void Release(Allocation& allocation);

  std::mutex mutex_;
  uintptr_t region_;
  uintptr_t next_;
  size_t bytes_per_device_;
  std::map<uintptr_t, Allocation> allocations_;  // by first page; those freed stay
  std::map<int, std::vector<Allocation*>> live_;
  std::map<int, size_t> used_;
  std::map<int, int> open_;
};

}  // namespace wavefield::emulation
