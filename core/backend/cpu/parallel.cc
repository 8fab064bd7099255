#include "core/backend/cpu/parallel.h"

#include <omp.h>

#if defined(__SANITIZE_THREAD__)
// The sanitizer cannot see the fork and the join inside libgomp, so they are told.
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#define WF_NO_TSAN __attribute__((no_sanitize("thread"), noinline))
#else
#define WF_NO_TSAN
#endif

namespace wavefield {
namespace {

void Forked([[maybe_unused]] void* region) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(region);
#endif
}

void Publish([[maybe_unused]] void* region) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(region);
#endif
}

}  // namespace

WF_NO_TSAN void ParallelRanges(
    int threads, int64_t n, int64_t grain,
    absl::FunctionRef<void(int thread, int64_t begin, int64_t end)> body) {
  if (threads == 1 || n < 2 * grain) {
    if (n > 0) body(0, 0, n);
    return;
  }
  char region = 0;
  Publish(&region);
#pragma omp parallel num_threads(threads)
  {
    Forked(&region);
    const int64_t thread = omp_get_thread_num(), team = omp_get_num_threads();
    const int64_t begin = n * thread / team, end = n * (thread + 1) / team;
    if (begin < end) body(static_cast<int>(thread), begin, end);
    Publish(&region);
  }
  Forked(&region);
}

}  // namespace wavefield
