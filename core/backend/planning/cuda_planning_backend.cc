#include "core/backend/planning/cuda_planning_backend.h"

#include <bit>

#include "core/backend/cuda/limits.h"
#include "core/backend/cuda/workspace.h"

namespace wavefield {
namespace {

constexpr int64_t kFloat = 4;

// Of sums over rows: those of each of the blocks that the rows are cut into.
int64_t RowSums(int64_t width) {
  constexpr int64_t kMostBlocks = 512;
  return kMostBlocks * width * kFloat;
}

}  // namespace

void CudaPlanningBackend::NeedOuter(int64_t batch, Tensor qkv, Tensor damping, bool backward) {
  const int64_t heads = damping.shape[1];
  Need(cuda::FieldOuterWorkspace(batch, qkv.shape[0] / batch, heads, qkv.shape[1] / 3 / heads,
                                 SizeOf(qkv.dtype), backward));
}

void CudaPlanningBackend::NeedElementwise(Propagation way, int64_t batch, Tensor qkv,
                                          Tensor damping) {
  const int64_t tokens = qkv.shape[0] / batch, heads = damping.shape[1];
  const int64_t head_width = qkv.shape[1] / 3 / heads;
  const bool selective = damping.shape[0] > 1;
  Need(way == Propagation::kFft
           ? cuda::FieldFftWorkspace(batch, tokens, heads, head_width)
           : cuda::FieldElementwiseWorkspace(batch, tokens, heads, head_width, selective));
}

void CudaPlanningBackend::MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b,
                                 float beta, Tensor c) {
  PlanningBackend::MatMul(transpose_a, transpose_b, a, b, beta, c);
  if (a.dtype == DType::kFloat32 && b.dtype == DType::kFloat32 && c.dtype == DType::kFloat32) {
    return;
  }
  const auto rounded = [](Tensor x) { return x.dtype == DType::kFloat32 ? 2 * x.elements() : 0; };
  Need(rounded(a) + rounded(b));
}

void CudaPlanningBackend::EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) {
  PlanningBackend::EmbeddingBackward(ids, dy, dtable);
  constexpr int64_t kKey = 8, kMostTiles = 4096;
  const int64_t rows = dy.shape[0], tiles = std::min(rows, kMostTiles);
  const auto keys = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  Need(keys * kKey + tiles * dy.shape[1] * kFloat);
}

void CudaPlanningBackend::RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy,
                                          Tensor residual, Tensor dx, Tensor dweight) {
  PlanningBackend::RmsNormBackward(x, weight, inverse_rms, dy, residual, dx, dweight);
  Need(RowSums(x.shape[1]));
  NeedShared(cuda::RmsNormBackwardShared(x.shape[1]));
}

void CudaPlanningBackend::ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                            Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                            Tensor dweight, Tensor dbias) {
  PlanningBackend::ShortConvBackward(batch, qkvg, weight, bias, state, dqkv, dstate, dqkvg, dweight,
                                     dbias);
  Need(cuda::ShortConvWorkspace(batch, qkvg.shape[0] / batch, weight.shape[0], weight.shape[1]));
}

void CudaPlanningBackend::DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre,
                                          Tensor dbias) {
  PlanningBackend::DampingBackward(damping, ddamping, dpre, dbias);
  Need(RowSums(damping.shape[1]));
}

void CudaPlanningBackend::FieldOuterForward(Propagation way, int64_t batch, Tensor qkv,
                                            Tensor damping, Tensor frequency, Tensor phase,
                                            Tensor state, Tensor y) {
  PlanningBackend::FieldOuterForward(way, batch, qkv, damping, frequency, phase, state, y);
  NeedOuter(batch, qkv, damping, false);
}

void CudaPlanningBackend::FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv,
                                             Tensor damping, Tensor frequency, Tensor phase,
                                             Tensor state, Tensor dy, Tensor dstate, Tensor dqkv,
                                             Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  PlanningBackend::FieldOuterBackward(way, batch, qkv, damping, frequency, phase, state, dy, dstate,
                                      dqkv, ddamping, dfrequency, dphase);
  NeedOuter(batch, qkv, damping, true);
}

void CudaPlanningBackend::FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv,
                                                  Tensor damping, Tensor frequency, Tensor phase,
                                                  Tensor state, Tensor field) {
  PlanningBackend::FieldElementwiseForward(way, batch, qkv, damping, frequency, phase, state,
                                           field);
  NeedElementwise(way, batch, qkv, damping);
}

void CudaPlanningBackend::FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv,
                                                   Tensor damping, Tensor frequency, Tensor phase,
                                                   Tensor state, Tensor dfield, Tensor dstate,
                                                   Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                                   Tensor dphase) {
  PlanningBackend::FieldElementwiseBackward(way, batch, qkv, damping, frequency, phase, state,
                                            dfield, dstate, dqkv, ddamping, dfrequency, dphase);
  NeedElementwise(way, batch, qkv, damping);
}

void CudaPlanningBackend::FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling,
                                               Tensor head_norm, Tensor qkvg, Tensor dout,
                                               Tensor dy, Tensor dqkv, Tensor dqkvg,
                                               Tensor dcoupling, Tensor dhead_norm) {
  PlanningBackend::FieldReadoutBackward(y, qkv, coupling, head_norm, qkvg, dout, dy, dqkv, dqkvg,
                                        dcoupling, dhead_norm);
  const int64_t heads = coupling.shape[0];
  Need(cuda::FieldReadoutWorkspace(heads, y.shape[1] / heads));
  NeedShared(cuda::ReadoutBackwardShared(heads, y.shape[1] / heads));
}

void CudaPlanningBackend::Rotary(int64_t batch, int64_t heads, int64_t position, bool inverse,
                                 Tensor qkv) {
  PlanningBackend::Rotary(batch, heads, position, inverse, qkv);
  Need(qkv.shape[0] / batch * (qkv.shape[1] / 3 / heads) * kFloat);
}

void CudaPlanningBackend::AttentionBackward(int64_t batch, int64_t heads, int64_t position,
                                            Tensor qkv, Tensor history, Tensor y, Tensor log_sum,
                                            Tensor dy, Tensor dhistory, Tensor dqkv) {
  PlanningBackend::AttentionBackward(batch, heads, position, qkv, history, y, log_sum, dy, dhistory,
                                     dqkv);
  Need(log_sum.bytes());
}

void CudaPlanningBackend::LayerNormBackward(Tensor x, Tensor weight, Tensor mean,
                                            Tensor inverse_deviation, Tensor dy, Tensor residual,
                                            Tensor dx, Tensor dweight, Tensor dbias) {
  PlanningBackend::LayerNormBackward(x, weight, mean, inverse_deviation, dy, residual, dx, dweight,
                                     dbias);
  Need(RowSums(2 * x.shape[1]));
  NeedShared(cuda::LayerNormBackwardShared(x.shape[1]));
}

void CudaPlanningBackend::AddBiasBackward(Tensor dy, Tensor dbias) {
  PlanningBackend::AddBiasBackward(dy, dbias);
  Need(RowSums(dy.shape[1]));
}

void CudaPlanningBackend::AddPositions(int64_t batch, int64_t position, Tensor x) {
  PlanningBackend::AddPositions(batch, position, x);
  Need(x.elements() / batch * kFloat);
}

void CudaPlanningBackend::CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling,
                                              Tensor damping, Tensor dy, Tensor dfield, Tensor dqkv,
                                              Tensor dcoupling, Tensor ddamping) {
  PlanningBackend::CoupledReadBackward(field, qkv, coupling, damping, dy, dfield, dqkv, dcoupling,
                                       ddamping);
  const int64_t heads = coupling.shape[0], pairs = heads * heads;
  Need(RowSums(pairs) + (2 * pairs + heads) * kFloat);
  NeedShared(cuda::CoupledReadBackwardShared(heads, field.shape[1] / heads));
}

void CudaPlanningBackend::CumulativeMeanForward(int64_t batch, int64_t position, Tensor x,
                                                Tensor state, Tensor mean) {
  PlanningBackend::CumulativeMeanForward(batch, position, x, state, mean);
  constexpr int64_t kChunk = 32;
  Need((x.shape[0] / kChunk + batch) * x.shape[1] * kFloat);
}

}  // namespace wavefield
