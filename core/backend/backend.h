#pragma once

// The one contract that a device fulfils: every operation the models need, forward and backward.
// cpu/ is the fast implementation, reference/ the scalar truth it is tested against.
//
// Letters (legend of core/README.md): B batch, T tokens, N = B·T rows (row b·T + t is token t of
// sequence b), D model width, H heads, d = D/H head width, F feed-forward width, V vocabulary,
// W short-convolution width. Head h owns columns h·d … (h+1)·d−1 of a D-wide row.
//
// Laws. Parameter gradients accumulate (+=), activation gradients overwrite (=), unless an argument
// says otherwise. Inputs and outputs do not overlap unless an argument says so. Tensors are dense
// and row-major, memory of this backend. Shapes and element types are REQUIREd: a mismatch is a
// programmer error and aborts.
//
// Element types. Activations and their gradients are all fp32 or all bf16 within a call. Everything
// else is fp32: parameters and their gradients, damping (`pre` too) and its gradient, states and
// histories, what a layer keeps per row for its backward pass (inverse_rms, mean and
// inverse_deviation of a layer norm, log_sum), losses, the ranges of the optimizer. Arithmetic is
// fp32 or better in any case. The cpu and reference backends REQUIRE fp32 everywhere.
//
// Sequences may come in pieces. An operation that mixes tokens takes a `state`: what the tokens
// before this piece left behind, empty for none; Forward reads it and advances it. Backward takes
// the state as it was before the piece, and `dstate`: on entry the gradient with respect to the
// state after the piece, on return that with respect to the state before it. Without a state dstate
// is empty; with a state it may be.
//
// Determinism: the same inputs, thread count and instruction set give the same bits.
// Causality: row t of a sequence's outputs depends on its rows ≤ t alone, bit for bit.
// Thread safety: one thread drives a backend; it may use threads of its own inside.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/tensor/tensor.h"

namespace wavefield {

enum class Transpose { kNo, kYes };

// How a field is propagated (docs/model.md, "How propagation is computed"). All agree within
// rounding; kDirect is the O(T²) sum, in double, for tests.
enum class Propagation { kDirect, kRecurrence, kChunked, kFft };

// The training objective beside the cross entropy.
struct LossOptions {
  // The target is (1 − label_smoothing) · one-hot + label_smoothing / V.
  float label_smoothing = 0;
  // Adds z_loss · (log Σ exp logits)² to a row's objective.
  float z_loss = 0;
};

struct AdamWParameters {
  float learning_rate;
  float beta1;
  float beta2;
  float epsilon;
  float weight_decay;      // decoupled: parameter -= learning_rate · weight_decay · parameter
  float bias_correction1;  // 1 − beta1^step
  float bias_correction2;  // 1 − beta2^step
  float gradient_scale;    // multiplies every gradient first (clipping)
};

class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu", "reference", …
  virtual std::string name() const = 0;
  // What changes bits besides name and threads: instruction set or device model, library versions.
  virtual std::string fingerprint() const = 0;
  virtual int threads() const = 0;
  // Waits until all that was asked for is done. A device may return from an operation before that.
  virtual void Synchronize() {}

  // ---- memory ----
  // 64-byte aligned; aborts with the size when there is none left. Contents are undefined.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* data) = 0;
  // What operations will need beside their operands (MemoryEstimate::reserved): taken now, so that
  // none of them allocates later. More is taken when it is needed. REQUIRES: no operation ran yet
  // but Fill, copies, and products of one type.
  virtual void ReserveWorkspace(size_t) {}
  virtual void CopyFromHost(const void* source, Tensor destination) = 0;
  virtual void CopyToHost(Tensor source, void* destination) = 0;
  // destination = source, equal shapes and types.
  virtual void Copy(Tensor source, Tensor destination) = 0;
  // x = value, fp32 or bf16.
  virtual void Fill(Tensor x, float value) = 0;

  // ---- linear algebra ----
  // c = op(a) · op(b) + beta · c, with op(a) [m, k], op(b) [k, n], c [m, n]; beta is 0 or 1.
  // Row i of c depends on row i of op(a) alone (bit for bit) while the shapes stay the same. Each
  // of a, b, c is fp32 or bf16 by itself: when one of them is bf16, an a or b of fp32 is rounded to
  // bf16 first; products are summed in fp32 in any case.
  virtual void MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
                      Tensor c) = 0;
  // destination += source, equal shapes and types, fp32 or bf16.
  virtual void Add(Tensor source, Tensor destination) = 0;

  // ---- embedding ----
  // y[n] = table[ids[n]]; ids [N] int32 in [0, V); table [V, D]; y [N, D].
  virtual void EmbeddingForward(Tensor table, Tensor ids, Tensor y) = 0;
  // dtable[ids[n]] += dy[n].
  virtual void EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) = 0;

  // ---- rms norm: y = x / √(mean(x²) + 1e-6) ⊙ weight ----
  // x, y [N, D]; weight [D]; inverse_rms [N] is written for the backward pass.
  virtual void RmsNormForward(Tensor x, Tensor weight, Tensor y, Tensor inverse_rms) = 0;
  // dx = residual + gradient; residual is empty (0) or [N, D] and may be dx itself. dweight [D] +=.
  virtual void RmsNormBackward(Tensor x, Tensor weight, Tensor inverse_rms, Tensor dy,
                               Tensor residual, Tensor dx, Tensor dweight) = 0;

  // ---- causal short convolution and SiLU ----
  // x is the first 3D columns of qkvg [N, 4D].
  //   c_t = Σ_{i<W} weight[:, i] ⊙ x_{t−(W−1)+i} + bias;   qkv = silu(c)
  // weight [3D, W]; bias [3D]; qkv [N, 3D]. `state` is empty (zeros before the start of each
  // sequence) or [B, W−1, 3D]: on entry the W−1 inputs before the sequence, oldest first; on return
  // the last W−1 inputs, so that a sequence may come in pieces.
  virtual void ShortConvForward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                Tensor state, Tensor qkv) = 0;
  // Writes the first 3D columns of dqkvg [N, 4D] and leaves the rest alone. dstate [B, W−1, 3D].
  virtual void ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                 Tensor state, Tensor dqkv, Tensor dstate, Tensor dqkvg,
                                 Tensor dweight, Tensor dbias) = 0;

  // ---- damping: λ = softplus(pre + bias) > 0 ----
  // Selective: pre, damping [N, H]; bias [H]; `damping` may be `pre`. Static: pre is empty and
  // damping is [1, H], one row for all tokens.
  virtual void DampingForward(Tensor pre, Tensor bias, Tensor damping) = 0;
  // ddamping of damping's shape; dpre [N, H] may be ddamping, and is empty when static; dbias [H]
  // +=.
  virtual void DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) = 0;

  // ---- the wave field, outer deposits (docs/model.md) ----
  //   y_{t,h} = Σ_{s≤t} Γ_h(t,s) cos(ω_h (t−s) + φ_h) (q_{t,h} · k_{s,h}) v_{s,h},
  //   Γ_h(t,s) = exp(−Σ_{r=s+1..t} λ_{r,h})
  // qkv [N, 3D] = [q | k | v]; damping [N, H], or [1, H]: the same for every token; frequency,
  // phase [H] (radians per token, radians); y [N, D]. `way` is kChunked or kDirect. `state` is
  // empty or [B, H, 2·d, d]: for each head the complex field S = Σ_s Γ(t,s) e^{iω(t−s)} k_s v_sᵀ (d
  // rows of the real part, then d rows of the imaginary part; row: k, column: v) as of the last
  // token. With T = 1 kChunked is the recurrence that generation uses: work and memory do not
  // depend on how much came before. A value that is not finite may reach earlier rows of its chunk
  // (of 64 tokens; with kDirect all), whose sums multiply what is later by 0, but none before it.
  virtual void FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                 Tensor frequency, Tensor phase, Tensor state, Tensor y) = 0;
  // dqkv [N, 3D] =, ddamping = (of damping's shape), dfrequency [H] +=, dphase [H] +=.
  virtual void FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                  Tensor frequency, Tensor phase, Tensor state, Tensor dy,
                                  Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                  Tensor dphase) = 0;

  // ---- the wave field, elementwise deposits ----
  //   field_{t,h} = Σ_{s≤t} Γ_h(t,s) cos(ω_h (t−s) + φ_h) (k_{s,h} ⊙ v_{s,h})
  // As above; field [N, D]. `way` is kRecurrence, kDirect, or kFft, which REQUIREs damping [1, H]
  // and no state. `state` is empty or [B, H, 2, d]: real and imaginary part of z = Σ_s Γ(t,s)
  // e^{iω(t−s)} (k_s ⊙ v_s) as of the last token. By kFft a row of the output depends on later rows
  // by rounding (the law of causality holds within rounding alone).
  virtual void FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                       Tensor frequency, Tensor phase, Tensor state,
                                       Tensor field) = 0;
  // Writes the k and v columns of dqkv [N, 3D] and leaves those of q alone; ddamping =,
  // dfrequency +=, dphase +=.
  virtual void FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                        Tensor frequency, Tensor phase, Tensor state, Tensor dfield,
                                        Tensor dstate, Tensor dqkv, Tensor ddamping,
                                        Tensor dfrequency, Tensor dphase) = 0;

  // ---- reading the fields: coupling, norm per head, gate ----
  //   ỹ_i = q_i ⊙ Σ_j softmax_j(coupling[i, :])_j y_j           (heads i, j)
  //   out = ỹ per head / √(mean over d of ỹ² + 1e-6) ⊙ head_norm ⊙ silu(g)
  // y, out [N, D]; q is the first D columns of qkv [N, 3D], or 1 when qkv is empty (outer
  // deposits); coupling [H, H]; head_norm [D]; g is the last D columns of qkvg [N, 4D].
  virtual void FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                   Tensor qkvg, Tensor out) = 0;
  // dy [N, D] =; the q columns of dqkv = unless qkv is empty (then dqkv is empty), the others are
  // left alone; the last D columns of dqkvg = (the rest is left alone); dcoupling, dhead_norm +=.
  virtual void FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                    Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv, Tensor dqkvg,
                                    Tensor dcoupling, Tensor dhead_norm) = 0;

  // ---- causal softmax attention ----
  // Rotary positions, in place, on the q and k columns of qkv [N, 3D]: columns (2i, 2i+1) of a head
  // turn by (position + t) · 10000^(−2i/d), or back when `inverse` (the gradient). Angles are
  // reduced in double. (Su et al., arXiv 2104.09864.)
  virtual void Rotary(int64_t batch, int64_t heads, int64_t position, bool inverse, Tensor qkv) = 0;
  //   y_{t,h} = Σ_{s≤t} softmax_s(q_{t,h} · k_{s,h} / √d) v_{s,h}
  // in blocks with a running maximum, never a T×T matrix (Dao et al., arXiv 2205.14135). qkv [N,
  // 3D]; y [N, D]; log_sum [N, H] = log Σ_s exp(q·k/√d), for the backward pass. `history` is empty,
  // or [B, capacity, 2D] with the [k | v] rows of the `position` tokens before this piece; the
  // piece's own are written to rows position … position+T−1. REQUIRES position = 0 without a
  // history.
  virtual void AttentionForward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                Tensor history, Tensor y, Tensor log_sum) = 0;
  // dqkv [N, 3D] =. With a history (as Forward left it), dhistory [B, capacity, 2D] holds on entry
  // the gradient that later pieces gave to rows < position+T; on return that of rows < position.
  virtual void AttentionBackward(int64_t batch, int64_t heads, int64_t position, Tensor qkv,
                                 Tensor history, Tensor y, Tensor log_sum, Tensor dy,
                                 Tensor dhistory, Tensor dqkv) = 0;

  // ---- SwiGLU: y = silu(gate) ⊙ up ----
  // gate_up [N, 2F] = [gate | up]; y [N, F].
  virtual void SwiGluForward(Tensor gate_up, Tensor y) = 0;
  // dgate_up [N, 2F] may be gate_up.
  virtual void SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) = 0;

  // ---- classic form ----
  // Layer norm: y = (x − mean) / √(variance + 1e-5) ⊙ weight + bias, over a row. x, y [N, D];
  // weight, bias [D]; mean, inverse_deviation [N] are written for the backward pass.
  virtual void LayerNormForward(Tensor x, Tensor weight, Tensor bias, Tensor y, Tensor mean,
                                Tensor inverse_deviation) = 0;
  // dx = residual + gradient; residual is empty (0) or [N, D] and may be dx itself. dweight, dbias
  // [D] +=.
  virtual void LayerNormBackward(Tensor x, Tensor weight, Tensor mean, Tensor inverse_deviation,
                                 Tensor dy, Tensor residual, Tensor dx, Tensor dweight,
                                 Tensor dbias) = 0;
  // y[n] += bias; y [N, C]; bias [C].
  virtual void AddBias(Tensor bias, Tensor y) = 0;
  // dbias += Σ_n dy[n].
  virtual void AddBiasBackward(Tensor dy, Tensor dbias) = 0;
  // y = x · ½ (1 + erf(x/√2)), equal shapes.
  virtual void GeluForward(Tensor x, Tensor y) = 0;
  // dx may be dy.
  virtual void GeluBackward(Tensor x, Tensor dy, Tensor dx) = 0;
  // Columns [destination_column, destination_column + width) of destination [N, ·] = those of
  // source [N, ·] from source_column on; the others are left alone.
  virtual void CopyColumns(Tensor source, int64_t source_column, int64_t width, Tensor destination,
                           int64_t destination_column) = 0;
  // Features: columns [column, column + C) of y [N, ·] = max(x, 0) + floor; x [N, C].
  virtual void ReluForward(float floor, Tensor x, int64_t column, Tensor y) = 0;
  // dx [N, C] = those columns of dy where y > floor, rounded as y is, else 0.
  virtual void ReluBackward(float floor, Tensor y, int64_t column, Tensor dy, Tensor dx) = 0;
  // Sinusoidal positions: x[n, 2i] += sin(a), x[n, 2i+1] += cos(a), a = (position + t) ·
  // 10000^(−2i/D), in double. x [N, D]; D even.
  virtual void AddPositions(int64_t batch, int64_t position, Tensor x) = 0;
  // Coupled fields, scaled and read:
  //   y_i = q_i ⊙ Σ_j softmax_j(coupling[i, :])_j √(1 − e^(−2 damping_j)) field_j
  // field, y [N, D]; q is the first D columns of qkv [N, 3D]; coupling [H, H]; damping [1, H].
  virtual void CoupledReadForward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                  Tensor y) = 0;
  // dfield =; the q columns of dqkv = (the others are left alone); ddamping [1, H] =; dcoupling +=.
  virtual void CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                   Tensor dy, Tensor dfield, Tensor dqkv, Tensor dcoupling,
                                   Tensor ddamping) = 0;
  // y = x ⊙ σ(g); x, y [N, D]; g is the last D columns of qkvg [N, 4D].
  virtual void SigmoidGateForward(Tensor x, Tensor qkvg, Tensor y) = 0;
  // dx [N, D] may be dy; the last D columns of dqkvg = (the rest is left alone).
  virtual void SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx, Tensor dqkvg) = 0;
  // mean_t = (Σ_{s≤t} x_s) / (position + t + 1); x, mean [N, C], mean may be x. `state` is empty
  // (REQUIRES position 0) or [B, C]: the sum of the `position` rows before the piece.
  virtual void CumulativeMeanForward(int64_t batch, int64_t position, Tensor x, Tensor state,
                                     Tensor mean) = 0;
  // dx may be dmean; dstate as everywhere.
  virtual void CumulativeMeanBackward(int64_t batch, int64_t position, Tensor dmean, Tensor dstate,
                                      Tensor dx) = 0;
  // Interference of what is near with the echo of the whole past:
  //   y += σ(gate) ⊙ echo · σ(cosine / (softplus(temperature) + 0.05)),
  // cosine that of near and far, their norms at least 1e-12. near, far, echo, gate, y [N, D];
  // temperature [1].
  virtual void InterferenceForward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                   Tensor temperature, Tensor y) = 0;
  // dnear, dfar, decho, dgate may be near, far, echo, gate. dtemperature [1] +=.
  virtual void InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                    Tensor temperature, Tensor dy, Tensor dnear, Tensor dfar,
                                    Tensor decho, Tensor dgate, Tensor dtemperature) = 0;

  // ---- loss ----
  // logits [R, V]; targets [R] int32, −1 = not counted. row_loss [R] = −log softmax(logits)[target]
  // (0 where not counted); row_correct [R] int32 = 1 where the (first) argmax is the target.
  virtual void CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                                   Tensor row_correct) = 0;
  // The same row_loss, and logits become scale · the gradient of the summed objective.
  virtual void CrossEntropyForwardBackward(const LossOptions& options, float scale, Tensor logits,
                                           Tensor targets, Tensor row_loss, Tensor row_correct) = 0;

  // ---- dropout ----
  // x[n, c] is 0 with probability `rate`, else x / (1 − rate), in place; the same for forward and
  // backward. Which is a function of (key, b, position + t, c) alone: not of threads or of how a
  // sequence was cut into pieces. x [N, D]; 0 ≤ rate < 1.
  virtual void Dropout(uint64_t key, float rate, int64_t batch, int64_t position, Tensor x) = 0;

  // ---- optimizer, on flat ranges ----
  // y = a · x + b · y.
  virtual void Axpby(float a, Tensor x, float b, Tensor y) = 0;
  // Σ x², accumulated in double in a fixed order.
  virtual double SumOfSquares(Tensor x) = 0;
  // m = beta1·m + (1−beta1)·g;  v = beta2·v + (1−beta2)·g²;
  // p -= learning_rate · (m/bias_correction1 / (√(v/bias_correction2) + epsilon) + weight_decay ·
  // p) (Loshchilov & Hutter, arXiv 1711.05101). All of one length.
  virtual void AdamW(const AdamWParameters& parameters, Tensor gradient, Tensor parameter, Tensor m,
                     Tensor v) = 0;
};

// A flat fp32 tensor in memory of its own, undefined; empty for 0 elements. Its owner gives `data`
// back with Free().
inline Tensor AllocateFloats(Backend& backend, int64_t elements) {
  if (elements == 0) return {};
  return {
      backend.Allocate(static_cast<size_t>(elements) * sizeof(float)), DType::kFloat32, {elements}};
}

// threads: how many threads an operation may use, at least 1.
std::unique_ptr<Backend> MakeCpuBackend(int threads);
std::unique_ptr<Backend> MakeReferenceBackend();

// Rate of a matrix product of this type, fp32 or bf16, on `backend` in FLOP/s: the unit of
// matmul_rate_ratio. Of 2048³, best of three; of 8192³ where that takes less than a millisecond, as
// on a GPU; of 512³ where it would take seconds. Three such matrices are allocated meanwhile.
double MeasureMatMulRate(Backend& backend, DType type);

}  // namespace wavefield
