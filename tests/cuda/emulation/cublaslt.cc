// Stands in for the part of cuBLASLt that core/backend/cuda/gemm.cc calls. Products are computed on
// the host in fp32 in a fixed order, when the emulated stream comes to them. What cuBLASLt refuses
// is refused with its status, and the reason on stderr; so is what it would let pass although its
// result is undefined.
//
// Sums of at least 256 products are cut into three parts that lie in the workspace. The scheme is
// the worst of those that the caller's preferences allow: "in place" adds the parts in another
// order each time, "output type" rounds each part.

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "tests/cuda/emulation/cublaslt_product.h"
#include "tests/cuda/emulation/runtime.h"

struct cublasLtContext {
  int device;
};

namespace {

// cuBLASLt's own names are in no namespace.
using namespace wavefield::emulation::cublaslt;
using wavefield::emulation::DeviceOf;
using wavefield::emulation::Enqueue;
using wavefield::emulation::IsDeviceRange;

constexpr uint64_t kSplitFrom = 256;
constexpr int kParts = 3;
constexpr uint64_t kWorkspaceAlignment = 256;

template <typename T>
cublasStatus_t Assign(T& field, const void* value, size_t bytes, const char* name) {
  if (value == nullptr || bytes != sizeof(T)) {
    return Invalid("{} takes {} bytes, got {}", name, sizeof(T), bytes);
  }
  std::memcpy(&field, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

bool IsAlignment(uint32_t bytes) { return bytes > 0 && (bytes & (bytes - 1)) == 0; }

}  // namespace

extern "C" {

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
      return "CUBLAS_STATUS_UNKNOWN";
  }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (handle == nullptr) return Invalid("no place for the handle");
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) {
    return Refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no device");
  }
  *handle = new cublasLtContext{device};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  if (handle == nullptr) return Refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size,
                                                 cudaDataType type, uint64_t rows, uint64_t columns,
                                                 int64_t leading) {
  if (layout == nullptr || size != sizeof(*layout)) return Invalid("a layout of {} bytes", size);
  As<Layout>(layout) = {kLayoutMagic, type, 1, rows, columns, leading, 0};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t opaque,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  if (opaque == nullptr || As<Layout>(opaque).magic != kLayoutMagic) {
    return Invalid("attribute of a layout that is not initialised");
  }
  Layout& layout = As<Layout>(opaque);
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return Assign(layout.batch, value, bytes, "the batch count");
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return Assign(layout.stride, value, bytes, "the stride of a batch");
    default:
      return NotSupported("attribute {} of a layout", static_cast<int>(attribute));
  }
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t product, size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
  if (product == nullptr || size != sizeof(*product)) return Invalid("a product of {} bytes", size);
  As<Product>(product) = {kProductMagic, compute, scale, CUBLAS_OP_N, CUBLAS_OP_N};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t opaque,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  if (opaque == nullptr || As<Product>(opaque).magic != kProductMagic) {
    return Invalid("attribute of a product that is not initialised");
  }
  int32_t operation = 0;
  const auto status = Assign(operation, value, bytes, "a transpose");
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (operation != CUBLAS_OP_N && operation != CUBLAS_OP_T) {
    return NotSupported("operation {} on a matrix", operation);
  }
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      As<Product>(opaque).transpose_a = operation;
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      As<Product>(opaque).transpose_b = operation;
      break;
    default:
      return NotSupported("attribute {} of a product", static_cast<int>(attribute));
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference,
                                                     size_t size) {
  if (preference == nullptr || size != sizeof(*preference)) {
    return Invalid("a preference of {} bytes", size);
  }
  As<Preference>(preference) = {.magic = kPreferenceMagic,
                                .workspace_bytes = 0,
                                .implementations = ~uint64_t{0},
                                .reductions = CUBLASLT_REDUCTION_SCHEME_MASK,
                                .alignment_a = 256,
                                .alignment_b = 256,
                                .alignment_c = 256,
                                .alignment_d = 256};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t opaque,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  if (opaque == nullptr || As<Preference>(opaque).magic != kPreferenceMagic) {
    return Invalid("attribute of a preference that is not initialised");
  }
  Preference& preference = As<Preference>(opaque);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Assign(preference.workspace_bytes, value, bytes, "the most workspace");
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return Assign(preference.reductions, value, bytes, "the mask of reductions");
    case CUBLASLT_MATMUL_PREF_IMPL_MASK:
      return Assign(preference.implementations, value, bytes, "the mask of implementations");
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return Assign(preference.alignment_a, value, bytes, "the alignment of A");
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return Assign(preference.alignment_b, value, bytes, "the alignment of B");
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return Assign(preference.alignment_c, value, bytes, "the alignment of C");
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return Assign(preference.alignment_d, value, bytes, "the alignment of D");
    default:
      return NotSupported("preference {}", static_cast<int>(attribute));
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t product_opaque,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference_opaque,
                                              int wanted, cublasLtMatmulHeuristicResult_t results[],
                                              int* count) {
  if (handle == nullptr) return Refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  if (product_opaque == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr ||
      preference_opaque == nullptr || results == nullptr || count == nullptr || wanted < 1) {
    return Invalid("the heuristic lacks an argument");
  }
  *count = 0;
  const Product& product = As<Product>(product_opaque);
  const Preference& preference = As<Preference>(preference_opaque);
  if (preference.magic != kPreferenceMagic) return Invalid("the preference is not initialised");
  const auto status =
      CheckProblem(product, As<Layout>(a), As<Layout>(b), As<Layout>(c), As<Layout>(d));
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const std::pair<uint32_t, Layout*> alignments[] = {{preference.alignment_a, &As<Layout>(a)},
                                                     {preference.alignment_b, &As<Layout>(b)},
                                                     {preference.alignment_c, &As<Layout>(c)},
                                                     {preference.alignment_d, &As<Layout>(d)}};
  for (const auto& [alignment, layout] : alignments) {
    if (!IsAlignment(alignment) || alignment < layout->element_bytes()) {
      return NotSupported("alignment to {} bytes of elements of {}", alignment,
                          layout->element_bytes());
    }
  }
  const bool bf16 = As<Layout>(a).type == CUDA_R_16BF;
  const uint64_t needed =
      bf16 ? CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF : CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F;
  if ((preference.implementations & needed) == 0) {
    return NotSupported("the mask of implementations forbids the type of the operands");
  }

  Algorithm algorithm{
      .magic = kAlgorithmMagic,
      .workspace_bytes = 0,
      .problem = Fingerprint(product, As<Layout>(a), As<Layout>(b), As<Layout>(c), As<Layout>(d)),
      .alignment_a = preference.alignment_a,
      .alignment_b = preference.alignment_b,
      .alignment_c = preference.alignment_c,
      .alignment_d = preference.alignment_d,
      .parts = 1,
      .reduction = CUBLASLT_REDUCTION_SCHEME_NONE};
  const Layout& out = As<Layout>(d);
  const uint64_t k =
      product.transpose_a == CUBLAS_OP_T ? As<Layout>(a).rows : As<Layout>(a).columns;
  const uint64_t bytes = out.rows * out.columns * kParts * sizeof(float);
  if (k >= kSplitFrom && bytes <= preference.workspace_bytes) {
    for (const auto reduction :
         {CUBLASLT_REDUCTION_SCHEME_INPLACE, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE,
          CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE}) {
      if (algorithm.parts == 1 && (preference.reductions & reduction) != 0) {
        algorithm.parts = kParts;
        algorithm.reduction = reduction;
        algorithm.workspace_bytes = bytes;
      }
    }
  }
  results[0] = {};
  As<Algorithm>(&results[0].algo) = algorithm;
  results[0].workspaceSize = algorithm.workspace_bytes;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm_opaque, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (handle == nullptr) return Refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  if (product == nullptr || a_layout == nullptr || b_layout == nullptr || c_layout == nullptr ||
      d_layout == nullptr || alpha == nullptr || beta == nullptr) {
    return Invalid("the product lacks an argument");
  }
  if (algorithm_opaque == nullptr) return NotSupported("a product without an algorithm");
  const Algorithm& algorithm = As<const Algorithm>(algorithm_opaque);
  MatmulCall call{As<Product>(product),
                  As<Layout>(a_layout),
                  As<Layout>(b_layout),
                  As<Layout>(c_layout),
                  As<Layout>(d_layout),
                  algorithm,
                  a,
                  b,
                  c,
                  d,
                  workspace,
                  *static_cast<const float*>(alpha),
                  *static_cast<const float*>(beta)};
  auto status = CheckProblem(call.product, call.a, call.b, call.c, call.d);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (algorithm.magic != kAlgorithmMagic ||
      algorithm.problem != Fingerprint(call.product, call.a, call.b, call.c, call.d)) {
    return Invalid("the algorithm was not chosen for this product");
  }
  status = CheckOperand("A", a, call.a, algorithm.alignment_a);
  if (status == CUBLAS_STATUS_SUCCESS) status = CheckOperand("B", b, call.b, algorithm.alignment_b);
  if (status == CUBLAS_STATUS_SUCCESS && call.beta != 0) {
    status = CheckOperand("C", c, call.c, algorithm.alignment_c);
  }
  if (status == CUBLAS_STATUS_SUCCESS) status = CheckOperand("D", d, call.d, algorithm.alignment_d);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (d == a || d == b) return Invalid("D is also an operand");
  if (c == d && !(call.c == call.d)) return Invalid("C and D are one matrix of two layouts");
  if (workspace_bytes < algorithm.workspace_bytes) {
    return Invalid("{} bytes of workspace, the algorithm needs {}", workspace_bytes,
                   algorithm.workspace_bytes);
  }
  if (workspace_bytes > 0 &&
      (workspace == nullptr || reinterpret_cast<uintptr_t>(workspace) % kWorkspaceAlignment != 0 ||
       !IsDeviceRange(workspace, workspace_bytes))) {
    return Invalid("the workspace at {} is not {} aligned bytes of device memory", workspace,
                   workspace_bytes);
  }
  if (DeviceOf(stream) != handle->device) {
    return Invalid("the stream is of device {}, the handle of {}", DeviceOf(stream),
                   handle->device);
  }
  if (Enqueue(stream, "cublasLtMatmul", [call] { RunMatmul(call); }) != cudaSuccess) {
    return Refuse(CUBLAS_STATUS_EXECUTION_FAILED, "the stream does not take the product");
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
