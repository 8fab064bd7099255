#include "tests/cuda/emulation/cublaslt_product.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "tests/cuda/emulation/runtime.h"

namespace wavefield::emulation::cublaslt {
namespace {

constexpr uint64_t kInt32Max = 0x7fffffff;
constexpr int32_t kMostBatch = 65535;

cublasStatus_t CheckLayout(const char* name, const Layout& layout) {
  if (layout.magic != kLayoutMagic) return Invalid("layout {} is not initialised", name);
  if (layout.type != CUDA_R_32F && layout.type != CUDA_R_16BF) {
    return NotSupported("element type {} of {}", layout.type, name);
  }
  if (layout.rows == 0 || layout.columns == 0) {
    return Invalid("{} has {} rows and {} columns", name, layout.rows, layout.columns);
  }
  if (layout.rows > kInt32Max || layout.columns > kInt32Max) {
    return NotSupported("{} has {} rows and {} columns", name, layout.rows, layout.columns);
  }
  if (layout.leading < static_cast<int64_t>(layout.rows)) {
    return Invalid("leading dimension {} of {} is less than its {} rows", layout.leading, name,
                   layout.rows);
  }
  if (layout.batch < 1 || layout.stride < 0) {
    return Invalid("{} has a batch of {} with stride {}", name, layout.batch, layout.stride);
  }
  if (layout.batch > kMostBatch) return NotSupported("batch of {}", layout.batch);
  return CUBLAS_STATUS_SUCCESS;
}

float Read(const void* data, int32_t type, int64_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[i];
  return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
}

float Rounded(float x, int32_t type) {
  return type == CUDA_R_32F ? x : __bfloat162float(__float2bfloat16_rn(x));
}

void Write(void* data, int32_t type, int64_t i, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16_rn(value);
  }
}

// Element (i, p) of op(matrix) at p · rows + i.
std::vector<float> Pack(const void* data, const Layout& layout, int64_t offset, bool transpose) {
  const int64_t rows = static_cast<int64_t>(transpose ? layout.columns : layout.rows);
  const int64_t columns = static_cast<int64_t>(transpose ? layout.rows : layout.columns);
  const int64_t row_step = transpose ? layout.leading : 1;
  const int64_t column_step = transpose ? 1 : layout.leading;
  std::vector<float> packed(static_cast<size_t>(rows * columns));
  for (int64_t p = 0; p < columns; ++p) {
    for (int64_t i = 0; i < rows; ++i) {
      packed[p * rows + i] = Read(data, layout.type, offset + i * row_step + p * column_step);
    }
  }
  return packed;
}

// sums [n][m] = Σ over p in [begin, end), in rising order, of a[p][i] · b[p][j].
void Multiply(const float* a, const float* b, int64_t m, int64_t n, int64_t begin, int64_t end,
              float* sums) {
  constexpr int64_t kRows = 16, kColumns = 4;
  for (int64_t j0 = 0; j0 < n; j0 += kColumns) {
    for (int64_t i0 = 0; i0 < m; i0 += kRows) {
      const int64_t rows = std::min(kRows, m - i0), columns = std::min(kColumns, n - j0);
      float tile[kColumns][kRows] = {};
      if (rows == kRows && columns == kColumns) {
        for (int64_t p = begin; p < end; ++p) {
          for (int64_t j = 0; j < kColumns; ++j) {
            const float factor = b[p * n + j0 + j];
            for (int64_t i = 0; i < kRows; ++i) tile[j][i] += a[p * m + i0 + i] * factor;
          }
        }
      } else {
        for (int64_t p = begin; p < end; ++p) {
          for (int64_t j = 0; j < columns; ++j) {
            const float factor = b[p * n + j0 + j];
            for (int64_t i = 0; i < rows; ++i) tile[j][i] += a[p * m + i0 + i] * factor;
          }
        }
      }
      for (int64_t j = 0; j < columns; ++j) {
        std::copy_n(tile[j], rows, sums + (j0 + j) * m + i0);
      }
    }
  }
}

}  // namespace

cublasStatus_t CheckProblem(const Product& product, const Layout& a, const Layout& b,
                            const Layout& c, const Layout& d) {
  if (product.magic != kProductMagic) return Invalid("the product is not initialised");
  if (product.compute != CUBLAS_COMPUTE_32F || product.scale != CUDA_R_32F) {
    return NotSupported("compute type {}, scale type {}", product.compute, product.scale);
  }
  const std::pair<const char*, const Layout*> layouts[] = {
      {"A", &a}, {"B", &b}, {"C", &c}, {"D", &d}};
  for (const auto& [name, layout] : layouts) {
    if (const auto status = CheckLayout(name, *layout); status != CUBLAS_STATUS_SUCCESS) {
      return status;
    }
    if (layout->batch != d.batch) {
      return Invalid("{} has a batch of {}, D of {}", name, layout->batch, d.batch);
    }
  }
  if (a.type != b.type || c.type != d.type || (a.type == CUDA_R_32F && d.type != CUDA_R_32F)) {
    return NotSupported("element types {} · {} + {} to {}", a.type, b.type, c.type, d.type);
  }
  const bool ta = product.transpose_a == CUBLAS_OP_T, tb = product.transpose_b == CUBLAS_OP_T;
  const uint64_t m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns;
  const uint64_t n = tb ? b.rows : b.columns, k_of_b = tb ? b.columns : b.rows;
  if (k != k_of_b || d.rows != m || d.columns != n || c.rows != m || c.columns != n) {
    return Invalid("[{}, {}] · [{}, {}] + [{}, {}] to [{}, {}]", m, k, k_of_b, n, c.rows, c.columns,
                   d.rows, d.columns);
  }
  const bool apart = d.stride >= d.matrix_elements();
  const bool side_by_side = d.stride >= static_cast<int64_t>(d.rows) &&
                            (d.batch - 1) * d.stride + static_cast<int64_t>(d.rows) <= d.leading;
  if (d.batch > 1 && !apart && !side_by_side) {
    return Invalid("matrices of D overlap: stride {}, {} rows, {} columns, leading dimension {}",
                   d.stride, d.rows, d.columns, d.leading);
  }
  return CUBLAS_STATUS_SUCCESS;
}

uint64_t Fingerprint(const Product& product, const Layout& a, const Layout& b, const Layout& c,
                     const Layout& d) {
  uint64_t hash = 14695981039346656037u;
  const auto add = [&](uint64_t x) { hash = (hash ^ x) * 1099511628211u; };
  add(static_cast<uint64_t>(product.transpose_a));
  add(static_cast<uint64_t>(product.transpose_b));
  for (const Layout* layout : {&a, &b, &c, &d}) {
    add(static_cast<uint64_t>(layout->type));
    add(static_cast<uint64_t>(layout->batch));
    add(layout->rows);
    add(layout->columns);
    add(static_cast<uint64_t>(layout->leading));
    add(static_cast<uint64_t>(layout->stride));
  }
  return hash;
}

cublasStatus_t CheckOperand(const char* name, const void* data, const Layout& layout,
                            uint32_t alignment) {
  if (data == nullptr) return Invalid("{} is null", name);
  if (reinterpret_cast<uintptr_t>(data) % alignment != 0) {
    return Invalid("{} at {} is not aligned to {} bytes, as was declared", name, data, alignment);
  }
  if (!IsDeviceRange(data, layout.bytes())) {
    return Invalid("{}: {} bytes at {} are not device memory", name, layout.bytes(), data);
  }
  return CUBLAS_STATUS_SUCCESS;
}

void RunMatmul(const MatmulCall& call) {
  static std::atomic<int> runs_in_place{0};
  const auto& [product, a, b, c, d, algorithm, data_a, data_b, data_c, data_d, workspace, alpha,
               beta] = call;
  const int64_t m = static_cast<int64_t>(d.rows), n = static_cast<int64_t>(d.columns);
  const int64_t k = static_cast<int64_t>(product.transpose_a == CUBLAS_OP_T ? a.rows : a.columns);
  const int parts = algorithm.parts;
  const int first =
      algorithm.reduction == CUBLASLT_REDUCTION_SCHEME_INPLACE ? runs_in_place++ % parts : 0;
  const int32_t part_type =
      algorithm.reduction == CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE ? d.type : CUDA_R_32F;
  std::vector<float> whole(parts == 1 ? static_cast<size_t>(m * n) : 0);
  float* sums = parts == 1 ? whole.data() : static_cast<float*>(workspace);
  for (int64_t matrix = FirstToRun(d.batch); matrix < d.batch; ++matrix) {
    const auto packed_a = Pack(data_a, a, matrix * a.stride, product.transpose_a == CUBLAS_OP_T);
    const auto packed_b = Pack(data_b, b, matrix * b.stride, product.transpose_b == CUBLAS_OP_N);
    for (int part = 0; part < parts; ++part) {
      Multiply(packed_a.data(), packed_b.data(), m, n, k * part / parts, k * (part + 1) / parts,
               sums + part * m * n);
    }
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < m; ++i) {
        float sum = 0;
        for (int part = 0; part < parts; ++part) {
          sum += Rounded(sums[(part + first) % parts * m * n + j * m + i], part_type);
        }
        float value = alpha * sum;
        if (beta != 0) {
          value += beta * Read(data_c, c.type, matrix * c.stride + j * c.leading + i);
        }
        Write(data_d, d.type, matrix * d.stride + j * d.leading + i, value);
      }
    }
  }
}

}  // namespace wavefield::emulation::cublaslt
