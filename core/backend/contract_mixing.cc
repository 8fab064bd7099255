// The operations that mix tokens: convolution, fields, attention.
#include "core/backend/contract_requirements.h"

namespace wavefield::contract {

namespace {

FieldSizes Field(const char* op, int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                 Tensor phase) {
  RequireRank({op, "qkv"}, qkv, 2);
  RequireRank({op, "damping"}, damping, 2);
  const int64_t rows = qkv.shape[0], width = qkv.shape[1] / 3, heads = damping.shape[1];
  WF_CHECK_MSG(heads > 0 && width % heads == 0, Label({op, "damping"}, damping));
  Require({op, "qkv"}, qkv, {rows, 3 * width}, ActivationType({op, "qkv"}, qkv));
  const bool is_static = damping.shape[0] == 1 && rows != 1;
  Require({op, "damping"}, damping, {is_static ? 1 : rows, heads});
  Require({op, "frequency"}, frequency, {heads});
  Require({op, "phase"}, phase, {heads});
  return {{batch, Tokens(op, batch, rows)}, heads, width / heads, is_static};
}

FieldSizes FieldBackward(const char* op, int64_t batch, Tensor qkv, Tensor damping,
                         Tensor frequency, Tensor phase, Tensor state, Tensor dy, Tensor dstate,
                         Tensor dqkv, Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  const FieldSizes size = Field(op, batch, qkv, damping, frequency, phase);
  Require({op, "dy"}, dy, {qkv.shape[0], size.width()}, qkv.dtype);
  RequireStateGradient({op, "dstate"}, state, dstate);
  Require({op, "dqkv"}, dqkv, qkv.shape, qkv.dtype);
  Require({op, "ddamping"}, ddamping, damping.shape);
  Require({op, "dfrequency"}, dfrequency, frequency.shape);
  Require({op, "dphase"}, dphase, phase.shape);
  return size;
}

void RequireElementwiseWay(const char* op, Propagation way, const FieldSizes& size,
                           const Tensor& state) {
  WF_CHECK_MSG(way != Propagation::kChunked, std::string(op) + ": chunks are for outer deposits");
  if (way != Propagation::kFft) return;
  WF_CHECK_MSG(size.static_damping || size.batch * size.tokens == 1,
               std::string(op) + ": the FFT needs static damping");
  WF_CHECK_MSG(state.empty(), std::string(op) + ": the FFT takes no state");
}

}  // namespace

ShortConvSizes ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                Tensor state, Tensor qkv) {
  constexpr const char* op = "ShortConv";
  RequireRank({op, "weight"}, weight, 2);
  RequireRank({op, "qkvg"}, qkvg, 2);
  const int64_t rows = qkvg.shape[0], channels = weight.shape[0], taps = weight.shape[1];
  WF_CHECK_MSG(channels % 3 == 0 && taps > 0, Label({op, "weight"}, weight));
  const DType type = ActivationType({op, "qkvg"}, qkvg);
  Require({op, "qkvg"}, qkvg, {rows, channels / 3 * 4}, type);
  Require({op, "weight"}, weight, {channels, taps});
  Require({op, "bias"}, bias, {channels});
  Require({op, "qkv"}, qkv, {rows, channels}, type);
  RequireState({op, "state"}, state, batch * (taps - 1) * channels);
  return {{batch, Tokens(op, batch, rows)}, channels, taps};
}

ShortConvSizes ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                 Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                 Tensor dweight, Tensor dbias) {
  constexpr const char* op = "ShortConvBackward";
  const ShortConvSizes size = ShortConvForward(batch, qkvg, weight, bias, state, dqkv);
  RequireStateGradient({op, "dstate"}, state, dstate);
  Require({op, "dqkvg"}, dqkvg, qkvg.shape, qkvg.dtype);
  Require({op, "dweight"}, dweight, weight.shape);
  Require({op, "dbias"}, dbias, bias.shape);
  return size;
}

RowSizes Damping(Tensor input, Tensor output, Tensor bias) {
  constexpr const char* op = "Damping";
  RequireRank({op, "output"}, output, 2);
  const RowSizes size{output.shape[0], output.shape[1]};
  if (input.empty()) {
    WF_CHECK_MSG(size.rows == 1, Label({op, "output"}, output) + ", static damping is one row");
  } else {
    Require({op, "input"}, input, {size.rows, size.width});
  }
  Require({op, "output"}, output, {size.rows, size.width});
  Require({op, "bias"}, bias, {size.width});
  return size;
}

FieldSizes FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                             Tensor frequency, Tensor phase, Tensor state, Tensor y) {
  constexpr const char* op = "FieldOuterForward";
  WF_CHECK(way == Propagation::kChunked || way == Propagation::kDirect);
  const FieldSizes size = Field(op, batch, qkv, damping, frequency, phase);
  RequireState({op, "state"}, state, batch * size.heads * 2 * size.head_width * size.head_width);
  Require({op, "y"}, y, {qkv.shape[0], size.width()}, qkv.dtype);
  return size;
}

FieldSizes FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                              Tensor frequency, Tensor phase, Tensor state, Tensor dy,
                              Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                              Tensor dphase) {
  WF_CHECK(way == Propagation::kChunked || way == Propagation::kDirect);
  const FieldSizes size = FieldBackward("FieldOuterBackward", batch, qkv, damping, frequency, phase,
                                        state, dy, dstate, dqkv, ddamping, dfrequency, dphase);
  RequireState({"FieldOuterBackward", "state"}, state,
               batch * size.heads * 2 * size.head_width * size.head_width);
  return size;
}

FieldSizes FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                   Tensor frequency, Tensor phase, Tensor state, Tensor field) {
  constexpr const char* op = "FieldElementwiseForward";
  const FieldSizes size = Field(op, batch, qkv, damping, frequency, phase);
  RequireElementwiseWay(op, way, size, state);
  RequireState({op, "state"}, state, batch * size.heads * 2 * size.head_width);
  Require({op, "field"}, field, {qkv.shape[0], size.width()}, qkv.dtype);
  return size;
}

FieldSizes FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                    Tensor frequency, Tensor phase, Tensor state, Tensor dfield,
                                    Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                    Tensor dphase) {
  constexpr const char* op = "FieldElementwiseBackward";
  const FieldSizes size = FieldBackward(op, batch, qkv, damping, frequency, phase, state, dfield,
                                        dstate, dqkv, ddamping, dfrequency, dphase);
  RequireElementwiseWay(op, way, size, state);
  RequireState({op, "state"}, state, batch * size.heads * 2 * size.head_width);
  return size;
}

AttentionSizes Rotary(int64_t batch, int64_t heads, int64_t position, Tensor qkv) {
  constexpr const char* op = "Rotary";
  RequireRank({op, "qkv"}, qkv, 2);
  const int64_t rows = qkv.shape[0], width = qkv.shape[1] / 3;
  WF_CHECK_MSG(heads > 0 && qkv.shape[1] % 3 == 0 && width % (2 * heads) == 0,
               Label({op, "qkv"}, qkv) + " does not divide into " + std::to_string(heads) +
                   " heads of an even width");
  Require({op, "qkv"}, qkv, {rows, 3 * width}, ActivationType({op, "qkv"}, qkv));
  WF_CHECK_MSG(position >= 0, "Rotary: position is " + std::to_string(position));
  return {{batch, Tokens(op, batch, rows)}, heads, width / heads, 0};
}

AttentionSizes AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                Tensor history, Tensor y, Tensor log_sum) {
  constexpr const char* op = "Attention";
  AttentionSizes size = Rotary(batch, heads, position, qkv);
  if (history.empty()) {
    WF_CHECK_MSG(position == 0,
                 "Attention: position is " + std::to_string(position) + " without a history");
  } else {
    RequireRank({op, "history"}, history, 3);
    size.capacity = history.shape[1];
    Require({op, "history"}, history, {batch, size.capacity, 2 * size.width()});
    WF_CHECK_MSG(position + size.tokens <= size.capacity,
                 Label({op, "history"}, history) + ", required are " +
                     std::to_string(position + size.tokens) + " rows");
  }
  Require({op, "y"}, y, {qkv.shape[0], size.width()}, qkv.dtype);
  Require({op, "log_sum"}, log_sum, {qkv.shape[0], heads});
  return size;
}

AttentionSizes AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                 Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                 Tensor dhistory, Tensor dqkv) {
  constexpr const char* op = "AttentionBackward";
  const AttentionSizes size = AttentionForward(batch, heads, position, qkv, history, y, log_sum);
  Require({op, "dy"}, dy, y.shape, y.dtype);
  RequireStateGradient({op, "dhistory"}, history, dhistory);
  Require({op, "dqkv"}, dqkv, qkv.shape, qkv.dtype);
  return size;
}

ReadoutSizes FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                 Tensor qkvg, Tensor out) {
  constexpr const char* op = "FieldReadout";
  RequireRank({op, "y"}, y, 2);
  RequireRank({op, "coupling"}, coupling, 2);
  const int64_t rows = y.shape[0], width = y.shape[1], heads = coupling.shape[0];
  WF_CHECK_MSG(heads > 0 && width % heads == 0, Label({op, "coupling"}, coupling));
  const DType type = ActivationType({op, "y"}, y);
  Require({op, "y"}, y, {rows, width}, type);
  Require({op, "coupling"}, coupling, {heads, heads});
  Require({op, "head_norm"}, head_norm, {width});
  if (!qkv.empty()) Require({op, "qkv"}, qkv, {rows, 3 * width}, type);
  Require({op, "qkvg"}, qkvg, {rows, 4 * width}, type);
  Require({op, "out"}, out, {rows, width}, type);
  return {rows, heads, width / heads};
}

ReadoutSizes FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                  Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv, Tensor dqkvg,
                                  Tensor dcoupling, Tensor dhead_norm) {
  constexpr const char* op = "FieldReadoutBackward";
  const ReadoutSizes size = FieldReadoutForward(y, qkv, coupling, head_norm, qkvg, dout);
  Require({op, "dy"}, dy, y.shape, y.dtype);
  if (!qkv.empty()) Require({op, "dqkv"}, dqkv, qkv.shape, qkv.dtype);
  Require({op, "dqkvg"}, dqkvg, qkvg.shape, qkvg.dtype);
  Require({op, "dcoupling"}, dcoupling, coupling.shape);
  Require({op, "dhead_norm"}, dhead_norm, head_norm.shape);
  return size;
}

}  // namespace wavefield::contract
