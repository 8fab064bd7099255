#pragma once

// The elementwise field on a GPU: what its ways of propagation share.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "core/backend/contract.h"
#include "core/backend/cuda/fft_plans.h"
#include "core/backend/cuda/workspace.h"
#include "core/backend/wave_sums.h"
#include "core/tensor/arena.h"
#include "core/tensor/tensor.h"

namespace wavefield::cuda {

// Arguments of one call as in backend.h, already checked.
struct ElementwiseForward {
  contract::FieldSizes size;
  Tensor qkv, damping, frequency, phase, state, field;
};
struct ElementwiseBackward {
  contract::FieldSizes size;
  Tensor qkv, damping, frequency, phase, state, dfield, dstate, dqkv, ddamping, dfrequency, dphase;
};

// kRecurrence.
void FieldRecurrenceForward(const ElementwiseForward& call, Arena& workspace, cudaStream_t stream);
void FieldRecurrenceBackward(const ElementwiseBackward& call, Arena& workspace,
                             cudaStream_t stream);

// kDirect: in double, a thread sums over all tokens.
void FieldDirectForward(const ElementwiseForward& call, cudaStream_t stream);
void FieldDirectBackward(const ElementwiseBackward& call, Arena& workspace, cudaStream_t stream);

// kFft. group_bytes: what the spectra of a group may take (FftScratch).
void FieldFftForward(const ElementwiseForward& call, FftPlans& plans, Arena& workspace,
                     cudaStream_t stream, int64_t group_bytes = kFftGroupBytes);
void FieldFftBackward(const ElementwiseBackward& call, FftPlans& plans, Arena& workspace,
                      cudaStream_t stream, int64_t group_bytes = kFftGroupBytes);

// sums [items, H, parts] in device memory, added up in order: dfrequency, dphase +=; ddamping =
// where it is static, and is left alone otherwise.
void AddWaveSums(const ElementwiseBackward& call, int64_t items, int64_t parts,
                 const WaveSums* sums, cudaStream_t stream);

// n objects out of `workspace`, undefined.
template <typename T>
T* Scratch(Arena& workspace, int64_t n) {
  static_assert(sizeof(T) % sizeof(float) == 0);
  return static_cast<T*>(workspace.Allocate({n * int64_t{sizeof(T) / sizeof(float)}}).data);
}

}  // namespace wavefield::cuda
