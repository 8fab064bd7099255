#include <vector>

#include "core/backend/contract.h"
#include "core/backend/field_outer_direct.h"
#include "core/backend/reference/reference_backend.h"

namespace wavefield {

void ReferenceBackend::FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                         Tensor frequency, Tensor phase, Tensor state, Tensor y) {
  const auto size =
      contract::FieldOuterForward(way, batch, qkv, damping, frequency, phase, state, y);
  for (int64_t item = 0; item < size.batch * size.heads; ++item) {
    DirectOuterForward(size, item, qkv, damping, frequency, phase, state, y);
  }
}

void ReferenceBackend::FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv,
                                          Tensor damping, Tensor frequency, Tensor phase,
                                          Tensor state, Tensor dy, Tensor dstate, Tensor dqkv,
                                          Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  const auto size = contract::FieldOuterBackward(way, batch, qkv, damping, frequency, phase, state,
                                                 dy, dstate, dqkv, ddamping, dfrequency, dphase);
  std::vector<WaveSums> sums(size.batch * size.heads);
  for (int64_t item = 0; item < size.batch * size.heads; ++item) {
    sums[item] = DirectOuterBackward(size, item, qkv, damping, frequency, phase, state, dy, dstate,
                                     dqkv, ddamping);
  }
  ReduceWaveSums(size, sums.data(), ddamping, dfrequency, dphase);
}

}  // namespace wavefield
