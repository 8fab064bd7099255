#pragma once

#include <cstddef>

namespace wavefield::emulation {

// The shared memory of one block at a time: bytes that end at a guard page (as nearly as 16-byte
// alignment of their start allows) and start behind one.
class SharedMemoryBuffer {
 public:
  SharedMemoryBuffer();
  ~SharedMemoryBuffer();
  SharedMemoryBuffer(const SharedMemoryBuffer&) = delete;
  SharedMemoryBuffer& operator=(const SharedMemoryBuffer&) = delete;

  // REQUIRES: at most what a block may have.
  void Resize(size_t bytes);
  void* data() const { return data_; }

  // NaN everywhere, and a pattern in what follows.
  void Fill();
  // Ends the program if the pattern behind the bytes is not there any more.
  void Check() const;

 private:
  char* region_;
  char* end_;
  char* data_;
  size_t bytes_ = 0;
};

}  // namespace wavefield::emulation
