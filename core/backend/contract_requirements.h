#pragma once

// What the shape laws of contract.h are written with. Each function aborts with the operation, the
// argument, what it is and what is required.

#include <string>

#include "core/backend/contract.h"

namespace wavefield::contract {

struct Argument {
  const char* operation;
  const char* name;
};

inline std::string Label(Argument argument, const Tensor& tensor) {
  return std::string(argument.operation) + ": " + argument.name + " is " + tensor.shape.ToString();
}

inline void Require(Argument argument, const Tensor& tensor, const Shape& shape,
                    DType dtype = DType::kFloat32) {
  WF_CHECK_MSG(tensor.dtype == dtype, Label(argument, tensor) + " of " + NameOf(tensor.dtype) +
                                          ", required is " + NameOf(dtype));
  WF_CHECK_MSG(tensor.shape == shape,
               Label(argument, tensor) + ", required is " + shape.ToString());
  WF_CHECK_MSG(!tensor.empty() || tensor.elements() == 0,
               Label(argument, tensor) + " without data");
}

// The element type that all activations of a call have: that of one of them.
inline DType ActivationType(Argument argument, const Tensor& tensor) {
  WF_CHECK_MSG(
      tensor.dtype == DType::kFloat32 || tensor.dtype == DType::kBFloat16,
      Label(argument, tensor) + " of " + NameOf(tensor.dtype) + ", required is fp32 or bf16");
  return tensor.dtype;
}

inline void RequireRank(Argument argument, const Tensor& tensor, int rank) {
  WF_CHECK_MSG(tensor.shape.rank() == rank,
               Label(argument, tensor) + ", required rank is " + std::to_string(rank));
}

inline void RequireState(Argument argument, const Tensor& state, int64_t elements) {
  if (state.empty()) return;
  WF_CHECK_MSG(state.dtype == DType::kFloat32 && state.elements() == elements,
               Label(argument, state) + ", required are " + std::to_string(elements) + " elements");
}

inline int64_t Tokens(const char* operation, int64_t batch, int64_t rows) {
  WF_CHECK_MSG(batch > 0 && rows % batch == 0,
               std::string(operation) + ": " + std::to_string(rows) +
                   " rows do not divide into a batch of " + std::to_string(batch));
  return rows / batch;
}

// The state's gradient: none, or of the state's size beside a state.
inline void RequireStateGradient(Argument argument, const Tensor& state, const Tensor& dstate) {
  if (dstate.empty()) return;
  WF_CHECK_MSG(!state.empty(), Label(argument, dstate) + " without a state");
  RequireState(argument, dstate, state.elements());
}

}  // namespace wavefield::contract
