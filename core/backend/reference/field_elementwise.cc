// The elementwise field: every way is the direct sum.

#include "core/backend/contract.h"
#include "core/backend/field_elementwise_direct.h"
#include "core/backend/reference/reference_backend.h"

namespace wavefield {

void ReferenceBackend::FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv,
                                               Tensor damping, Tensor frequency, Tensor phase,
                                               Tensor state, Tensor field) {
  FieldElementwiseDirectForward(
      contract::FieldElementwiseForward(way, batch, qkv, damping, frequency, phase, state, field),
      qkv, damping, frequency, phase, state, field);
}

void ReferenceBackend::FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv,
                                                Tensor damping, Tensor frequency, Tensor phase,
                                                Tensor state, Tensor dfield, Tensor dstate,
                                                Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                                Tensor dphase) {
  FieldElementwiseDirectBackward(
      contract::FieldElementwiseBackward(way, batch, qkv, damping, frequency, phase, state, dfield,
                                         dstate, dqkv, ddamping, dfrequency, dphase),
      qkv, damping, frequency, phase, state, dfield, dstate, dqkv, ddamping, dfrequency, dphase);
}

}  // namespace wavefield
