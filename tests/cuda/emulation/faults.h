#pragma once

#include <cstddef>
#include <cstdint>

namespace wavefield::emulation {

// From now on a fault at an address of device memory, of a block's shared memory or of a fiber's
// stack ends the program with an explanation. Once a process.
void InstallFaultHandler();

// Gives the calling host thread a stack for the handler, which it needs when it runs fibers.
void UseFaultStack();

// The shared memory and the fibers' stacks of the calling host thread, in whose guard pages a fault
// may lie.
struct GuardedRange {
  uintptr_t begin = 0, end = 0;
};
void SetSharedMemoryRange(GuardedRange range, size_t bytes);
void SetStackRange(GuardedRange range);

}  // namespace wavefield::emulation
