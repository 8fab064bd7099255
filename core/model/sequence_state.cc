#include "core/model/sequence_state.h"

#include <algorithm>

namespace wavefield {
namespace {

std::vector<StateSize> SizesOf(const ModelConfig& config) {
  std::vector<StateSize> sizes;
  for (const BranchDescription& branch : Branches(config)) {
    sizes.push_back(branch.kind->State(config));
  }
  return sizes;
}

Tensor ZeroState(Backend& backend, int64_t elements) {
  const Tensor state = AllocateFloats(backend, elements);
  if (!state.empty()) backend.Fill(state, 0);
  return state;
}

}  // namespace

StateSize TotalState(std::span<const StateSize> sizes) {
  StateSize total;
  for (const StateSize& size : sizes) {
    total.carry += size.carry;
    total.history += size.history;
  }
  return total;
}

std::vector<LayerState> BindStates(std::span<const StateSize> sizes, int64_t batch,
                                   int64_t capacity, Tensor carry, Tensor history) {
  std::vector<LayerState> states;
  int64_t carry_offset = 0, history_offset = 0;
  for (const StateSize& size : sizes) {
    LayerState state;
    const int64_t carried = batch * size.carry, kept = batch * capacity * size.history;
    if (carried > 0) state.carry = carry.Rows(carry_offset, carry_offset + carried);
    if (kept > 0) {
      state.history = history.Rows(history_offset, history_offset + kept)
                          .Reshape({batch, capacity, size.history});
    }
    carry_offset += carried;
    history_offset += kept;
    states.push_back(state);
  }
  return states;
}

SequenceState::SequenceState(Backend& backend, const ModelConfig& config)
    : backend_(backend),
      sizes_(SizesOf(config)),
      carry_(ZeroState(backend, TotalState(sizes_).carry)) {
  branches_ = BindStates(sizes_, 1, capacity_, carry_, history_);
}

SequenceState::~SequenceState() {
  backend_.Free(carry_.data);
  backend_.Free(history_.data);
}

size_t SequenceState::bytes() const {
  return (carry_.empty() ? 0 : carry_.bytes()) + (history_.empty() ? 0 : history_.bytes());
}

void SequenceState::Reserve(int64_t tokens) {
  const int64_t needed = position_ + tokens, row = TotalState(sizes_).history;
  if (row == 0 || needed <= capacity_) return;
  const int64_t capacity = std::max(needed, 2 * capacity_);
  const Tensor history = ZeroState(backend_, capacity * row);
  const std::vector<LayerState> grown = BindStates(sizes_, 1, capacity, carry_, history);
  for (size_t i = 0; i < grown.size(); ++i) {
    if (sizes_[i].history == 0 || position_ == 0) continue;
    const auto past = [&](const LayerState& state) {
      return state.history.Reshape({state.history.shape[1], sizes_[i].history}).Rows(0, position_);
    };
    backend_.Copy(past(branches_[i]), past(grown[i]));
  }
  backend_.Free(history_.data);
  history_ = history;
  capacity_ = capacity;
  branches_ = grown;
}

}  // namespace wavefield
