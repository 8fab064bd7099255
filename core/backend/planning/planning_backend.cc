#include "core/backend/planning/planning_backend.h"

#include <cstring>

#include "core/backend/contract.h"

namespace wavefield {

void* PlanningBackend::Allocate(size_t bytes) {
  constexpr uintptr_t kAlignment = 64;
  const uintptr_t address = next_;
  next_ += (bytes / kAlignment + 1) * kAlignment;
  return reinterpret_cast<void*>(address);
}

void PlanningBackend::CopyToHost(Tensor source, void* destination) {
  std::memset(destination, 0, source.bytes());
}

void PlanningBackend::Copy(Tensor source, Tensor destination) {
  contract::Copy(source, destination);
}

void PlanningBackend::Fill(Tensor, float) {}

void PlanningBackend::MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b,
                             float beta, Tensor c) {
  contract::MatMul(transpose_a, transpose_b, a, b, beta, c);
}

void PlanningBackend::Add(Tensor source, Tensor destination) { contract::Add(source, destination); }

void PlanningBackend::EmbeddingForward(Tensor table, Tensor ids, Tensor y) {
  contract::Embedding(ids, y, table);
}

void PlanningBackend::EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) {
  contract::Embedding(ids, dy, dtable);
}

void PlanningBackend::RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) {
  contract::RmsNormForward(x, weight, y, inverse_rms);
}

void PlanningBackend::RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy,
                                      Tensor residual, Tensor dx, Tensor dweight) {
  contract::RmsNormBackward(x, weight, inverse_rms, dy, residual, dx, dweight);
}

void PlanningBackend::ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                       Tensor state, Tensor qkv) {
  contract::ShortConvForward(batch, qkvg, weight, bias, state, qkv);
}

void PlanningBackend::ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                        Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                        Tensor dweight, Tensor dbias) {
  contract::ShortConvBackward(batch, qkvg, weight, bias, state, dqkv, dstate, dqkvg, dweight,
                              dbias);
}

void PlanningBackend::DampingForward(Tensor pre, Tensor bias, Tensor damping) {
  contract::Damping(pre, damping, bias);
}

void PlanningBackend::DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) {
  contract::Damping(damping, ddamping, dbias);
  contract::Damping(dpre, ddamping, dbias);
}

void PlanningBackend::FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                        Tensor frequency, Tensor phase, Tensor state, Tensor y) {
  contract::FieldOuterForward(way, batch, qkv, damping, frequency, phase, state, y);
}

void PlanningBackend::FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                         Tensor frequency, Tensor phase, Tensor state, Tensor dy,
                                         Tensor dstate, Tensor dqkv, Tensor ddamping,
                                         Tensor dfrequency, Tensor dphase) {
  contract::FieldOuterBackward(way, batch, qkv, damping, frequency, phase, state, dy, dstate, dqkv,
                               ddamping, dfrequency, dphase);
}

void PlanningBackend::FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv,
                                              Tensor damping, Tensor frequency, Tensor phase,
                                              Tensor state, Tensor field) {
  contract::FieldElementwiseForward(way, batch, qkv, damping, frequency, phase, state, field);
}

void PlanningBackend::FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv,
                                               Tensor damping, Tensor frequency, Tensor phase,
                                               Tensor state, Tensor dfield, Tensor dstate,
                                               Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                               Tensor dphase) {
  contract::FieldElementwiseBackward(way, batch, qkv, damping, frequency, phase, state, dfield,
                                     dstate, dqkv, ddamping, dfrequency, dphase);
}

void PlanningBackend::FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                          Tensor qkvg, Tensor out) {
  contract::FieldReadoutForward(y, qkv, coupling, head_norm, qkvg, out);
}

void PlanningBackend::FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                           Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv,
                                           Tensor dqkvg, Tensor dcoupling, Tensor dhead_norm) {
  contract::FieldReadoutBackward(y, qkv, coupling, head_norm, qkvg, dout, dy, dqkv, dqkvg,
                                 dcoupling, dhead_norm);
}

void PlanningBackend::Rotary(int64_t batch, int64_t heads, int64_t position, bool, Tensor qkv) {
  contract::Rotary(batch, heads, position, qkv);
}

void PlanningBackend::AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                       Tensor history, Tensor y, Tensor log_sum) {
  contract::AttentionForward(batch, heads, position, qkv, history, y, log_sum);
}

void PlanningBackend::AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                        Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                        Tensor dhistory, Tensor dqkv) {
  contract::AttentionBackward(batch, heads, position, qkv, history, y, log_sum, dy, dhistory, dqkv);
}

void PlanningBackend::SwiGluForward(Tensor gate_up, Tensor y) { contract::SwiGlu(gate_up, y); }

void PlanningBackend::SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) {
  contract::SwiGluBackward(gate_up, dy, dgate_up);
}

void PlanningBackend::LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                                       Tensor inverse_deviation) {
  contract::LayerNormForward(x, weight, bias, y, mean, inverse_deviation);
}

void PlanningBackend::LayerNormBackward(Tensor x, Tensor weight, Tensor mean,
                                        Tensor inverse_deviation, Tensor dy, Tensor residual,
                                        Tensor dx, Tensor dweight, Tensor dbias) {
  contract::LayerNormBackward(x, weight, mean, inverse_deviation, dy, residual, dx, dweight, dbias);
}

void PlanningBackend::AddBias(Tensor bias, Tensor y) { contract::AddBias(bias, y); }

void PlanningBackend::AddBiasBackward(Tensor dy, Tensor dbias) { contract::AddBias(dbias, dy); }

void PlanningBackend::GeluForward(Tensor x, Tensor y) { contract::Gelu(x, y); }

void PlanningBackend::GeluBackward(Tensor x, Tensor dy, Tensor dx) {
  contract::GeluBackward(x, dy, dx);
}

void PlanningBackend::CopyColumns(Tensor source, int64_t source_column, int64_t width,
                                  Tensor destination, int64_t destination_column) {
  contract::CopyColumns(source, source_column, width, destination, destination_column);
}

void PlanningBackend::ReluForward(float, Tensor x, int64_t column, Tensor y) {
  contract::Relu(x, column, y);
}

void PlanningBackend::ReluBackward(float, Tensor y, int64_t column, Tensor dy, Tensor dx) {
  contract::ReluBackward(y, column, dy, dx);
}

void PlanningBackend::AddPositions(int64_t batch, int64_t position, Tensor x) {
  contract::AddPositions(batch, position, x);
}

void PlanningBackend::CoupledReadForward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                         Tensor y) {
  contract::CoupledRead(field, qkv, coupling, damping, y);
}

void PlanningBackend::CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                          Tensor dy, Tensor dfield, Tensor dqkv, Tensor dcoupling,
                                          Tensor ddamping) {
  contract::CoupledReadBackward(field, qkv, coupling, damping, dy, dfield, dqkv, dcoupling,
                                ddamping);
}

void PlanningBackend::SigmoidGateForward(Tensor x, Tensor qkvg, Tensor y) {
  contract::SigmoidGate(x, qkvg, y);
}

void PlanningBackend::SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx,
                                          Tensor dqkvg) {
  contract::SigmoidGateBackward(x, qkvg, dy, dx, dqkvg);
}

void PlanningBackend::CumulativeMeanForward(int64_t batch, int64_t position, Tensor x, Tensor state,
                                            Tensor mean) {
  contract::CumulativeMean(batch, position, x, state, mean);
}

void PlanningBackend::CumulativeMeanBackward(int64_t batch, int64_t position, Tensor dmean,
                                             Tensor dstate, Tensor dx) {
  contract::CumulativeMean(batch, position, dmean, dstate, dx);
}

void PlanningBackend::InterferenceForward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                          Tensor temperature, Tensor y) {
  contract::Interference(near, far, echo, gate, temperature, y);
}

void PlanningBackend::InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                           Tensor temperature, Tensor dy, Tensor dnear, Tensor dfar,
                                           Tensor decho, Tensor dgate, Tensor dtemperature) {
  contract::InterferenceBackward(near, far, echo, gate, temperature, dy, dnear, dfar, decho, dgate,
                                 dtemperature);
}

void PlanningBackend::CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                                          Tensor row_correct) {
  contract::CrossEntropy(logits, targets, row_loss, row_correct);
}

void PlanningBackend::CrossEntropyForwardBackward(const LossOptions&, float, Tensor logits,
                                                  Tensor targets, Tensor row_loss,
                                                  Tensor row_correct) {
  contract::CrossEntropy(logits, targets, row_loss, row_correct);
}

void PlanningBackend::Dropout(uint64_t, float rate, int64_t batch, int64_t position, Tensor x) {
  contract::Dropout(rate, batch, position, x);
}

void PlanningBackend::Axpby(float, Tensor x, float, Tensor y) { contract::Axpby(x, y); }

double PlanningBackend::SumOfSquares(Tensor x) {
  contract::SumOfSquares(x);
  return 0;
}

void PlanningBackend::AdamW(const AdamWParameters&, Tensor gradient, Tensor parameter, Tensor m,
                            Tensor v) {
  contract::AdamW(gradient, parameter, m, v);
}

}  // namespace wavefield
