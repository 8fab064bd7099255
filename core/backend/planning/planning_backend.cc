#include "core/backend/planning/planning_backend.h"

#include <cstring>

namespace wavefield {

void* PlanningBackend::Allocate(size_t bytes) {
  constexpr uintptr_t kAlignment = 64;
  const uintptr_t address = next_;
  next_ += (bytes / kAlignment + 1) * kAlignment;
  return reinterpret_cast<void*>(address);
}

void PlanningBackend::CopyToHost(Tensor source, void* destination) {
  std::memset(destination, 0, source.bytes());
}

}  // namespace wavefield
