#pragma once

#include <cstdint>
#include <vector>

#include "core/backend/backend.h"
#include "core/tensor/tensor.h"

namespace wavefield {

// Bump allocator over a backend's memory for everything that lives no longer than a step. It grows
// while a first step shows what is needed, unless that was planned and reserved; once it is empty
// again, the blocks are merged into one, so that later steps of the same shapes allocate nothing.
// Not thread-safe. Alignment: 64 bytes. Memory is not zeroed.
class Arena {
 public:
  explicit Arena(Backend& backend) : backend_(backend) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Makes one block of what a plan says will be needed. REQUIRES: nothing was allocated yet.
  void Reserve(size_t bytes);

  Tensor Allocate(Shape shape, DType dtype = DType::kFloat32);

  // Gives back all that was allocated since the mark; its tensors are dead after that.
  struct Mark {
    size_t block;
    size_t used;
  };
  Mark GetMark() const;
  void Release(Mark mark);
  void Reset();

  // Most bytes that were ever in use at once.
  size_t peak_bytes() const { return peak_; }

 private:
  struct Block {
    char* data;
    size_t capacity;
    size_t used;
  };
  Backend& backend_;
  std::vector<Block> blocks_;
  size_t current_ = 0;
  size_t peak_ = 0;
};

// Releases on scope exit whatever was allocated in the scope.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.GetMark()) {}
  ~ArenaScope() { arena_.Release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace wavefield
