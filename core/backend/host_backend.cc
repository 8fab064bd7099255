#include "core/backend/host_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/backend/contract.h"
#include "core/base/check.h"

namespace wavefield {
namespace {
constexpr size_t kAlignment = 64;
// From here on memory asks for huge pages: rows of wide tensors lie whole small pages apart.
constexpr size_t kHugePage = size_t{2} << 20;
}  // namespace

void* HostBackend::Allocate(size_t bytes) {
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kAlignment;
  const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* data = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  WF_CHECK_MSG(data != nullptr, "no memory for " + std::to_string(bytes) + " bytes");
  // A hint: where there are no huge pages, it fails and nothing is lost.
  if (alignment == kHugePage) madvise(data, rounded, MADV_HUGEPAGE);
  return data;
}

void HostBackend::Free(void* data) { std::free(data); }

void HostBackend::CopyFromHost(const void* source, Tensor destination) {
  if (destination.bytes() > 0) std::memcpy(destination.data, source, destination.bytes());
}

void HostBackend::CopyToHost(Tensor source, void* destination) {
  if (source.bytes() > 0) std::memcpy(destination, source.data, source.bytes());
}

void HostBackend::Copy(Tensor source, Tensor destination) {
  contract::Copy(source, destination);
  CopyFromHost(source.data, destination);
}

}  // namespace wavefield
