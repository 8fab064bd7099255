#pragma once

// What the operations of the CUDA backend need beside their operands, as functions of sizes.
// Letters as in backend.h.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/backend/cuda/fft_length.h"

namespace wavefield::cuda {

// ---- matrix products ----

// Bytes that Gemms holds for cuBLASLt, as long as the backend lives.
inline constexpr size_t kGemmWorkspaceBytes = size_t{32} << 20;

// ---- the elementwise field ----

inline constexpr int64_t kElementwiseChunk = 32;  // tokens; a warp has a lane for each

// How the recurrence's scratch memory is made up, for B sequences.
struct ElementwiseScratch {
  ElementwiseScratch(int64_t batch, int64_t tokens, int64_t heads, int64_t head_width)
      : chunks((tokens + kElementwiseChunk - 1) / kElementwiseChunk),
        warps_per_head((head_width + 31) / 32),
        passages(batch * chunks * heads),
        states(batch * chunks * 2 * heads * head_width),
        sums(batch * chunks * heads * warps_per_head),
        slopes(batch * tokens * heads * warps_per_head) {}

  int64_t chunks, warps_per_head;
  int64_t passages;  // complex numbers
  int64_t states;    // floats, of one direction
  int64_t sums;      // WaveSums
  int64_t slopes;    // floats, where damping is selective
};

// Bytes that the recurrence's backward pass takes: T/32 rows of 4D floats and a little.
inline size_t FieldElementwiseWorkspace(int64_t batch, int64_t tokens, int64_t heads,
                                        int64_t head_width, bool selective) {
  const ElementwiseScratch scratch(batch, tokens, heads, head_width);
  return static_cast<size_t>(8 * scratch.passages + 2 * 4 * scratch.states + 24 * scratch.sums +
                             (selective ? 4 * scratch.slopes : 0));
}

inline constexpr int64_t kFftGroupBytes = int64_t{16} << 20;

// How transforms of B·D sequences are cut into groups: their spectra bound the memory, and stay in
// the L2 cache from one kernel to the next.
struct FftScratch {
  FftScratch(int64_t batch, int64_t tokens, int64_t heads, int64_t head_width,
             int64_t group_bytes = kFftGroupBytes)
      : length(FastFftLength(2 * tokens - 1)),
        bins(length / 2 + 1),
        sequences(batch * heads * head_width) {
    const int64_t most = std::max<int64_t>(1, group_bytes / (8 * bins));
    groups = (sequences + most - 1) / most;
    group = (sequences + groups - 1) / groups;
  }

  int64_t length, bins;
  int64_t sequences;
  int64_t groups, group;  // how many, and sequences of one
};

// Bytes that the FFT's backward pass takes. cuFFT's own work area is part of it as an estimate: as
// much as the spectra that it makes at once, of a group or of the heads' kernels.
inline size_t FieldFftWorkspace(int64_t batch, int64_t tokens, int64_t heads, int64_t head_width) {
  const FftScratch scratch(batch, tokens, heads, head_width);
  const int64_t spectra = 2 * scratch.group + std::max(scratch.group, heads);
  return static_cast<size_t>(scratch.bins * (heads * (8 + 16) + spectra * 8) + heads * 24);
}

// ---- the outer field ----

inline constexpr int64_t kOuterChunk = 64;  // tokens

// How the outer field is cut: a sequence's head is an item, items are worked on in groups that
// bound the memory, and each in chunks.
struct OuterScratch {
  OuterScratch(int64_t batch, int64_t tokens, int64_t heads, int64_t head_width, int64_t chunk,
               size_t activation_bytes, bool backward)
      : chunk(chunk), chunks((tokens + chunk - 1) / chunk) {
    constexpr int64_t kGroupBytes = int64_t{512} << 20;
    const auto e = static_cast<int64_t>(activation_bytes);
    const int64_t c = chunk, d = head_width;
    // Decay sums, the passage's factor, and the changes of the state.
    int64_t matrix = 8 * c + 8 + 4 * 2 * d * d;
    if (backward) {
      // q, k, v, read rows and dv; [dy, dfield], [weights, feed rows], fields, dscores; the pairs'
      // scores and their gradients, dq, dk, gradients of read and feed rows, of decays and waves.
      matrix += e * (c * 6 * d + (c + 2 * d) * d + c * (c + 2 * d) + 2 * d * d + c * c) +
                4 * (2 * c * c + 2 * c * d + 2 * c * 2 * d + c + 2);
    } else {
      // q, k, feed rows and y; [v, fields], [weights, read rows]; scores.
      matrix += e * (c * 5 * d + (c + 2 * d) * d + c * (c + 2 * d)) + 4 * c * c;
    }
    const int64_t all = batch * heads;
    const int64_t most = std::max<int64_t>(1, kGroupBytes / (chunks * matrix));
    const int64_t groups = (all + most - 1) / most;
    items = (all + groups - 1) / groups;
    bytes = static_cast<size_t>(items * chunks * matrix + heads * 2 * (c + 1) * 8 +
                                (backward ? all * chunks * 24 : 0) + kPadding);
  }

  static constexpr int64_t kAlignment = 256;            // of a part, in bytes
  static constexpr int64_t kPadding = 32 * kAlignment;  // what that may take

  int64_t chunk, chunks;  // tokens of a chunk, chunks of an item
  int64_t items;          // of a group
  size_t bytes;
};

// Bytes that FieldOuterForward or Backward takes: up to 512 MiB, or more where one head of one
// sequence does (about 0.14 and 0.28 MiB per 64 tokens in bf16, twice that in fp32; heads of 64).
inline size_t FieldOuterWorkspace(int64_t batch, int64_t tokens, int64_t heads, int64_t head_width,
                                  size_t activation_bytes, bool backward) {
  if (tokens == 0) return 0;
  return OuterScratch(batch, tokens, heads, head_width, kOuterChunk, activation_bytes, backward)
      .bytes;
}

// ---- around the field ----

// How its backward pass is cut: the gradients of the weights are sums over tiles of one sequence.
struct ConvTiles {
  ConvTiles(int64_t batch, int64_t tokens) {
    constexpr int64_t kMostTiles = 512, kLeastTokens = 32;
    const int64_t share = (batch * tokens + kMostTiles - 1) / kMostTiles;
    this->tokens = std::max(kLeastTokens, share);
    tiles = (tokens + this->tokens - 1) / this->tokens;
    blocks = batch * tiles;
  }

  int64_t tokens;  // of a tile
  int64_t tiles;   // of a sequence
  int64_t blocks;  // of all sequences
};

// Bytes that the backward pass takes.
inline size_t ShortConvWorkspace(int64_t batch, int64_t tokens, int64_t channels, int64_t taps) {
  const int64_t rows = ConvTiles(batch, tokens).blocks * (taps + 1) + batch * (taps - 1);
  return static_cast<size_t>(4 * rows * channels);
}

// Bytes that the readout's backward pass takes, at most.
inline size_t FieldReadoutWorkspace(int64_t heads, int64_t head_width) {
  constexpr int64_t kMostBlocks = 512;  // of rows
  const int64_t pairs = heads * heads;
  return static_cast<size_t>(4 * (2 * pairs + kMostBlocks * (pairs + heads * head_width)));
}

}  // namespace wavefield::cuda
