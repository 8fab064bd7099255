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
  Require({op, "damping"}, damping, {rows, heads});
  Require({op, "frequency"}, frequency, {heads});
  Require({op, "phase"}, phase, {heads});
  return {{batch, Tokens(op, batch, rows)}, heads, width / heads};
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
                                 Tensor dqkv, Tensor dqkvg, Tensor dweight, Tensor dbias) {
  constexpr const char* op = "ShortConvBackward";
  const ShortConvSizes size = ShortConvForward(batch, qkvg, weight, bias, {}, dqkv);
  Require({op, "dqkvg"}, dqkvg, qkvg.shape);
  Require({op, "dweight"}, dweight, weight.shape);
  Require({op, "dbias"}, dbias, bias.shape);
  return size;
}

RowSizes Damping(Tensor input, Tensor output, Tensor bias) {
  constexpr const char* op = "Damping";
  RequireRank({op, "input"}, input, 2);
  const RowSizes size{input.shape[0], input.shape[1]};
  Require({op, "input"}, input, {size.rows, size.width});
  Require({op, "output"}, output, {size.rows, size.width});
  Require({op, "bias"}, bias, {size.width});
  return size;
}

FieldSizes FieldOuterForward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                             Tensor phase, Tensor state, Tensor y) {
  constexpr const char* op = "FieldOuterForward";
  const FieldSizes size = Field(op, batch, qkv, damping, frequency, phase);
  RequireState({op, "state"}, state, batch * size.heads * size.state_elements());
  Require({op, "y"}, y, {qkv.shape[0], size.width()});
  return size;
}

FieldSizes FieldOuterBackward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                              Tensor phase, Tensor dy, Tensor dqkv, Tensor ddamping,
                              Tensor dfrequency, Tensor dphase) {
  constexpr const char* op = "FieldOuterBackward";
  const FieldSizes size = Field(op, batch, qkv, damping, frequency, phase);
  Require({op, "dy"}, dy, {qkv.shape[0], size.width()});
  Require({op, "dqkv"}, dqkv, qkv.shape);
  Require({op, "ddamping"}, ddamping, damping.shape);
  Require({op, "dfrequency"}, dfrequency, frequency.shape);
  Require({op, "dphase"}, dphase, phase.shape);
  return size;
}

ReadoutSizes FieldReadoutForward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg,
                                 Tensor out) {
  constexpr const char* op = "FieldReadout";
  RequireRank({op, "y"}, y, 2);
  RequireRank({op, "coupling"}, coupling, 2);
  const int64_t rows = y.shape[0], width = y.shape[1], heads = coupling.shape[0];
  WF_CHECK_MSG(heads > 0 && width % heads == 0, Label({op, "coupling"}, coupling));
  Require({op, "y"}, y, {rows, width});
  Require({op, "coupling"}, coupling, {heads, heads});
  Require({op, "head_norm"}, head_norm, {width});
  Require({op, "qkvg"}, qkvg, {rows, 4 * width});
  Require({op, "out"}, out, {rows, width});
  return {rows, heads, width / heads};
}

ReadoutSizes FieldReadoutBackward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg,
                                  Tensor dout, Tensor dy, Tensor dqkvg, Tensor dcoupling,
                                  Tensor dhead_norm) {
  constexpr const char* op = "FieldReadoutBackward";
  const ReadoutSizes size = FieldReadoutForward(y, coupling, head_norm, qkvg, dout);
  Require({op, "dy"}, dy, y.shape);
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

}  // namespace wavefield::contract
