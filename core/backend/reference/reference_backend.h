#pragma once

#include "core/backend/host_backend.h"

namespace wavefield {

// The scalar truth: plain loops over the formulas of docs/model.md, arithmetic in double, results
// rounded to fp32 once. Slow (the field is the direct O(T²) sum); for tests.
class ReferenceBackend final : public HostBackend {
 public:
  std::string name() const override { return "reference"; }
  std::string fingerprint() const override { return "scalar double"; }
  int threads() const override { return 1; }
  void Fill(Tensor x, float value) override;

  void MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
              Tensor c) override;
  void Add(Tensor source, Tensor destination) override;
  void EmbeddingForward(Tensor table, Tensor ids, Tensor y) override;
  void EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) override;
  void RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) override;
  void RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy, Tensor residual,
                       Tensor dx, Tensor dweight) override;
  void ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias, Tensor state,
                        Tensor qkv) override;
  void ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias, Tensor dqkv,
                         Tensor dqkvg, Tensor dweight, Tensor dbias) override;
  void DampingForward(Tensor pre, Tensor bias, Tensor damping) override;
  void DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) override;
  void FieldOuterForward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency, Tensor phase,
                         Tensor state, Tensor y) override;
  void FieldOuterBackward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency, Tensor phase,
                          Tensor dy, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                          Tensor dphase) override;
  void FieldReadoutForward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg,
                           Tensor out) override;
  void FieldReadoutBackward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg, Tensor dout,
                            Tensor dy, Tensor dqkvg, Tensor dcoupling, Tensor dhead_norm) override;
  void SwiGluForward(Tensor gate_up, Tensor y) override;
  void SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) override;
  void CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                           Tensor row_correct) override;
  void CrossEntropyForwardBackward(float scale, Tensor logits, Tensor targets, Tensor row_loss,
                                   Tensor row_correct) override;
  double SumOfSquares(Tensor x) override;
  void AdamW(const AdamWParameters& parameters, Tensor gradient, Tensor parameter, Tensor m,
             Tensor v) override;
};

}  // namespace wavefield
