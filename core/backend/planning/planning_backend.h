#pragma once

#include <cstddef>
#include <cstdint>

#include "core/backend/backend.h"

namespace wavefield {

// Computes nothing: a pass of a model on it tells what memory the pass will need. Its addresses are
// numbers alone, never to be followed; what is copied to the host is 0.
class PlanningBackend final : public Backend {
 public:
  std::string name() const override { return "planning"; }
  std::string fingerprint() const override { return ""; }
  int threads() const override { return 1; }

  void* Allocate(size_t bytes) override;
  void Free(void*) override {}
  void CopyFromHost(const void*, Tensor) override {}
  void CopyToHost(Tensor source, void* destination) override;
  double SumOfSquares(Tensor) override { return 0; }

  void Copy(Tensor, Tensor) override {}
  void Fill(Tensor, float) override {}
  void MatMul(Transpose, Transpose, Tensor, Tensor, float, Tensor) override {}
  void Add(Tensor, Tensor) override {}
  void EmbeddingForward(Tensor, Tensor, Tensor) override {}
  void EmbeddingBackward(Tensor, Tensor, Tensor) override {}
  void RmsNormForward(Tensor, Tensor, Tensor, Tensor) override {}
  void RmsNormBackward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void ShortConvForward(int64_t, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void ShortConvBackward(int64_t, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                         Tensor) override {}
  void DampingForward(Tensor, Tensor, Tensor) override {}
  void DampingBackward(Tensor, Tensor, Tensor, Tensor) override {}
  void FieldOuterForward(Propagation, int64_t, Tensor, Tensor, Tensor, Tensor, Tensor,
                         Tensor) override {}
  void FieldOuterBackward(Propagation, int64_t, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                          Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void FieldElementwiseForward(Propagation, int64_t, Tensor, Tensor, Tensor, Tensor, Tensor,
                               Tensor) override {}
  void FieldElementwiseBackward(Propagation, int64_t, Tensor, Tensor, Tensor, Tensor, Tensor,
                                Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void FieldReadoutForward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void FieldReadoutBackward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                            Tensor, Tensor) override {}
  void Rotary(int64_t, int64_t, int64_t, bool, Tensor) override {}
  void AttentionForward(int64_t, int64_t, int64_t, Tensor, Tensor, Tensor, Tensor) override {}
  void AttentionBackward(int64_t, int64_t, int64_t, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                         Tensor) override {}
  void SwiGluForward(Tensor, Tensor) override {}
  void SwiGluBackward(Tensor, Tensor, Tensor) override {}
  void LayerNormForward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void LayerNormBackward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                         Tensor) override {}
  void AddBias(Tensor, Tensor) override {}
  void AddBiasBackward(Tensor, Tensor) override {}
  void GeluForward(Tensor, Tensor) override {}
  void GeluBackward(Tensor, Tensor, Tensor) override {}
  void CopyColumns(Tensor, int64_t, int64_t, Tensor, int64_t) override {}
  void ReluForward(float, Tensor, int64_t, Tensor) override {}
  void ReluBackward(float, Tensor, int64_t, Tensor, Tensor) override {}
  void AddPositions(int64_t, int64_t, Tensor) override {}
  void CoupledReadForward(Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void CoupledReadBackward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                           Tensor) override {}
  void SigmoidGateForward(Tensor, Tensor, Tensor) override {}
  void SigmoidGateBackward(Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void CumulativeMeanForward(int64_t, int64_t, Tensor, Tensor, Tensor) override {}
  void CumulativeMeanBackward(int64_t, int64_t, Tensor, Tensor, Tensor) override {}
  void InterferenceForward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) override {}
  void InterferenceBackward(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                            Tensor, Tensor) override {}
  void CrossEntropyForward(Tensor, Tensor, Tensor, Tensor) override {}
  void CrossEntropyForwardBackward(const LossOptions&, float, Tensor, Tensor, Tensor,
                                   Tensor) override {}
  void Dropout(uint64_t, float, int64_t, int64_t, Tensor) override {}
  void Axpby(float, Tensor, float, Tensor) override {}
  void AdamW(const AdamWParameters&, Tensor, Tensor, Tensor, Tensor) override {}

 private:
  uintptr_t next_ = 64;
};

}  // namespace wavefield
