#include "tests/cuda/emulation/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/faults.h"

namespace wavefield::emulation {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;  // makes opening and closing large allocations cheap
constexpr size_t kAlignment = 256;             // what cudaMalloc promises
constexpr size_t kGap =
    size_t{1} << 20;  // between allocations: strides that are a bit off end here
constexpr size_t kFilledBytes = size_t{1} << 30;
constexpr int kUninitialized = 0xFF;      // NaN in every format
constexpr uint32_t kCanary = 0x7FC57FC5;  // likewise

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

char* At(uintptr_t address) { return reinterpret_cast<char*>(address); }

char CanaryAt(uintptr_t address) {
  return reinterpret_cast<const char*>(&kCanary)[address % sizeof(kCanary)];
}

void Protect(const Allocation& allocation, int protection) {
  if (mprotect(At(allocation.first_page), allocation.end - allocation.first_page, protection) !=
      0) {
    Fatal("mprotect failed; the machine has too little memory for the emulated device's");
  }
}

std::string Describe(const Allocation& a) {
  return "allocation " + std::to_string(a.number) + " of " + std::to_string(a.bytes) +
         " bytes on device " + std::to_string(a.device);
}

}  // namespace

DeviceMemory& DeviceMemory::Get() {
  static DeviceMemory& memory = *new DeviceMemory;
  return memory;
}

DeviceMemory::DeviceMemory() {
  void* region =
      mmap(nullptr, kRegionBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) Fatal("cannot reserve 1 TiB of addresses; raise the limit (ulimit -v)");
  madvise(region, kRegionBytes, MADV_DONTDUMP);
  region_ = reinterpret_cast<uintptr_t>(region);
  next_ = region_ + kGap;
  const char* bytes = getenv("WAVEFIELD_EMULATED_DEVICE_BYTES");
  bytes_per_device_ = bytes == nullptr ? size_t{8} << 30 : strtoull(bytes, nullptr, 10);
  InstallFaultHandler();
}

cudaError_t DeviceMemory::Allocate(int device, size_t bytes, void** data) {
  std::lock_guard lock(mutex_);
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > bytes_per_device_ - used_[device]) return cudaErrorMemoryAllocation;
  const size_t pages = RoundUp(bytes, kPage);
  if (pages >= kHugePage) next_ = RoundUp(next_, kHugePage);
  if (next_ + pages + kGap > region_ + kRegionBytes) return cudaErrorMemoryAllocation;
  Allocation a{};
  a.first_page = next_;
  a.end = next_ + pages;
  a.data = a.end - RoundUp(bytes, kAlignment);
  a.bytes = bytes;
  a.device = device;
  a.number = static_cast<int64_t>(allocations_.size()) + 1;
  a.live = true;
  next_ = a.end + kGap;
  if (mprotect(At(a.first_page), pages, PROT_READ | PROT_WRITE) != 0) {
    return cudaErrorMemoryAllocation;
  }
  if (pages >= kHugePage) madvise(At(a.first_page), pages, MADV_HUGEPAGE);
  if (bytes <= kFilledBytes) memset(At(a.data), kUninitialized, bytes);
  for (uintptr_t i = a.first_page; i < a.data; ++i) *At(i) = CanaryAt(i);
  for (uintptr_t i = a.data + bytes; i < a.end; ++i) *At(i) = CanaryAt(i);
  if (open_[device] == 0) Protect(a, PROT_NONE);
  used_[device] += bytes;
  live_[device].push_back(&allocations_.emplace(a.first_page, a).first->second);
  *data = At(a.data);
  return cudaSuccess;
}

void DeviceMemory::Check(const Allocation& a) const {
  const auto check = [&](uintptr_t from, uintptr_t to, const char* side) {
    for (uintptr_t i = from; i < to; ++i) {
      if (*At(i) == CanaryAt(i)) continue;
      const int64_t offset = static_cast<int64_t>(i) - static_cast<int64_t>(a.data);
      Fatal("out of bounds: memory " + std::string(side) + " " + Describe(a) +
            " was overwritten at offset " + std::to_string(offset) +
            " by one of the operations since the last wait");
    }
  };
  check(a.first_page, a.data, "before");
  check(a.data + a.bytes, a.end, "after");
}

void DeviceMemory::Release(Allocation& a) {
  Protect(a, PROT_READ);
  Check(a);
  a.live = false;
  used_[a.device] -= a.bytes;
  // A fresh mapping gives the pages back. Advised like the region around it, it becomes one with
  // it: the kernel has room for some 65,000 mappings.
  const size_t pages = a.end - a.first_page;
  if (mmap(At(a.first_page), pages, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
    Fatal("cannot give back memory");
  }
  madvise(At(a.first_page), pages, MADV_DONTDUMP);
}

cudaError_t DeviceMemory::Free(void* data) {
  std::lock_guard lock(mutex_);
  if (data == nullptr) return cudaSuccess;
  const auto address = reinterpret_cast<uintptr_t>(data);
  auto after = allocations_.upper_bound(address);
  Allocation* a = after == allocations_.begin() ? nullptr : &std::prev(after)->second;
  if (a == nullptr || a->data != address) {
    Refuse("cudaFree of an address that cudaMalloc did not return");
    return cudaErrorInvalidValue;
  }
  if (!a->live) {
    Refuse("cudaFree of " + Describe(*a) + ", which was freed before");
    return cudaErrorInvalidValue;
  }
  std::erase(live_[a->device], a);
  Release(*a);
  return cudaSuccess;
}

void DeviceMemory::FreeAll(int device) {
  std::lock_guard lock(mutex_);
  for (Allocation* a : live_[device]) Release(*a);
  live_[device].clear();
}

bool DeviceMemory::Contains(const void* data, size_t bytes) {
  std::lock_guard lock(mutex_);
  const auto address = reinterpret_cast<uintptr_t>(data);
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return false;
  const Allocation& a = std::prev(after)->second;
  return a.live && address >= a.data && address <= a.data + a.bytes &&
         bytes <= a.data + a.bytes - address;
}

int DeviceMemory::DeviceOf(const void* data) {
  std::lock_guard lock(mutex_);
  const auto address = reinterpret_cast<uintptr_t>(data);
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return -1;
  const Allocation& a = std::prev(after)->second;
  return a.live && address >= a.data && address < a.data + a.bytes ? a.device : -1;
}

size_t DeviceMemory::BytesFree(int device) {
  std::lock_guard lock(mutex_);
  return bytes_per_device_ - used_[device];
}

void DeviceMemory::Open(int device) {
  std::lock_guard lock(mutex_);
  if (open_[device]++ > 0) return;
  for (const Allocation* a : live_[device]) Protect(*a, PROT_READ | PROT_WRITE);
}

void DeviceMemory::Close(int device) {
  std::lock_guard lock(mutex_);
  if (--open_[device] > 0) return;
  for (const Allocation* a : live_[device]) {
    Check(*a);
    Protect(*a, PROT_NONE);
  }
}

void DeviceMemory::ExplainFault(uintptr_t address, bool on_device) const {
  // The nearest allocation: the one before, unless the next one's start is nearer.
  auto after = allocations_.upper_bound(address);
  const Allocation* a = after == allocations_.begin() ? nullptr : &std::prev(after)->second;
  if (after != allocations_.end() &&
      (a == nullptr || (address >= a->end && after->second.data - address < address - a->end))) {
    a = &after->second;
  }
  char message[320];
  if (a == nullptr) {
    snprintf(message, sizeof(message), "device address %#zx was never allocated",
             static_cast<size_t>(address));
    Fatal(message);
  }
  const long long offset = static_cast<long long>(address) - static_cast<long long>(a->data);
  const bool inside = address >= a->first_page && address < a->end;
  const char* what = !on_device ? "host access to device memory"
                     : !inside  ? "out of bounds"
                     : !a->live ? "use after free"
                                : "access to the memory of another device";
  snprintf(message, sizeof(message),
           "%s: offset %lld of allocation %lld of %zu bytes on device %d%s", what, offset,
           static_cast<long long>(a->number), a->bytes, a->device, a->live ? "" : ", freed");
  Fatal(message);
}

}  // namespace wavefield::emulation
