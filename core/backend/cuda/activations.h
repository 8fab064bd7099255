#pragma once

#include <cuda_bf16.h>

#include "core/base/check.h"
#include "core/tensor/tensor.h"

namespace wavefield::cuda {

// Calls body(T{}) with T the element type of activations of this dtype: float or __nv_bfloat16.
template <typename Body>
void DispatchActivation(DType dtype, Body body) {
  if (dtype == DType::kBFloat16) {
    body(__nv_bfloat16{});
  } else {
    WF_CHECK(dtype == DType::kFloat32);
    body(float{});
  }
}

template <typename T>
T* Data(const Tensor& tensor) {
  return static_cast<T*>(tensor.data);
}

}  // namespace wavefield::cuda
