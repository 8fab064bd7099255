#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/architecture.h"

namespace wavefield {

// The state of every branch for one sequence that is generated token by token. Owns its memory. A
// model without attention layers keeps a state whose size does not depend on how long the sequence
// was; attention layers keep the keys and values of all of it.
class SequenceState {
 public:
  SequenceState(Backend& backend, const ModelConfig& config);  // the empty past
  ~SequenceState();
  SequenceState(const SequenceState&) = delete;
  SequenceState& operator=(const SequenceState&) = delete;

  // One for each branch.
  std::span<const LayerState> branches() const { return branches_; }
  int64_t position() const { return position_; }  // tokens seen
  size_t bytes() const;

  // Makes room for `tokens` more; branches() is new after that.
  void Reserve(int64_t tokens);
  void Advance(int64_t tokens) { position_ += tokens; }

 private:
  Backend& backend_;
  std::vector<StateSize> sizes_;
  Tensor carry_, history_;  // of all branches, one after the other
  int64_t capacity_ = 0;    // tokens
  int64_t position_ = 0;
  std::vector<LayerState> branches_;
};

// Floats that all branches' states take for one sequence, and for each of its tokens.
StateSize TotalState(std::span<const StateSize> sizes);

// Views for each branch into `carry` [batch · total.carry] and `history` [batch · capacity ·
// total.history] floats, branch after branch.
std::vector<LayerState> BindStates(std::span<const StateSize> sizes, int64_t batch,
                                   int64_t capacity, Tensor carry, Tensor history);

}  // namespace wavefield
