#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/backend/backend.h"
#include "core/backend/cuda/fft_plans.h"
#include "core/backend/cuda/gemm.h"
#include "core/backend/cuda/stream.h"
#include "core/tensor/arena.h"

namespace wavefield {

// One NVIDIA GPU. Operations are enqueued on one stream and return before they are done; those that
// give something to the host wait for it. Products through cuBLASLt, transforms through cuFFT; each
// group of operations stands in the .cu file named after it. No atomic addition of floating-point
// numbers anywhere: the same inputs give the same bits.
//
// Activations are fp32 or bf16, the same within an operation (backend.h); arithmetic outside matrix
// products is fp32. fp32 products use no TF32; products of bf16 accumulate in fp32.
class CudaBackend final : public Backend {
 public:
  // REQUIRES: a device of that index.
  explicit CudaBackend(int device);
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  std::string name() const override { return "cuda"; }
  std::string fingerprint() const override;
  int threads() const override { return 1; }
  void Synchronize() override { stream_.Synchronize(); }
  void* Allocate(size_t bytes) override;
  void Free(void* data) override;
  void ReserveWorkspace(size_t bytes) override { workspace_.Reserve(bytes); }
  void CopyFromHost(const void* source, Tensor destination) override;
  void CopyToHost(Tensor source, void* destination) override;
  void Copy(Tensor source, Tensor destination) override;
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
  void ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias, Tensor state,
                         Tensor dqkv, Tensor dstate, Tensor dqkvg, Tensor dweight,
                         Tensor dbias) override;
  void DampingForward(Tensor pre, Tensor bias, Tensor damping) override;
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
  void FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm, Tensor qkvg,
                           Tensor out) override;
  void FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm, Tensor qkvg,
                            Tensor dout, Tensor dy, Tensor dqkv, Tensor dqkvg, Tensor dcoupling,
                            Tensor dhead_norm) override;
  void Rotary(int64_t batch, int64_t heads, int64_t position, bool inverse, Tensor qkv) override;
  void AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv, Tensor history,
                        Tensor y, Tensor log_sum) override;
  void AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv, Tensor history,
                         Tensor y, Tensor log_sum, Tensor dy, Tensor dhistory,
                         Tensor dqkv) override;
  void SwiGluForward(Tensor gate_up, Tensor y) override;
  void SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) override;
  void LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                        Tensor inverse_deviation) override;
  void LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation, Tensor dy,
                         Tensor residual, Tensor dx, Tensor dweight, Tensor dbias) override;
  void AddBias(Tensor bias, Tensor y) override;
  void AddBiasBackward(Tensor dy, Tensor dbias) override;
  void GeluForward(Tensor x, Tensor y) override;
  void GeluBackward(Tensor x, Tensor dy, Tensor dx) override;
  void CopyColumns(Tensor source, int64_t source_column, int64_t width, Tensor destination,
                   int64_t destination_column) override;
  void ReluForward(float floor, Tensor x, int64_t column, Tensor y) override;
  void ReluBackward(float floor, Tensor y, int64_t column, Tensor dy, Tensor dx) override;
  void AddPositions(int64_t batch, int64_t position, Tensor x) override;
  void CoupledReadForward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                          Tensor y) override;
  void CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping, Tensor dy,
                           Tensor dfield, Tensor dqkv, Tensor dcoupling, Tensor ddamping) override;
  void SigmoidGateForward(Tensor x, Tensor qkvg, Tensor y) override;
  void SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx, Tensor dqkvg) override;
  void CumulativeMeanForward(int64_t batch, int64_t position, Tensor x, Tensor state,
                             Tensor mean) override;
  void CumulativeMeanBackward(int64_t batch, int64_t position, Tensor dmean, Tensor dstate,
                              Tensor dx) override;
  void InterferenceForward(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                           Tensor y) override;
  void InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                            Tensor dy, Tensor dnear, Tensor dfar, Tensor decho, Tensor dgate,
                            Tensor dtemperature) override;
  void CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                           Tensor row_correct) override;
  void CrossEntropyForwardBackward(const LossOptions& options, float scale, Tensor logits,
                                   Tensor targets, Tensor row_loss, Tensor row_correct) override;
  void Dropout(uint64_t key, float rate, int64_t batch, int64_t position, Tensor x) override;
  void Axpby(float a, Tensor x, float b, Tensor y) override;
  double SumOfSquares(Tensor x) override;
  void AdamW(const AdamWParameters& parameters, Tensor gradient, Tensor parameter, Tensor m,
             Tensor v) override;

  cudaStream_t stream() const { return stream_; }
  // Most bytes that an operation ever took beside its operands (CudaPlanningBackend foretells it).
  size_t workspace_peak() const { return workspace_.peak_bytes(); }

 private:
  // Makes the device current and returns it: every member after it needs that.
  static int Use(int device);

  const int device_;
  cuda::Stream stream_;
  cuda::Gemms gemms_;
  cuda::FftPlans fft_plans_;
  // What an operation needs beside its operands, in an ArenaScope: reserved, or grown when it is
  // first needed, so that repeated shapes allocate nothing.
  Arena workspace_{*this};
};

}  // namespace wavefield
