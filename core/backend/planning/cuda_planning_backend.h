#pragma once

#include <algorithm>
#include <cstddef>

#include "core/backend/planning/planning_backend.h"

namespace wavefield {

// A plan of a pass on a GPU: tells too what the CUDA backend's operations need beside their
// operands (core/backend/cuda/workspace.h), but for the rounding of its parts and for what takes a
// few KiB whatever the model is.
class CudaPlanningBackend final : public PlanningBackend {
 public:
  // Bytes, of the operation that needs most.
  size_t workspace_bytes() const { return workspace_; }
  // Bytes of shared memory of a block, of the kernel that asks for most among those that ask for
  // more as a model grows (core/backend/cuda/limits.h).
  size_t shared_bytes() const { return shared_; }

  void MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
              Tensor c) override;
  void EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) override;
  void RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy, Tensor residual,
                       Tensor dx, Tensor dweight) override;
  void ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias, Tensor state,
                         Tensor dqkv, Tensor dstate, Tensor dqkvg, Tensor dweight,
                         Tensor dbias) override;
  void DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) override;
  void FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                         Tensor frequency, Tensor phase, Tensor state, Tensor y) override;
  void FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                          Tensor frequency, Tensor phase, Tensor state, Tensor dy, Tensor dstate,
                          Tensor dqkv, Tensor ddamping, Tensor dfrequency, Tensor dphase) override;
  void FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                               Tensor frequency, Tensor phase, Tensor state, Tensor field) override;
  void FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                Tensor frequency, Tensor phase, Tensor state, Tensor dfield,
                                Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                Tensor dphase) override;
  void FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm, Tensor qkvg,
                            Tensor dout, Tensor dy, Tensor dqkv, Tensor dqkvg, Tensor dcoupling,
                            Tensor dhead_norm) override;
  void Rotary(int64_t batch, int64_t heads, int64_t position, bool inverse, Tensor qkv) override;
  void AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv, Tensor history,
                         Tensor y, Tensor log_sum, Tensor dy, Tensor dhistory,
                         Tensor dqkv) override;
  void LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation, Tensor dy,
                         Tensor residual, Tensor dx, Tensor dweight, Tensor dbias) override;
  void AddBiasBackward(Tensor dy, Tensor dbias) override;
  void AddPositions(int64_t batch, int64_t position, Tensor x) override;
  void CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping, Tensor dy,
                           Tensor dfield, Tensor dqkv, Tensor dcoupling, Tensor ddamping) override;
  void CumulativeMeanForward(int64_t batch, int64_t position, Tensor x, Tensor state,
                             Tensor mean) override;

 private:
  void Need(size_t bytes) { workspace_ = std::max(workspace_, bytes); }
  void NeedShared(size_t bytes) { shared_ = std::max(shared_, bytes); }
  void NeedOuter(int64_t batch, Tensor qkv, Tensor damping, bool backward);
  void NeedElementwise(Propagation way, int64_t batch, Tensor qkv, Tensor damping);

  size_t workspace_ = 0;
  size_t shared_ = 0;
};

}  // namespace wavefield
