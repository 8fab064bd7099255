#include "tests/cuda/emulation/fiber.h"

#include <sys/mman.h>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/faults.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace wavefield::emulation {
namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr size_t kPage = 4096;
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStackBytes = 256 << 10;  // its frames are larger
#else
constexpr size_t kStackBytes = 64 << 10;
#endif

struct Transfer {
  Fiber* from;
  Fiber* to;
};

// The first thing after a switch, on the new flow.
void Arrive(transfer_t transfer) {
  const auto [from, to] = *static_cast<Transfer*>(transfer.data);
  from->context = transfer.fctx;
#ifdef __SANITIZE_ADDRESS__
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(to->sanitizer_stack, &bottom, &bytes);
  if (from->stack == nullptr) {  // the host thread's own stack, of which nothing was known
    from->stack = const_cast<char*>(static_cast<const char*>(bottom));
    from->stack_bytes = bytes;
  }
#endif
}

void Start(transfer_t transfer) {
  Fiber* fiber = static_cast<Transfer*>(transfer.data)->to;
  Arrive(transfer);
  fiber->entry(fiber->argument);
}

}  // namespace

void Switch(Fiber& from, Fiber& to) {
  Transfer transfer{&from, &to};
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.sanitizer_stack, to.stack, to.stack_bytes);
#endif
  Arrive(jump_fcontext(to.context, &transfer));
}

Fibers::Fibers(size_t most) : most_(most) {
  const size_t bytes = most * (kPage + kStackBytes);
  void* stacks = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stacks == MAP_FAILED) Fatal("cannot allocate the stacks of a block's threads");
  stacks_ = static_cast<char*>(stacks);
  const auto begin = reinterpret_cast<uintptr_t>(stacks);
  SetStackRange({begin, begin + bytes});
}

Fibers::~Fibers() {
  SetStackRange({});
  munmap(stacks_, most_ * (kPage + kStackBytes));
}

Fiber& Fibers::Take(void (*entry)(void* argument), void* argument) {
  if (!idle_.empty()) {
    Fiber& fiber = *idle_.back();
    idle_.pop_back();
    return fiber;
  }
  char* guard = stacks_ + fibers_.size() * (kPage + kStackBytes);
  mprotect(guard, kPage, PROT_NONE);
  Fiber& fiber = *fibers_.emplace_back(std::make_unique<Fiber>());
  fiber.entry = entry;
  fiber.argument = argument;
  fiber.stack = guard + kPage;
  fiber.stack_bytes = kStackBytes;
  // Tops that are whole pages apart would share the same few lines of the cache.
  const size_t offset = fibers_.size() % 16 * 256;
  fiber.context = make_fcontext(fiber.stack + kStackBytes - offset, kStackBytes - offset, Start);
  return fiber;
}

}  // namespace wavefield::emulation
