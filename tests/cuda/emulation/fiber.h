#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <memory>
#include <vector>

namespace wavefield::emulation {

// A flow of control with its own stack; also the host thread's own flow, which has no entry.
struct Fiber {
  boost::context::detail::fcontext_t context = nullptr;  // while it does not run
  void (*entry)(void* argument) = nullptr;               // never returns
  void* argument = nullptr;
  char* stack = nullptr;
  size_t stack_bytes = 0;
  void* sanitizer_stack = nullptr;
};

// Goes on in `to`; returns when something switches back to `from`, the running flow.
void Switch(Fiber& from, Fiber& to);

// Fibers of one host thread, each with a guard page below its stack.
class Fibers {
 public:
  explicit Fibers(size_t most);
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  // One that is not in use. All run the same entry, from its start at their first switch.
  Fiber& Take(void (*entry)(void* argument), void* argument);
  void GiveBack(Fiber& fiber) { idle_.push_back(&fiber); }

 private:
  const size_t most_;
  char* stacks_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
};

}  // namespace wavefield::emulation
