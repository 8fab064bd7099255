#include "core/backend/cuda/gemm.h"

#include <algorithm>
#include <compare>
#include <map>
#include <string>

#include "core/backend/cuda/errors.h"
#include "core/backend/cuda/workspace.h"
#include "core/base/check.h"

namespace wavefield::cuda {
namespace {

// cuBLASLt refuses some shapes in batches of more than 65,535.
constexpr int64_t kLargestBatch = 32768;
constexpr size_t kMostPlans = 4096;
// That of memory from an Arena: a plan may not depend on where a block happens to lie.
constexpr uint32_t kMostAlignment = 64;

struct Side {
  DType dtype;
  int64_t leading, stride;
  bool transposed;
  uint32_t alignment;  // of the start of every row, in bytes
  auto operator<=>(const Side&) const = default;
};

// All that the choice of an algorithm depends on.
struct Key {
  int64_t m, n, k, batch;
  Side a, b, c;
  auto operator<=>(const Key&) const = default;
};

struct Plan {
  cublasLtMatmulDescOpaque_t product;
  cublasLtMatrixLayoutOpaque_t a, b, c;
  cublasLtMatmulAlgo_t algorithm;
};

cudaDataType_t TypeOf(DType dtype) { return dtype == DType::kFloat32 ? CUDA_R_32F : CUDA_R_16BF; }

std::string ToString(const Key& key) {
  const auto side = [](const Side& x) {
    return std::string(x.dtype == DType::kFloat32 ? "fp32" : "bf16") +
           (x.transposed ? " transposed" : "") + ", leading " + std::to_string(x.leading) +
           ", stride " + std::to_string(x.stride) + ", aligned to " + std::to_string(x.alignment);
  };
  return "[" + std::to_string(key.m) + ", " + std::to_string(key.k) + "] · [" +
         std::to_string(key.k) + ", " + std::to_string(key.n) + "], batch of " +
         std::to_string(key.batch) + "; a " + side(key.a) + "; b " + side(key.b) + "; c " +
         side(key.c);
}

// Of op(matrix) [rows, columns].
Side SideOf(const Matrix& matrix, int64_t rows, int64_t columns, int64_t batch) {
  if (matrix.transposed) std::swap(rows, columns);
  WF_CHECK_MSG(matrix.dtype == DType::kFloat32 || matrix.dtype == DType::kBFloat16,
               "Gemm: element type " + std::to_string(static_cast<int>(matrix.dtype)));
  WF_CHECK_MSG(rows == 1 || matrix.leading >= columns,
               "Gemm: leading dimension " + std::to_string(matrix.leading) + " of rows of " +
                   std::to_string(columns));
  Side side{matrix.dtype, std::max(matrix.leading, columns), batch > 1 ? matrix.stride : 0,
            matrix.transposed, 0};
  const size_t size = SizeOf(matrix.dtype);
  const uint64_t bits = reinterpret_cast<uint64_t>(matrix.data) |
                        (rows > 1 ? static_cast<uint64_t>(side.leading) * size : 0) |
                        static_cast<uint64_t>(side.stride) * size | kMostAlignment;
  side.alignment = static_cast<uint32_t>(bits & -bits);
  return side;
}

// A row-major matrix is the transpose of a column-major one, which is what cuBLASLt reads.
cublasLtMatrixLayoutOpaque_t Layout(const Side& side, int64_t rows, int64_t columns,
                                    int64_t batch) {
  if (side.transposed) std::swap(rows, columns);
  cublasLtMatrixLayoutOpaque_t layout;
  WF_CUDA(cublasLtMatrixLayoutInit(&layout, TypeOf(side.dtype), static_cast<uint64_t>(columns),
                                   static_cast<uint64_t>(rows), side.leading));
  const auto count = static_cast<int32_t>(batch);
  WF_CUDA(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                           sizeof(count)));
  WF_CUDA(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                           &side.stride, sizeof(side.stride)));
  return layout;
}

class Preference {
 public:
  Preference() { WF_CUDA(cublasLtMatmulPreferenceInit(&preference_)); }
  template <typename T>
  void Set(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    WF_CUDA(cublasLtMatmulPreferenceSetAttribute(&preference_, attribute, &value, sizeof(value)));
  }
  cublasLtMatmulPreference_t get() { return &preference_; }

 private:
  cublasLtMatmulPreferenceOpaque_t preference_;
};

// cᵀ = op(b)ᵀ · op(a)ᵀ in column-major order: b is cuBLASLt's first operand, a its second.
Plan MakePlan(cublasLtHandle_t handle, const Key& key) {
  Plan plan;
  plan.a = Layout(key.a, key.m, key.k, key.batch);
  plan.b = Layout(key.b, key.k, key.n, key.batch);
  plan.c = Layout(key.c, key.m, key.n, key.batch);
  WF_CUDA(cublasLtMatmulDescInit(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const auto transpose = [&](cublasLtMatmulDescAttributes_t attribute, bool transposed) {
    const int32_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    WF_CUDA(
        cublasLtMatmulDescSetAttribute(&plan.product, attribute, &operation, sizeof(operation)));
  };
  transpose(CUBLASLT_MATMUL_DESC_TRANSA, key.b.transposed);
  transpose(CUBLASLT_MATMUL_DESC_TRANSB, key.a.transposed);

  Preference preference;
  preference.Set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kGemmWorkspaceBytes});
  // Parts of a sum are added in a fixed order and in fp32, or there is one part.
  preference.Set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                 uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  preference.Set(CUBLASLT_MATMUL_PREF_IMPL_MASK,
                 ~uint64_t{CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32});
  preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.b.alignment);
  preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.a.alignment);
  preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.c.alignment);
  preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.c.alignment);
  cublasLtMatmulHeuristicResult_t result{};
  int results = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, &plan.product, &plan.b, &plan.a, &plan.c, &plan.c,
                                     preference.get(), 1, &result, &results);
  WF_CHECK_MSG(
      status == CUBLAS_STATUS_SUCCESS && results == 1 && result.state == CUBLAS_STATUS_SUCCESS,
      "cuBLASLt has no algorithm (" + std::string(cublasLtGetStatusName(status)) + ") for " +
          ToString(key));
  plan.algorithm = result.algo;
  return plan;
}

void SetToZero(const Matrix& c, int64_t rows, int64_t columns, int64_t batch, cudaStream_t stream) {
  const size_t size = SizeOf(c.dtype);
  for (int64_t i = 0; i < batch; ++i) {
    for (int64_t row = 0; row < rows; ++row) {
      char* const start = static_cast<char*>(const_cast<void*>(c.data)) +
                          (i * c.stride + row * c.leading) * static_cast<int64_t>(size);
      WF_CUDA(cudaMemsetAsync(start, 0, static_cast<size_t>(columns) * size, stream));
    }
  }
}

}  // namespace

struct Gemms::Plans {
  std::map<Key, Plan> by_key;
};

Gemms::Gemms() : plans_(std::make_unique<Plans>()) {
  WF_CUDA(cublasLtCreate(&handle_));
  WF_CUDA(cudaMalloc(&workspace_, kGemmWorkspaceBytes));
}

Gemms::~Gemms() {
  WF_CUDA(cudaDeviceSynchronize());
  WF_CUDA(cudaFree(workspace_));
  WF_CUDA(cublasLtDestroy(handle_));
}

void Gemms::Run(const Gemm& gemm, cudaStream_t stream) {
  if (gemm.m == 0 || gemm.n == 0) return;
  if (gemm.k == 0) {
    WF_CHECK_MSG(gemm.beta == 0 || gemm.beta == 1,
                 "Gemm: an empty sum with beta " + std::to_string(gemm.beta));
    if (gemm.beta == 0) SetToZero(gemm.c, gemm.m, gemm.n, gemm.batch, stream);
    return;
  }
  for (int64_t first = 0; first < gemm.batch; first += kLargestBatch) {
    Gemm part = gemm;
    part.batch = std::min(kLargestBatch, gemm.batch - first);
    for (Matrix* matrix : {&part.a, &part.b, &part.c}) {
      matrix->data = static_cast<const char*>(matrix->data) +
                     first * matrix->stride * static_cast<int64_t>(SizeOf(matrix->dtype));
    }
    RunBatch(part, stream);
  }
}

void Gemms::RunBatch(const Gemm& gemm, cudaStream_t stream) {
  WF_CHECK(!gemm.c.transposed);
  const Key key{gemm.m,
                gemm.n,
                gemm.k,
                gemm.batch,
                SideOf(gemm.a, gemm.m, gemm.k, gemm.batch),
                SideOf(gemm.b, gemm.k, gemm.n, gemm.batch),
                SideOf(gemm.c, gemm.m, gemm.n, gemm.batch)};
  auto found = plans_->by_key.find(key);
  if (found == plans_->by_key.end()) {
    if (plans_->by_key.size() == kMostPlans) plans_->by_key.clear();
    found = plans_->by_key.emplace(key, MakePlan(handle_, key)).first;
  }
  Plan& plan = found->second;
  void* c = const_cast<void*>(gemm.c.data);
  WF_CUDA(cublasLtMatmul(handle_, &plan.product, &gemm.alpha, gemm.b.data, &plan.b, gemm.a.data,
                         &plan.a, &gemm.beta, c, &plan.c, c, &plan.c, &plan.algorithm, workspace_,
                         kGemmWorkspaceBytes, stream));
}

}  // namespace wavefield::cuda
