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
// and row-major, fp32 where nothing else is said, memory of this backend. Shapes are REQUIREd: a
// mismatch is a programmer error and aborts.
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

  // ---- memory ----
  // 64-byte aligned; aborts with the size when there is none left. Contents are undefined.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* data) = 0;
  virtual void CopyFromHost(const void* source, Tensor destination) = 0;
  virtual void CopyToHost(Tensor source, void* destination) = 0;
  // destination = source, equal shapes.
  virtual void Copy(Tensor source, Tensor destination) = 0;
  virtual void Fill(Tensor x, float value) = 0;

  // ---- linear algebra ----
  // c = op(a) · op(b) + beta · c, with op(a) [m, k], op(b) [k, n], c [m, n]; beta is 0 or 1.
  // Row i of c depends on row i of op(a) alone (bit for bit) while the shapes stay the same.
  virtual void MatMul(Transpose transpose_a, Transpose transpose_b, Tensor a, Tensor b, float beta,
                      Tensor c) = 0;
  // destination += source, equal shapes.
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
  // Zero initial state. Writes the first 3D columns of dqkvg [N, 4D] and leaves the rest alone.
  virtual void ShortConvBackward(int64_t batch, Tensor qkvg, Tensor weight, Tensor bias,
                                 Tensor dqkv, Tensor dqkvg, Tensor dweight, Tensor dbias) = 0;

  // ---- damping: λ = softplus(pre + bias) > 0 ----
  // pre, damping [N, H]; bias [H]; `damping` may be `pre`.
  virtual void DampingForward(Tensor pre, Tensor bias, Tensor damping) = 0;
  // dpre [N, H] may be ddamping; dbias [H] +=.
  virtual void DampingBackward(Tensor damping, Tensor ddamping, Tensor dpre, Tensor dbias) = 0;

  // ---- the wave field, outer deposits (docs/model.md) ----
  //   y_{t,h} = Σ_{s≤t} Γ_h(t,s) cos(ω_h (t−s) + φ_h) (q_{t,h} · k_{s,h}) v_{s,h},
  //   Γ_h(t,s) = exp(−Σ_{r=s+1..t} λ_{r,h})
  // qkv [N, 3D] = [q | k | v]; damping [N, H]; frequency, phase [H] (radians per token, radians);
  // y [N, D]. `state` is empty (an empty field) or [B, H, 2·d, d]: for each head the complex field
  // S = Σ_s Γ(t,s) e^{iω(t−s)} k_s v_sᵀ (d rows of the real part, then d rows of the imaginary
  // part; row: k, column: v) as of the last token, read on entry, advanced on return. With T = 1
  // this is the recurrence that generation uses: work and memory do not depend on how much came
  // before.
  virtual void FieldOuterForward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                                 Tensor phase, Tensor state, Tensor y) = 0;
  // Empty initial field. dqkv [N, 3D] =, ddamping [N, H] =, dfrequency [H] +=, dphase [H] +=.
  virtual void FieldOuterBackward(int64_t batch, Tensor qkv, Tensor damping, Tensor frequency,
                                  Tensor phase, Tensor dy, Tensor dqkv, Tensor ddamping,
                                  Tensor dfrequency, Tensor dphase) = 0;

  // ---- reading the fields: coupling, norm per head, gate ----
  //   ỹ_i = Σ_j softmax_j(coupling[i, :])_j y_j           (heads i, j)
  //   out = ỹ per head / √(mean over d of ỹ² + 1e-6) ⊙ head_norm ⊙ silu(g)
  // y, out [N, D]; coupling [H, H]; head_norm [D]; g is the last D columns of qkvg [N, 4D].
  virtual void FieldReadoutForward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg,
                                   Tensor out) = 0;
  // dy [N, D] =; the last D columns of dqkvg = (the rest is left alone); dcoupling, dhead_norm +=.
  virtual void FieldReadoutBackward(Tensor y, Tensor coupling, Tensor head_norm, Tensor qkvg,
                                    Tensor dout, Tensor dy, Tensor dqkvg, Tensor dcoupling,
                                    Tensor dhead_norm) = 0;

  // ---- SwiGLU: y = silu(gate) ⊙ up ----
  // gate_up [N, 2F] = [gate | up]; y [N, F].
  virtual void SwiGluForward(Tensor gate_up, Tensor y) = 0;
  // dgate_up [N, 2F] may be gate_up.
  virtual void SwiGluBackward(Tensor gate_up, Tensor dy, Tensor dgate_up) = 0;

  // ---- loss ----
  // logits [R, V]; targets [R] int32, −1 = not counted. row_loss [R] = −log softmax(logits)[target]
  // (0 where not counted); row_correct [R] int32 = 1 where the (first) argmax is the target.
  virtual void CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                                   Tensor row_correct) = 0;
  // The same, and logits become scale · d(Σ row_loss)/d logits.
  virtual void CrossEntropyForwardBackward(float scale, Tensor logits, Tensor targets,
                                           Tensor row_loss, Tensor row_correct) = 0;

  // ---- optimizer, on flat ranges ----
  // Σ x², accumulated in double in a fixed order.
  virtual double SumOfSquares(Tensor x) = 0;
  // m = beta1·m + (1−beta1)·g;  v = beta2·v + (1−beta2)·g²;
  // p -= learning_rate · (m/bias_correction1 / (√(v/bias_correction2) + epsilon) + weight_decay ·
  // p) (Loshchilov & Hutter, arXiv 1711.05101). All of one length.
  virtual void AdamW(const AdamWParameters& parameters, Tensor gradient, Tensor parameter, Tensor m,
                     Tensor v) = 0;
};

// threads: how many threads an operation may use, at least 1.
std::unique_ptr<Backend> MakeCpuBackend(int threads);
std::unique_ptr<Backend> MakeReferenceBackend();

// Rate of a 2048³ fp32 matrix product on `backend` in FLOP/s (best of three): the unit of
// matmul_rate_ratio.
double MeasureMatMulRate(Backend& backend);

}  // namespace wavefield
