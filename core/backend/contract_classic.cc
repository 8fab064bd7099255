// The operations of the classic form.
#include "core/backend/contract_requirements.h"

namespace wavefield::contract {

RowSizes LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                          Tensor inverse_deviation) {
  constexpr const char* op = "LayerNorm";
  RequireRank({op, "x"}, x, 2);
  const RowSizes size{x.shape[0], x.shape[1]};
  const DType type = ActivationType({op, "x"}, x);
  Require({op, "x"}, x, {size.rows, size.width}, type);
  Require({op, "weight"}, weight, {size.width});
  Require({op, "bias"}, bias, {size.width});
  Require({op, "y"}, y, {size.rows, size.width}, type);
  Require({op, "mean"}, mean, {size.rows});
  Require({op, "inverse_deviation"}, inverse_deviation, {size.rows});
  return size;
}

RowSizes LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation,
                           Tensor dy, Tensor residual, Tensor dx, Tensor dweight, Tensor dbias) {
  constexpr const char* op = "LayerNormBackward";
  const RowSizes size = LayerNormForward(x, weight, dbias, dy, mean, inverse_deviation);
  if (!residual.empty()) Require({op, "residual"}, residual, x.shape, x.dtype);
  Require({op, "dx"}, dx, x.shape, x.dtype);
  Require({op, "dweight"}, dweight, {size.width});
  return size;
}

RowSizes AddBias(Tensor bias, Tensor y) {
  constexpr const char* op = "AddBias";
  RequireRank({op, "y"}, y, 2);
  const RowSizes size{y.shape[0], y.shape[1]};
  Require({op, "y"}, y, {size.rows, size.width}, ActivationType({op, "y"}, y));
  Require({op, "bias"}, bias, {size.width});
  return size;
}

int64_t Gelu(Tensor x, Tensor y) {
  const DType type = ActivationType({"Gelu", "x"}, x);
  Require({"Gelu", "x"}, x, x.shape, type);
  Require({"Gelu", "y"}, y, x.shape, type);
  return x.elements();
}

int64_t GeluBackward(Tensor x, Tensor dy, Tensor dx) {
  Require({"GeluBackward", "dx"}, dx, x.shape, x.dtype);
  return Gelu(x, dy);
}

ColumnSizes CopyColumns(Tensor source, int64_t source_column, int64_t width, Tensor destination,
                        int64_t destination_column) {
  constexpr const char* op = "CopyColumns";
  RequireRank({op, "source"}, source, 2);
  RequireRank({op, "destination"}, destination, 2);
  const ColumnSizes size{source.shape[0], width, source.shape[1], destination.shape[1]};
  const DType type = ActivationType({op, "source"}, source);
  Require({op, "source"}, source, {size.rows, size.source_stride}, type);
  Require({op, "destination"}, destination, {size.rows, size.destination_stride}, type);
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
  Require({"ReluBackward", "dy"}, dy, y.shape, y.dtype);
  return Relu(dx, column, y);
}

SequenceSizes AddPositions(int64_t batch, int64_t position, Tensor x) {
  constexpr const char* op = "AddPositions";
  RequireRank({op, "x"}, x, 2);
  Require({op, "x"}, x, x.shape, ActivationType({op, "x"}, x));
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
  const DType type = ActivationType({op, "field"}, field);
  Require({op, "field"}, field, {rows, width}, type);
  Require({op, "qkv"}, qkv, {rows, 3 * width}, type);
  Require({op, "coupling"}, coupling, {heads, heads});
  Require({op, "damping"}, damping, {1, heads});
  Require({op, "y"}, y, {rows, width}, type);
  return {rows, heads, width / heads};
}

ReadoutSizes CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                 Tensor dy, Tensor dfield, Tensor dqkv, Tensor dcoupling,
                                 Tensor ddamping) {
  constexpr const char* op = "CoupledReadBackward";
  const ReadoutSizes size = CoupledRead(field, qkv, coupling, damping, dy);
  Require({op, "dfield"}, dfield, field.shape, field.dtype);
  Require({op, "dqkv"}, dqkv, qkv.shape, qkv.dtype);
  Require({op, "dcoupling"}, dcoupling, coupling.shape);
  Require({op, "ddamping"}, ddamping, damping.shape);
  return size;
}

RowSizes SigmoidGate(Tensor x, Tensor qkvg, Tensor y) {
  constexpr const char* op = "SigmoidGate";
  RequireRank({op, "x"}, x, 2);
  const RowSizes size{x.shape[0], x.shape[1]};
  const DType type = ActivationType({op, "x"}, x);
  Require({op, "x"}, x, {size.rows, size.width}, type);
  Require({op, "qkvg"}, qkvg, {size.rows, 4 * size.width}, type);
  Require({op, "y"}, y, {size.rows, size.width}, type);
  return size;
}

RowSizes SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx, Tensor dqkvg) {
  constexpr const char* op = "SigmoidGateBackward";
  const RowSizes size = SigmoidGate(x, qkvg, dy);
  Require({op, "dx"}, dx, x.shape, x.dtype);
  Require({op, "dqkvg"}, dqkvg, qkvg.shape, qkvg.dtype);
  return size;
}

SequenceSizes CumulativeMean(int64_t batch, int64_t position, Tensor x, Tensor state, Tensor mean) {
  constexpr const char* op = "CumulativeMean";
  RequireRank({op, "x"}, x, 2);
  const DType type = ActivationType({op, "x"}, x);
  Require({op, "x"}, x, x.shape, type);
  Require({op, "mean"}, mean, x.shape, type);
  RequireState({op, "state"}, state, batch * x.shape[1]);
  WF_CHECK_MSG(position >= 0, "CumulativeMean: position is " + std::to_string(position));
  return {batch, Tokens(op, batch, x.shape[0])};
}

RowSizes Interference(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                      Tensor y) {
  constexpr const char* op = "Interference";
  RequireRank({op, "near"}, near, 2);
  const RowSizes size{near.shape[0], near.shape[1]};
  const DType type = ActivationType({op, "near"}, near);
  Require({op, "near"}, near, near.shape, type);
  Require({op, "far"}, far, near.shape, type);
  Require({op, "echo"}, echo, near.shape, type);
  Require({op, "gate"}, gate, near.shape, type);
  Require({op, "temperature"}, temperature, {1});
  Require({op, "y"}, y, near.shape, type);
  return size;
}

RowSizes InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                              Tensor dy, Tensor dnear, Tensor dfar, Tensor decho, Tensor dgate,
                              Tensor dtemperature) {
  Interference(dnear, dfar, decho, dgate, dtemperature, dy);
  return Interference(near, far, echo, gate, temperature, dy);
}

}  // namespace wavefield::contract
