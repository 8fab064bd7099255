#include "core/backend/contract.h"

#include <string>

namespace wavefield::contract {
namespace {

struct Argument {
  const char* operation;
  const char* name;
};

std::string Label(Argument argument, const Tensor& tensor) {
  return std::string(argument.operation) + ": " + argument.name + " is " + tensor.shape.ToString();
}

void Require(Argument argument, const Tensor& tensor, const Shape& shape,
             DType dtype = DType::kFloat32) {
  WF_CHECK_MSG(tensor.dtype == dtype, Label(argument, tensor) + " of the wrong element type");
  WF_CHECK_MSG(tensor.shape == shape,
               Label(argument, tensor) + ", required is " + shape.ToString());
  WF_CHECK_MSG(!tensor.empty() || tensor.elements() == 0,
               Label(argument, tensor) + " without data");
}

void RequireRank(Argument argument, const Tensor& tensor, int rank) {
  WF_CHECK_MSG(tensor.shape.rank() == rank,
               Label(argument, tensor) + ", required rank is " + std::to_string(rank));
}

void RequireState(Argument argument, const Tensor& state, int64_t elements) {
  if (state.empty()) return;
  WF_CHECK_MSG(state.dtype == DType::kFloat32 && state.elements() == elements,
               Label(argument, state) + ", required are " + std::to_string(elements) + " elements");
}

int64_t Tokens(const char* operation, int64_t batch, int64_t rows) {
  WF_CHECK_MSG(batch > 0 && rows % batch == 0,
               std::string(operation) + ": " + std::to_string(rows) +
                   " rows do not divide into a batch of " + std::to_string(batch));
  return rows / batch;
}

void RequireIndices(Argument argument, const Tensor& indices, int64_t lowest, int64_t end) {
  const int32_t* index = indices.i32();
  for (int64_t n = 0; n < indices.elements(); ++n) {
    WF_CHECK_MSG(lowest <= index[n] && index[n] < end,
                 std::string(argument.operation) + ": " + argument.name + "[" + std::to_string(n) +
                     "] = " + std::to_string(index[n]) + ", allowed is " + std::to_string(lowest) +
                     " to " + std::to_string(end - 1));
  }
}

FieldSizes Field(const char* op, int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                 Tensor phase) {
  RequireRank({op, "qkv"}, qkv, 2);
  RequireRank({op, "damping"}, damping, 2);
  const int64_t rows = qkv.shape[0], width = qkv.shape[1] / 3, heads = damping.shape[1];
  WF_CHECK_MSG(heads > 0 && width % heads == 0, Label({op, "damping"}, damping));
  Require({op, "qkv"}, qkv, {rows, 3 * width});
  const bool is_static = damping.shape[0] == 1 && rows != 1;
  Require({op, "damping"}, damping, {is_static ? 1 : rows, heads});
  Require({op, "frequency"}, frequency, {heads});
  Require({op, "phase"}, phase, {heads});
  return {{batch, Tokens(op, batch, rows)}, heads, width / heads, is_static};
}

// The state's gradient: none, or of the state's size beside a state.
void RequireStateGradient(Argument argument, const Tensor& state, const Tensor& dstate) {
  if (dstate.empty()) return;
  WF_CHECK_MSG(!state.empty(), Label(argument, dstate) + " without a state");
  RequireState(argument, dstate, state.elements());
}

FieldSizes FieldBackward(const char* op, int64_t batch, Tensor qkv, Tensor damping,
                         Tensor frequency, Tensor phase, Tensor state, Tensor dy, Tensor dstate,
                         Tensor dqkv, Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  const FieldSizes size = Field(op, batch, qkv, damping, frequency, phase);
  Require({op, "dy"}, dy, {qkv.shape[0], size.width()});
  RequireStateGradient({op, "dstate"}, state, dstate);
  Require({op, "dqkv"}, dqkv, qkv.shape);
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

MatMulSizes MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
                   Tensor c) {
  constexpr const char* op = "MatMul";
  RequireRank({op, "a"}, a, 2);
  RequireRank({op, "b"}, b, 2);
  const bool ta = transpose_a == Transpose::kYes, tb = transpose_b == Transpose::kYes;
  const MatMulSizes size{a.shape[ta ? 1 : 0], b.shape[tb ? 0 : 1], a.shape[ta ? 0 : 1]};
  Require({op, "a"}, a, a.shape);
  Require({op, "b"}, b, tb ? Shape{size.n, size.k} : Shape{size.k, size.n});
  Require({op, "c"}, c, {size.m, size.n});
  WF_CHECK_MSG(beta == 0.0f || beta == 1.0f, "MatMul: beta is " + std::to_string(beta));
  return size;
}

int64_t Add(Tensor source, Tensor destination) {
  Require({"Add", "source"}, source, source.shape);
  Require({"Add", "destination"}, destination, source.shape);
  return source.elements();
}

int64_t Axpby(Tensor x, Tensor y) {
  Require({"Axpby", "x"}, x, x.shape);
  Require({"Axpby", "y"}, y, x.shape);
  return x.elements();
}

int64_t SumOfSquares(Tensor x) {
  Require({"SumOfSquares", "x"}, x, x.shape);
  return x.elements();
}

int64_t AdamW(Tensor gradient, Tensor parameter, Tensor m, Tensor v) {
  constexpr const char* op = "AdamW";
  Require({op, "gradient"}, gradient, gradient.shape);
  Require({op, "parameter"}, parameter, gradient.shape);
  Require({op, "m"}, m, gradient.shape);
  Require({op, "v"}, v, gradient.shape);
  return gradient.elements();
}

EmbeddingSizes Embedding(Tensor ids, Tensor rows, Tensor table) {
  constexpr const char* op = "Embedding";
  RequireRank({op, "ids"}, ids, 1);
  RequireRank({op, "table"}, table, 2);
  const EmbeddingSizes size{ids.shape[0], table.shape[1], table.shape[0]};
  Require({op, "ids"}, ids, {size.rows}, DType::kInt32);
  Require({op, "table"}, table, {size.vocabulary, size.width});
  Require({op, "rows"}, rows, {size.rows, size.width});
  RequireIndices({op, "ids"}, ids, 0, size.vocabulary);
  return size;
}

RowSizes RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) {
  constexpr const char* op = "RmsNormForward";
  RequireRank({op, "x"}, x, 2);
  const RowSizes size{x.shape[0], x.shape[1]};
  Require({op, "x"}, x, {size.rows, size.width});
  Require({op, "weight"}, weight, {size.width});
  Require({op, "y"}, y, {size.rows, size.width});
  Require({op, "inverse_rms"}, inverse_rms, {size.rows});
  return size;
}

RowSizes RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy, Tensor residual,
                         Tensor dx, Tensor dweight) {
  constexpr const char* op = "RmsNormBackward";
  const RowSizes size = RmsNormForward(x, weight, dy, inverse_rms);
  if (!residual.empty()) Require({op, "residual"}, residual, {size.rows, size.width});
  Require({op, "dx"}, dx, {size.rows, size.width});
  Require({op, "dweight"}, dweight, {size.width});
  return size;
}

ShortConvSizes ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                Tensor state, Tensor qkv) {
  constexpr const char* op = "ShortConv";
  RequireRank({op, "weight"}, weight, 2);
  RequireRank({op, "qkvg"}, qkvg, 2);
  const int64_t rows = qkvg.shape[0], channels = weight.shape[0], taps = weight.shape[1];
  WF_CHECK_MSG(channels % 3 == 0 && taps > 0, Label({op, "weight"}, weight));
  Require({op, "qkvg"}, qkvg, {rows, channels / 3 * 4});
  Require({op, "weight"}, weight, {channels, taps});
  Require({op, "bias"}, bias, {channels});
  Require({op, "qkv"}, qkv, {rows, channels});
  RequireState({op, "state"}, state, batch * (taps - 1) * channels);
  return {{batch, Tokens(op, batch, rows)}, channels, taps};
}

ShortConvSizes ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                 Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                 Tensor dweight, Tensor dbias) {
  constexpr const char* op = "ShortConvBackward";
  const ShortConvSizes size = ShortConvForward(batch, qkvg, weight, bias, state, dqkv);
  RequireStateGradient({op, "dstate"}, state, dstate);
  Require({op, "dqkvg"}, dqkvg, qkvg.shape);
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
  Require({op, "y"}, y, {qkv.shape[0], size.width()});
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
  Require({op, "field"}, field, {qkv.shape[0], size.width()});
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
  Require({op, "qkv"}, qkv, {rows, 3 * width});
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
  Require({op, "y"}, y, {qkv.shape[0], size.width()});
  Require({op, "log_sum"}, log_sum, {qkv.shape[0], heads});
  return size;
}

AttentionSizes AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                 Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                 Tensor dhistory, Tensor dqkv) {
  constexpr const char* op = "AttentionBackward";
  const AttentionSizes size = AttentionForward(batch, heads, position, qkv, history, y, log_sum);
  Require({op, "dy"}, dy, y.shape);
  RequireStateGradient({op, "dhistory"}, history, dhistory);
  Require({op, "dqkv"}, dqkv, qkv.shape);
  return size;
}

ReadoutSizes FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                 Tensor qkvg, Tensor out) {
  constexpr const char* op = "FieldReadout";
  RequireRank({op, "y"}, y, 2);
  RequireRank({op, "coupling"}, coupling, 2);
  const int64_t rows = y.shape[0], width = y.shape[1], heads = coupling.shape[0];
  WF_CHECK_MSG(heads > 0 && width % heads == 0, Label({op, "coupling"}, coupling));
  Require({op, "y"}, y, {rows, width});
  Require({op, "coupling"}, coupling, {heads, heads});
  Require({op, "head_norm"}, head_norm, {width});
  if (!qkv.empty()) Require({op, "qkv"}, qkv, {rows, 3 * width});
  Require({op, "qkvg"}, qkvg, {rows, 4 * width});
  Require({op, "out"}, out, {rows, width});
  return {rows, heads, width / heads};
}

ReadoutSizes FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                  Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv, Tensor dqkvg,
                                  Tensor dcoupling, Tensor dhead_norm) {
  constexpr const char* op = "FieldReadoutBackward";
  const ReadoutSizes size = FieldReadoutForward(y, qkv, coupling, head_norm, qkvg, dout);
  Require({op, "dy"}, dy, y.shape);
  if (!qkv.empty()) Require({op, "dqkv"}, dqkv, qkv.shape);
  Require({op, "dqkvg"}, dqkvg, qkvg.shape);
  Require({op, "dcoupling"}, dcoupling, coupling.shape);
  Require({op, "dhead_norm"}, dhead_norm, head_norm.shape);
  return size;
}

RowSizes SwiGlu(Tensor gate_up, Tensor y) {
  constexpr const char* op = "SwiGlu";
  RequireRank({op, "y"}, y, 2);
  const RowSizes size{y.shape[0], y.shape[1]};
  Require({op, "gate_up"}, gate_up, {size.rows, 2 * size.width});
  Require({op, "y"}, y, {size.rows, size.width});
  return size;
}

RowSizes SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) {
  const RowSizes size = SwiGlu(gate_up, dy);
  Require({"SwiGluBackward", "dgate_up"}, dgate_up, gate_up.shape);
  return size;
}

RowSizes LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                          Tensor inverse_deviation) {
  constexpr const char* op = "LayerNorm";
  RequireRank({op, "x"}, x, 2);
  const RowSizes size{x.shape[0], x.shape[1]};
  Require({op, "x"}, x, {size.rows, size.width});
  Require({op, "weight"}, weight, {size.width});
  Require({op, "bias"}, bias, {size.width});
  Require({op, "y"}, y, {size.rows, size.width});
  Require({op, "mean"}, mean, {size.rows});
  Require({op, "inverse_deviation"}, inverse_deviation, {size.rows});
  return size;
}

RowSizes LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation,
                           Tensor dy, Tensor residual, Tensor dx, Tensor dweight, Tensor dbias) {
  constexpr const char* op = "LayerNormBackward";
  const RowSizes size = LayerNormForward(x, weight, dbias, dy, mean, inverse_deviation);
  if (!residual.empty()) Require({op, "residual"}, residual, {size.rows, size.width});
  Require({op, "dx"}, dx, {size.rows, size.width});
  Require({op, "dweight"}, dweight, {size.width});
  return size;
}

RowSizes AddBias(Tensor bias, Tensor y) {
  constexpr const char* op = "AddBias";
  RequireRank({op, "y"}, y, 2);
  const RowSizes size{y.shape[0], y.shape[1]};
  Require({op, "y"}, y, {size.rows, size.width});
  Require({op, "bias"}, bias, {size.width});
  return size;
}

int64_t Gelu(Tensor x, Tensor y) {
  Require({"Gelu", "x"}, x, x.shape);
  Require({"Gelu", "y"}, y, x.shape);
  return x.elements();
}

int64_t GeluBackward(Tensor x, Tensor dy, Tensor dx) {
  Require({"GeluBackward", "dx"}, dx, x.shape);
  return Gelu(x, dy);
}

ColumnSizes CopyColumns(Tensor source, int64_t source_column, int64_t width, Tensor destination,
                        int64_t destination_column) {
  constexpr const char* op = "CopyColumns";
  RequireRank({op, "source"}, source, 2);
  RequireRank({op, "destination"}, destination, 2);
  const ColumnSizes size{source.shape[0], width, source.shape[1], destination.shape[1]};
  Require({op, "source"}, source, {size.rows, size.source_stride});
  Require({op, "destination"}, destination, {size.rows, size.destination_stride});
  WF_CHECK_MSG(width >= 0 && source_column >= 0 && source_column + width <= size.source_stride,
               Label({op, "source"}, source) + ", asked for " + std::to_string(width) +
                   " columns from " + std::to_string(source_column));
  WF_CHECK_MSG(destination_column >= 0 && destination_column + width <= size.destination_stride,
               Label({op, "destination"}, destination) + ", given " + std::to_string(width) +
                   " columns from " + std::to_string(destination_column));
  return size;
}

ColumnSizes Relu(Tensor part, int64_t column, Tensor whole) {
  RequireRank({"Relu", "x"}, part, 2);
  return CopyColumns(part, 0, part.shape[1], whole, column);
}

ColumnSizes ReluBackward(Tensor y, int64_t column, Tensor dy, Tensor dx) {
  Require({"ReluBackward", "dy"}, dy, y.shape);
  return Relu(dx, column, y);
}

SequenceSizes AddPositions(int64_t batch, int64_t position, Tensor x) {
  constexpr const char* op = "AddPositions";
  RequireRank({op, "x"}, x, 2);
  Require({op, "x"}, x, x.shape);
  WF_CHECK_MSG(x.shape[1] % 2 == 0, Label({op, "x"}, x) + ", required is an even width");
  WF_CHECK_MSG(position >= 0, "AddPositions: position is " + std::to_string(position));
  return {batch, Tokens(op, batch, x.shape[0])};
}

ReadoutSizes CoupledRead(Tensor field, Tensor qkv, Tensor coupling, Tensor damping, Tensor y) {
  constexpr const char* op = "CoupledRead";
  RequireRank({op, "field"}, field, 2);
  RequireRank({op, "coupling"}, coupling, 2);
  const int64_t rows = field.shape[0], width = field.shape[1], heads = coupling.shape[0];
  WF_CHECK_MSG(heads > 0 && width % heads == 0, Label({op, "coupling"}, coupling));
  Require({op, "field"}, field, {rows, width});
  Require({op, "qkv"}, qkv, {rows, 3 * width});
  Require({op, "coupling"}, coupling, {heads, heads});
  Require({op, "damping"}, damping, {1, heads});
  Require({op, "y"}, y, {rows, width});
  return {rows, heads, width / heads};
}

ReadoutSizes CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                 Tensor dy, Tensor dfield, Tensor dqkv, Tensor dcoupling,
                                 Tensor ddamping) {
  constexpr const char* op = "CoupledReadBackward";
  const ReadoutSizes size = CoupledRead(field, qkv, coupling, damping, dy);
  Require({op, "dfield"}, dfield, field.shape);
  Require({op, "dqkv"}, dqkv, qkv.shape);
  Require({op, "dcoupling"}, dcoupling, coupling.shape);
  Require({op, "ddamping"}, ddamping, damping.shape);
  return size;
}

RowSizes SigmoidGate(Tensor x, Tensor qkvg, Tensor y) {
  constexpr const char* op = "SigmoidGate";
  RequireRank({op, "x"}, x, 2);
  const RowSizes size{x.shape[0], x.shape[1]};
  Require({op, "x"}, x, {size.rows, size.width});
  Require({op, "qkvg"}, qkvg, {size.rows, 4 * size.width});
  Require({op, "y"}, y, {size.rows, size.width});
  return size;
}

RowSizes SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx, Tensor dqkvg) {
  constexpr const char* op = "SigmoidGateBackward";
  const RowSizes size = SigmoidGate(x, qkvg, dy);
  Require({op, "dx"}, dx, x.shape);
  Require({op, "dqkvg"}, dqkvg, qkvg.shape);
  return size;
}

SequenceSizes CumulativeMean(int64_t batch, int64_t position, Tensor x, Tensor state, Tensor mean) {
  constexpr const char* op = "CumulativeMean";
  RequireRank({op, "x"}, x, 2);
  Require({op, "x"}, x, x.shape);
  Require({op, "mean"}, mean, x.shape);
  RequireState({op, "state"}, state, batch * x.shape[1]);
  WF_CHECK_MSG(position >= 0, "CumulativeMean: position is " + std::to_string(position));
  return {batch, Tokens(op, batch, x.shape[0])};
}

RowSizes Interference(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                      Tensor y) {
  constexpr const char* op = "Interference";
  RequireRank({op, "near"}, near, 2);
  const RowSizes size{near.shape[0], near.shape[1]};
  Require({op, "near"}, near, near.shape);
  Require({op, "far"}, far, near.shape);
  Require({op, "echo"}, echo, near.shape);
  Require({op, "gate"}, gate, near.shape);
  Require({op, "temperature"}, temperature, {1});
  Require({op, "y"}, y, near.shape);
  return size;
}

RowSizes InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                              Tensor dy, Tensor dnear, Tensor dfar, Tensor decho, Tensor dgate,
                              Tensor dtemperature) {
  Interference(dnear, dfar, decho, dgate, dtemperature, dy);
  return Interference(near, far, echo, gate, temperature, dy);
}

RowSizes CrossEntropy(Tensor logits, Tensor targets, Tensor row_loss, Tensor row_correct) {
  constexpr const char* op = "CrossEntropy";
  RequireRank({op, "logits"}, logits, 2);
  const RowSizes size{logits.shape[0], logits.shape[1]};
  Require({op, "logits"}, logits, {size.rows, size.width});
  Require({op, "targets"}, targets, {size.rows}, DType::kInt32);
  Require({op, "row_loss"}, row_loss, {size.rows});
  Require({op, "row_correct"}, row_correct, {size.rows}, DType::kInt32);
  RequireIndices({op, "targets"}, targets, -1, size.width);
  return size;
}

SequenceSizes Dropout(float rate, int64_t batch, int64_t position, Tensor x) {
  constexpr const char* op = "Dropout";
  RequireRank({op, "x"}, x, 2);
  Require({op, "x"}, x, x.shape);
  WF_CHECK_MSG(rate >= 0 && rate < 1, "Dropout: rate is " + std::to_string(rate));
  WF_CHECK_MSG(position >= 0, "Dropout: position is " + std::to_string(position));
  return {batch, Tokens(op, batch, x.shape[0])};
}

uint32_t DropoutThreshold(float rate) { return static_cast<uint32_t>(rate * 0x1p32); }

}  // namespace wavefield::contract
