#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "core/tensor/tensor.h"

namespace wavefield::cuda {

// A matrix in device memory, row-major: element (i, j) of matrix number `b` of a batch is
// data[b · stride + i · leading + j]. Nothing is required of leading dimensions, strides and
// addresses beyond that elements of c do not overlap; multiples of 16 bytes are fastest.
struct Matrix {
  const void* data;
  DType dtype;  // kFloat32 or kBFloat16
  int64_t leading;
  int64_t stride = 0;       // 0: every product of the batch reads the same matrix
  bool transposed = false;  // read as its transpose
};

// c = alpha · op(a) · op(b) + beta · c for every matrix of the batch; op(a) [m, k], op(b) [k, n],
// c [m, n]. a and b are of one type; c is fp32, or bf16 if they are, and not transposed. c is not
// read when beta is 0. With k = 0, beta is 0 or 1.
struct Gemm {
  int64_t m, n, k;
  Matrix a, b, c;
  int64_t batch = 1;
  float alpha = 1, beta = 0;
};

// Products through cuBLASLt on one device, accumulated in fp32 (without TF32). The algorithm is the
// first that cuBLASLt's heuristic names for the shape, types and alignment within a fixed
// workspace, without reductions whose order is not fixed: never one picked by timing. Not
// thread-safe; the streams of two products are the same or ordered by an event, since they share
// the workspace of kGemmWorkspaceBytes (workspace.h).
class Gemms {
 public:
  Gemms();
  ~Gemms();
  Gemms(const Gemms&) = delete;
  Gemms& operator=(const Gemms&) = delete;

  void Run(const Gemm& gemm, cudaStream_t stream);

 private:
  struct Plans;
  void RunBatch(const Gemm& gemm, cudaStream_t stream);

  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::unique_ptr<Plans> plans_;  // by shape
};

}  // namespace wavefield::cuda
