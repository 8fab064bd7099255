#pragma once

// The elementwise field by the recurrence z_t = e^(−λ_t + iω) z_{t−1} + k_t ⊙ v_t,
// field_t = Re(e^{iφ} z_t) (docs/model.md), cut into tiles: a chunk of tokens × a group of heads of
// one sequence. A tile runs from an empty field; what was there before enters through the tile's
// passages, and the field goes from chunk to chunk by field ↦ passage · field + the tile's own.
// Both are products taken in double, so an error of e^{iω} does not grow with the length. All bits
// are a function of the shapes and the inputs: tiles may be done in any order, by any number of
// threads.
//
// Per token and channel: forward 12 bytes and 15 FLOPs (20 and 23 where the tiles of a sequence are
// done side by side: k and v are read twice); backward 32 bytes and 51 FLOPs.

#include <algorithm>
#include <cstdint>

#include "core/backend/contract.h"

namespace wavefield {

inline constexpr int64_t kElementwiseChunk = 64;  // tokens

// A state smaller than this is 0, which keeps denormal numbers out of the vectors.
inline constexpr float kSmallestField = 1e-30f;

// Of one head in one chunk; e^{−λ} and angles are computed in double.
struct FieldPoles {
  float step_re[kElementwiseChunk], step_im[kElementwiseChunk];        // e^(−λ_t + iω)
  float passage_re[kElementwiseChunk], passage_im[kElementwiseChunk];  // Π over the steps ≤ t
  float read_re[kElementwiseChunk], read_im[kElementwiseChunk];        // e^{iφ} · passage
  float phase_re, phase_im;                                            // e^{iφ}
};

// damping: λ of token t at damping[t · stride].
void FillFieldPoles(const float* damping, int64_t stride, float frequency, float phase,
                    int64_t count, FieldPoles& poles);

// States stand as in the contract: for each head d real parts, then d imaginary parts.
struct FieldTile {
  int64_t count, heads, head_width, width;
  const float* k;  // of the first token and channel; the next token is 3 · width further, v width
  const FieldPoles* poles;  // [heads]

  int64_t stride() const { return 3 * width; }
};

// How a call is cut into tiles; also hands out their poles and keeps the chain of states.
class FieldTiling {
 public:
  // Heads of a group.
  static int64_t GroupOf(const contract::FieldSizes& size);
  static int64_t Tiles(const contract::FieldSizes& size);
  // Floats of memory that the constructor takes: as much as T/32 rows of a D-wide tensor, and the
  // poles. `chains` chains of states.
  static int64_t Room(const contract::FieldSizes& size, int threads, int chains);
  FieldTiling(const contract::FieldSizes& size, int chains, Tensor qkv, Tensor damping,
              Tensor frequency, Tensor phase, float* room);

  int64_t chunks() const { return chunks_; }
  // A track is a group of heads of one sequence through all its chunks.
  int64_t tracks() const { return size_.batch * groups_; }
  int64_t tiles() const { return tracks() * chunks_; }

  struct Place {
    int64_t sequence, group, chunk;
  };
  Place PlaceOf(int64_t track, int64_t chunk) const {
    return {track / groups_, track % groups_, chunk};
  }
  // Groups of a chunk stand side by side, as their memory does.
  Place PlaceOf(int64_t tile) const {
    return {tile / tiles_per_sequence(), tile % groups_, tile / groups_ % chunks_};
  }
  int64_t tiles_per_sequence() const { return chunks_ * groups_; }
  int64_t Heads(const Place& place) const {
    return std::min(group_, size_.heads - FirstHead(place));
  }
  // Fills the thread's poles unless damping is static.
  FieldTile Tile(const Place& place, int thread) const;
  int64_t FirstRow(const Place& place) const {
    return place.sequence * size_.tokens + place.chunk * kElementwiseChunk;
  }
  int64_t FirstHead(const Place& place) const { return place.group * group_; }
  int64_t FirstChannel(const Place& place) const { return FirstHead(place) * size_.head_width; }

  // [heads of the group, 2, d] before chunk `chunk` (0 … chunks) of the place's sequence. All
  // groups of a sequence together are [heads, 2, d] at the state of group 0.
  float* State(int chain, const Place& place, int64_t chunk) const {
    return states_ +
           ((chain * size_.batch + place.sequence) * (chunks_ + 1) + chunk) * 2 * size_.width() +
           2 * FirstChannel(place);
  }
  // [heads of the group, 2]: what a chunk does to the state, kept by Tile.
  float* Passages(const Place& place) const {
    return passages_ +
           ((place.sequence * chunks_ + place.chunk) * size_.heads + FirstHead(place)) * 2;
  }

 private:
  const contract::FieldSizes size_;
  const int64_t group_, groups_, chunks_;
  const Tensor qkv_, damping_, frequency_, phase_;
  float* states_;
  float* passages_;
  FieldPoles* poles_;  // [heads] if damping is static, else [threads, heads of a group]
};

}  // namespace wavefield
