#pragma once

// The laws of shapes and element types of backend.h, written once for all implementations. Every
// function aborts with the operation, the argument, what it is and what is required; otherwise it
// returns the sizes. None looks at elements but RequireIds and RequireTargets, which are for memory
// of the host. Letters as in backend.h.

#include <cstdint>

#include "core/backend/backend.h"
#include "core/tensor/tensor.h"

namespace wavefield::contract {

struct MatMulSizes {
  int64_t m, n, k;
};
struct RowSizes {
  int64_t rows, width;
};
struct EmbeddingSizes {
  int64_t rows, width, vocabulary;
};
struct SequenceSizes {
  int64_t batch, tokens;
};
struct ShortConvSizes : SequenceSizes {
  int64_t channels;  // 3D
  int64_t taps;      // W
  int64_t rows() const { return batch * tokens; }
};
struct FieldSizes : SequenceSizes {
  int64_t heads, head_width;
  int64_t width() const { return heads * head_width; }
  bool static_damping;
  // From one token's damping to the next one's.
  int64_t damping_stride() const { return static_damping ? 0 : heads; }
};
struct AttentionSizes : SequenceSizes {
  int64_t heads, head_width;
  int64_t capacity;  // rows of the history of one sequence, 0 without one
  int64_t width() const { return heads * head_width; }
};
struct ReadoutSizes {
  int64_t rows, heads, head_width;
  int64_t width() const { return heads * head_width; }
};

// Sizes of c = op(a) · op(b); m, n, k as in BLAS.
MatMulSizes MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
                   Tensor c);
// Of any one type; returns the number of elements.
int64_t Copy(Tensor source, Tensor destination);
// Flat ranges; return the number of elements.
int64_t Add(Tensor source, Tensor destination);
int64_t Axpby(Tensor x, Tensor y);
int64_t SumOfSquares(Tensor x);
int64_t AdamW(Tensor gradient, Tensor parameter, Tensor m, Tensor v);

EmbeddingSizes Embedding(Tensor ids, Tensor rows, Tensor table);
// Every id is in [0, vocabulary).
void RequireIds(Tensor ids, int64_t vocabulary);
RowSizes RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms);
RowSizes RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy, Tensor residual,
                         Tensor dx, Tensor dweight);
ShortConvSizes ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                Tensor state, Tensor qkv);
ShortConvSizes ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                 Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                 Tensor dweight, Tensor dbias);
// Both directions of damping: two [N, H] tensors, or an empty `input` and a [1, H] output; and [H].
RowSizes Damping(Tensor input, Tensor output, Tensor bias);
FieldSizes FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                             Tensor frequency, Tensor phase, Tensor state, Tensor y);
FieldSizes FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                              Tensor frequency, Tensor phase, Tensor state, Tensor dy,
                              Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                              Tensor dphase);
FieldSizes FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                   Tensor frequency, Tensor phase, Tensor state, Tensor field);
FieldSizes FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                    Tensor frequency, Tensor phase, Tensor state, Tensor dfield,
                                    Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                    Tensor dphase);
ReadoutSizes FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                 Tensor qkvg, Tensor out);
ReadoutSizes FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                  Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv, Tensor dqkvg,
                                  Tensor dcoupling, Tensor dhead_norm);
AttentionSizes Rotary(int64_t batch, int64_t heads, int64_t position, Tensor qkv);
AttentionSizes AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                Tensor history, Tensor y, Tensor log_sum);
AttentionSizes AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                 Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                 Tensor dhistory, Tensor dqkv);
// width is F.
RowSizes SwiGlu(Tensor gate_up, Tensor y);
RowSizes SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up);
// ---- classic form ----
RowSizes LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                          Tensor inverse_deviation);
RowSizes LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation,
                           Tensor dy, Tensor residual, Tensor dx, Tensor dweight, Tensor dbias);
RowSizes AddBias(Tensor bias, Tensor y);
// Equal shapes; returns the number of elements.
int64_t Gelu(Tensor x, Tensor y);
int64_t GeluBackward(Tensor x, Tensor dy, Tensor dx);
struct ColumnSizes {
  int64_t rows, width;                        // of what is copied
  int64_t source_stride, destination_stride;  // between rows
};
ColumnSizes CopyColumns(Tensor source, int64_t source_column, int64_t width, Tensor destination,
                        int64_t destination_column);
// `part` [N, width] and the columns of `whole` from `column` on; destination_stride is whole's.
ColumnSizes Relu(Tensor part, int64_t column, Tensor whole);
ColumnSizes ReluBackward(Tensor y, int64_t column, Tensor dy, Tensor dx);
SequenceSizes AddPositions(int64_t batch, int64_t position, Tensor x);
ReadoutSizes CoupledRead(Tensor field, Tensor qkv, Tensor coupling, Tensor damping, Tensor y);
ReadoutSizes CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                 Tensor dy, Tensor dfield, Tensor dqkv, Tensor dcoupling,
                                 Tensor ddamping);
RowSizes SigmoidGate(Tensor x, Tensor qkvg, Tensor y);
RowSizes SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx, Tensor dqkvg);
// `state` empty or of batch · C elements.
SequenceSizes CumulativeMean(int64_t batch, int64_t position, Tensor x, Tensor state, Tensor mean);
RowSizes Interference(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                      Tensor y);
RowSizes InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate, Tensor temperature,
                              Tensor dy, Tensor dnear, Tensor dfar, Tensor decho, Tensor dgate,
                              Tensor dtemperature);

// width is V.
RowSizes CrossEntropy(Tensor logits, Tensor targets, Tensor row_loss, Tensor row_correct);
// Every target is −1 or in [0, vocabulary).
void RequireTargets(Tensor targets, int64_t vocabulary);
SequenceSizes Dropout(float rate, int64_t batch, int64_t position, Tensor x);

// The random bits behind dropout, the same for all implementations: element (b, token, c) is
// dropped when word c mod 4 of Philox({c / 4, low half of token, high half of token, b}, key) is
// below DropoutThreshold(rate) (core/base/rng.h; token counts from the start of the sequence).
uint32_t DropoutThreshold(float rate);

}  // namespace wavefield::contract
