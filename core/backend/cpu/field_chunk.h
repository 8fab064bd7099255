#pragma once

// What the chunk algorithm of the field (docs/model.md) needs for one head before any vector work:
// angles once per head, decays once per chunk. Computed in double, kept in fp32.

#include <cstdint>

namespace wavefield {

inline constexpr int64_t kFieldChunk = 64;  // tokens

struct FieldAngles {
  float omega;
  float wave_cos[kFieldChunk + 1], wave_sin[kFieldChunk + 1];  // of ωn + φ
  float turn_cos[kFieldChunk + 1], turn_sin[kFieldChunk + 1];  // of ωn
  // Of ω(j − i) + φ at [kFieldChunk − 1 − j + i]; 0 for i > j.
  float pair_cos[2 * kFieldChunk], pair_sin[2 * kFieldChunk];
  float pair_distance[2 * kFieldChunk];  // j − i in the same places
};

// For tokens 0 … count−1 of a chunk, Λ_j = λ_0 + … + λ_j. Decays too small to matter are 0, which
// keeps denormal numbers out of the matrix products.
struct FieldDecays {
  float step[kFieldChunk];        // e^−λ_j
  float from_start[kFieldChunk];  // e^−Λ_j
  float to_end[kFieldChunk];      // e^(Λ_j − Λ_{count−1})
  float whole;                    // e^−Λ_{count−1}
};

inline constexpr float kSmallestDecay = 1e-30f;

// One head of one sequence.
struct FieldHead {
  const float* q;        // of token 0; the next token is 3D further, k and v are D and 2D further
  const float* damping;  // of token 0; the next token's is damping_stride further, 0 if static
  int64_t tokens, width, damping_stride, head_width;
  const FieldAngles* angles;

  int64_t stride() const { return 3 * width; }
};

// Copies rows of d floats that are `from_stride` apart to rows `to_stride` apart. Matrix products
// run on packed rows: those of qkv lie whole pages apart.
void CopyRows(const float* from, int64_t from_stride, int64_t count, int64_t d, float* to,
              int64_t to_stride);

// Fills what chunks of at most `tokens` tokens use.
void FillFieldAngles(float omega, float phi, int64_t tokens, FieldAngles& angles);
// damping: λ of token j at damping[j · stride].
void FillFieldDecays(const float* damping, int64_t stride, int64_t count, FieldDecays& decays);

}  // namespace wavefield
