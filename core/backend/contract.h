#pragma once

// The shape laws of backend.h, written once for all implementations. Every function aborts with the
// operation, the argument, the shape it has and the shape required; otherwise it returns the sizes.
// Letters as in backend.h.

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
  int64_t state_elements() const { return 2 * head_width * head_width; }  // of one head
};
struct ReadoutSizes {
  int64_t rows, heads, head_width;
  int64_t width() const { return heads * head_width; }
};

// Sizes of c = op(a) · op(b); m, n, k as in BLAS.
MatMulSizes MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
                   Tensor c);
// Flat ranges; return the number of elements.
int64_t Add(Tensor source, Tensor destination);
int64_t SumOfSquares(Tensor x);
int64_t AdamW(Tensor gradient, Tensor parameter, Tensor m, Tensor v);

// Also requires every id to be in [0, V).
EmbeddingSizes Embedding(Tensor ids, Tensor rows, Tensor table);
RowSizes RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms);
RowSizes RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy, Tensor residual,
                         Tensor dx, Tensor dweight);
ShortConvSizes ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                Tensor state, Tensor qkv);
ShortConvSizes ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                 Tensor dqkv, Tensor dqkvg, Tensor dweight, Tensor dbias);
// Both directions of damping: two [N, H] tensors and one [H].
RowSizes Damping(Tensor input, Tensor output, Tensor bias);
FieldSizes FieldOuterForward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                             Tensor phase, Tensor state, Tensor y);
FieldSizes FieldOuterBackward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                              Tensor phase, Tensor dy, Tensor dqkv, Tensor ddamping,
                              Tensor dfrequency, Tensor dphase);
ReadoutSizes FieldReadoutForward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg,
                                 Tensor out);
ReadoutSizes FieldReadoutBackward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg,
                                  Tensor dout, Tensor dy, Tensor dqkvg, Tensor dcoupling,
                                  Tensor dhead_norm);
// width is F.
RowSizes SwiGlu(Tensor gate_up, Tensor y);
RowSizes SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up);
// Also requires every target to be −1 or in [0, V). width is V.
RowSizes CrossEntropy(Tensor logits, Tensor targets, Tensor row_loss, Tensor row_correct);

}  // namespace wavefield::contract
