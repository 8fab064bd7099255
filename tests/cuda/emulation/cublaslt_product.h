#pragma once

// What cublaslt.cc knows of a product: the contents of cuBLASLt's opaque structures, what it
// refuses, and the sum itself.

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>

#include "tests/cuda/emulation/fatal.h"

namespace wavefield::emulation::cublaslt {

constexpr uint64_t kLayoutMagic = 0x6c61796f7574, kProductMagic = 0x70726f64756374,
                   kPreferenceMagic = 0x70726566, kAlgorithmMagic = 0x616c676f;

// The contents of the opaque structures.
struct [[gnu::may_alias]] Layout {
  uint64_t magic;
  int32_t type;  // cudaDataType_t
  int32_t batch;
  uint64_t rows, columns;
  int64_t leading, stride;

  size_t element_bytes() const { return type == CUDA_R_32F ? 4 : 2; }
  int64_t matrix_elements() const {
    return (static_cast<int64_t>(columns) - 1) * leading + static_cast<int64_t>(rows);
  }
  size_t bytes() const {
    return static_cast<size_t>((batch - 1) * stride + matrix_elements()) * element_bytes();
  }
  friend bool operator==(const Layout&, const Layout&) = default;
};

struct [[gnu::may_alias]] Product {
  uint64_t magic;
  int32_t compute, scale, transpose_a, transpose_b;
};

struct [[gnu::may_alias]] Preference {
  uint64_t magic, workspace_bytes, implementations;
  uint32_t reductions, alignment_a, alignment_b, alignment_c, alignment_d;
};

struct [[gnu::may_alias]] Algorithm {
  uint64_t magic, workspace_bytes, problem;
  uint32_t alignment_a, alignment_b, alignment_c, alignment_d;
  int32_t parts, reduction;
};

template <typename T, typename Opaque>
T& As(Opaque* opaque) {
  static_assert(sizeof(T) <= sizeof(Opaque));
  return *reinterpret_cast<T*>(opaque->data);
}

template <typename... Arguments>
cublasStatus_t Refuse(cublasStatus_t status, fmt::format_string<Arguments...> format,
                      Arguments&&... arguments) {
  const std::string reason = fmt::format(format, std::forward<Arguments>(arguments)...);
  emulation::Refuse(fmt::format("cuBLASLt: {}: {}", cublasLtGetStatusName(status), reason));
  return status;
}

template <typename... Arguments>
cublasStatus_t Invalid(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  return Refuse(CUBLAS_STATUS_INVALID_VALUE, format, std::forward<Arguments>(arguments)...);
}

template <typename... Arguments>
cublasStatus_t NotSupported(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  return Refuse(CUBLAS_STATUS_NOT_SUPPORTED, format, std::forward<Arguments>(arguments)...);
}

// Whether d = op(a) · op(b) + c is one that cuBLASLt accepts.
cublasStatus_t CheckProblem(const Product& product, const Layout& a, const Layout& b,
                            const Layout& c, const Layout& d);
// Tells problems apart: an algorithm is only for what it was chosen for.
uint64_t Fingerprint(const Product& product, const Layout& a, const Layout& b, const Layout& c,
                     const Layout& d);
cublasStatus_t CheckOperand(const char* name, const void* data, const Layout& layout,
                            uint32_t alignment);

struct MatmulCall {
  Product product;
  Layout a, b, c, d;
  Algorithm algorithm;
  const void *data_a, *data_b, *data_c;
  void *data_d, *workspace;
  float alpha, beta;
};

// Computes a checked product.
void RunMatmul(const MatmulCall& call);

}  // namespace wavefield::emulation::cublaslt
