#pragma once

#include "core/backend/backend.h"

namespace wavefield {

// The memory half of a backend whose memory is the host's.
class HostBackend : public Backend {
 public:
  void* Allocate(size_t bytes) override;
  void Free(void* data) override;
  void CopyFromHost(const void* source, Tensor destination) override;
  void CopyToHost(Tensor source, void* destination) override;
  void Copy(Tensor source, Tensor destination) override;
};

}  // namespace wavefield
