#include "tests/cuda/emulation/faults.h"

#include <signal.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstring>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/memory.h"

namespace wavefield::emulation {
namespace {

struct sigaction previous;
constinit thread_local GuardedRange shared_memory, stacks;
constinit thread_local size_t shared_bytes = 0;

bool Inside(GuardedRange range, uintptr_t address) {
  return address >= range.begin && address < range.end;
}

void Handle(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  if (DeviceMemory::Get().InRegion(address)) {
    DeviceMemory::Get().ExplainFault(address, CurrentOperation() != nullptr);
  }
  if (Inside(shared_memory, address)) {
    char message[160];
    snprintf(message, sizeof(message), "out of bounds of the block's %zu bytes of shared memory",
             shared_bytes);
    Fatal(message);
  }
  if (Inside(stacks, address)) Fatal("a thread's local variables overflow its stack");
  // Not ours: as if this handler were not there.
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else {
    sigaction(signal, &previous, nullptr);  // the access runs again and meets it
  }
}

}  // namespace

void InstallFaultHandler() {
  struct sigaction action {};
  action.sa_sigaction = Handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, &previous);
}

void UseFaultStack() {
  constexpr size_t kBytes = 64 << 10;
  // Lives as long as the thread and a little longer: it is never given back.
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Fatal("cannot allocate the stack of the handler of faults");
  stack_t stack{};
  stack.ss_sp = memory;
  stack.ss_size = kBytes;
  sigaltstack(&stack, nullptr);
}

void SetSharedMemoryRange(GuardedRange range, size_t bytes) {
  shared_memory = range;
  shared_bytes = bytes;
}

void SetStackRange(GuardedRange range) { stacks = range; }

}  // namespace wavefield::emulation
