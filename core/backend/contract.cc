#include "core/backend/contract_requirements.h"

namespace wavefield::contract {
namespace {

void RequireIndices(Argument argument, const Tensor& indices, int64_t lowest, int64_t end) {
  const int32_t* index = indices.i32();
  for (int64_t n = 0; n < indices.elements(); ++n) {
    WF_CHECK_MSG(lowest <= index[n] && index[n] < end,
                 std::string(argument.operation) + ": " + argument.name + "[" + std::to_string(n) +
                     "] = " + std::to_string(index[n]) + ", allowed is " + std::to_string(lowest) +
                     " to " + std::to_string(end - 1));
  }
}

}  // namespace

MatMulSizes MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
                   Tensor c) {
  constexpr const char* op = "MatMul";
  RequireRank({op, "a"}, a, 2);
  RequireRank({op, "b"}, b, 2);
  const bool ta = transpose_a == Transpose::kYes, tb = transpose_b == Transpose::kYes;
  const MatMulSizes size{a.shape[ta ? 1 : 0], b.shape[tb ? 0 : 1], a.shape[ta ? 0 : 1]};
  Require({op, "a"}, a, a.shape, ActivationType({op, "a"}, a));
  Require({op, "b"}, b, tb ? Shape{size.n, size.k} : Shape{size.k, size.n},
          ActivationType({op, "b"}, b));
  Require({op, "c"}, c, {size.m, size.n}, ActivationType({op, "c"}, c));
  WF_CHECK_MSG(beta == 0.0f || beta == 1.0f, "MatMul: beta is " + std::to_string(beta));
  return size;
}

int64_t Copy(Tensor source, Tensor destination) {
  Require({"Copy", "destination"}, destination, source.shape, source.dtype);
  return source.elements();
}

int64_t Add(Tensor source, Tensor destination) {
  const DType type = ActivationType({"Add", "source"}, source);
  Require({"Add", "source"}, source, source.shape, type);
  Require({"Add", "destination"}, destination, source.shape, type);
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
  Require({op, "rows"}, rows, {size.rows, size.width}, ActivationType({op, "rows"}, rows));
  return size;
}

void RequireIds(Tensor ids, int64_t vocabulary) {
  RequireIndices({"Embedding", "ids"}, ids, 0, vocabulary);
}

RowSizes RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) {
  constexpr const char* op = "RmsNormForward";
  RequireRank({op, "x"}, x, 2);
  const RowSizes size{x.shape[0], x.shape[1]};
  const DType type = ActivationType({op, "x"}, x);
  Require({op, "x"}, x, {size.rows, size.width}, type);
  Require({op, "weight"}, weight, {size.width});
  Require({op, "y"}, y, {size.rows, size.width}, type);
  Require({op, "inverse_rms"}, inverse_rms, {size.rows});
  return size;
}

RowSizes RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy, Tensor residual,
                         Tensor dx, Tensor dweight) {
  constexpr const char* op = "RmsNormBackward";
  const RowSizes size = RmsNormForward(x, weight, dy, inverse_rms);
  if (!residual.empty()) Require({op, "residual"}, residual, x.shape, x.dtype);
  Require({op, "dx"}, dx, x.shape, x.dtype);
  Require({op, "dweight"}, dweight, {size.width});
  return size;
}

RowSizes SwiGlu(Tensor gate_up, Tensor y) {
  constexpr const char* op = "SwiGlu";
  RequireRank({op, "y"}, y, 2);
  const RowSizes size{y.shape[0], y.shape[1]};
  const DType type = ActivationType({op, "y"}, y);
  Require({op, "gate_up"}, gate_up, {size.rows, 2 * size.width}, type);
  Require({op, "y"}, y, {size.rows, size.width}, type);
  return size;
}

RowSizes SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) {
  const RowSizes size = SwiGlu(gate_up, dy);
  Require({"SwiGluBackward", "dgate_up"}, dgate_up, gate_up.shape, gate_up.dtype);
  return size;
}

RowSizes CrossEntropy(Tensor logits, Tensor targets, Tensor row_loss, Tensor row_correct) {
  constexpr const char* op = "CrossEntropy";
  RequireRank({op, "logits"}, logits, 2);
  const RowSizes size{logits.shape[0], logits.shape[1]};
  Require({op, "logits"}, logits, {size.rows, size.width}, ActivationType({op, "logits"}, logits));
  Require({op, "targets"}, targets, {size.rows}, DType::kInt32);
  Require({op, "row_loss"}, row_loss, {size.rows});
  Require({op, "row_correct"}, row_correct, {size.rows}, DType::kInt32);
  return size;
}

void RequireTargets(Tensor targets, int64_t vocabulary) {
  RequireIndices({"CrossEntropy", "targets"}, targets, -1, vocabulary);
}

SequenceSizes Dropout(float rate, int64_t batch, int64_t position, Tensor x) {
  constexpr const char* op = "Dropout";
  RequireRank({op, "x"}, x, 2);
  Require({op, "x"}, x, x.shape, ActivationType({op, "x"}, x));
  WF_CHECK_MSG(rate >= 0 && rate < 1, "Dropout: rate is " + std::to_string(rate));
  WF_CHECK_MSG(position >= 0, "Dropout: position is " + std::to_string(position));
  return {batch, Tokens(op, batch, x.shape[0])};
}

uint32_t DropoutThreshold(float rate) { return static_cast<uint32_t>(rate * 0x1p32); }

}  // namespace wavefield::contract
