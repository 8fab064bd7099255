#pragma once

// The elementwise field with static damping as a convolution by FFT: deposits k ⊙ v, padded to a
// fast length n ≥ 2T, times the kernel's spectrum, which is evaluated in double. Backward: the
// deposits' gradient is a correlation with the kernel; the kernel's own comes from cross-spectra
// summed over channels and batch, one inverse transform per head.
//
// Per token and channel, with about 2.5 n log₂ n FLOPs per real transform: forward 2 transforms,
// backward 3; bytes 12 and 20 beside the transforms' own traffic.

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "core/backend/contract.h"
#include "core/tensor/tensor.h"

struct kiss_fftr_state;

namespace wavefield {

// Plans of real transforms, kept by length. Not safe for concurrent calls of Get.
class FftPlans {
 public:
  struct Free {
    void operator()(kiss_fftr_state* plan) const { std::free(plan); }
  };
  using Plan = std::unique_ptr<kiss_fftr_state, Free>;
  // A plan has room of its own: one thread at a time may use it.
  struct Pair {
    Plan forward, inverse;
  };

  // One pair for each thread. Valid until the next call.
  const std::vector<Pair>& Get(int64_t length, int threads);

 private:
  std::map<int64_t, std::vector<Pair>> plans_;
};

// Arguments as in backend.h, already checked. `room`: that many floats of memory, aligned for
// doubles.
int64_t FieldFftForwardRoom(const contract::FieldSizes& size, int threads);
void FieldFftForward(const contract::FieldSizes& size, Tensor qkv, Tensor damping, Tensor frequency,
                     Tensor phase, int threads, FftPlans& plans, float* room, Tensor field);
int64_t FieldFftBackwardRoom(const contract::FieldSizes& size, int threads);
void FieldFftBackward(const contract::FieldSizes& size, Tensor qkv, Tensor damping,
                      Tensor frequency, Tensor phase, Tensor dfield, int threads, FftPlans& plans,
                      float* room, Tensor dqkv, Tensor ddamping, Tensor dfrequency, Tensor dphase);

}  // namespace wavefield
