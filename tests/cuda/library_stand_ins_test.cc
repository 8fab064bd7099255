// What the tests' stand-ins for cuBLASLt and cuFFT refuse, and that cuFFT's transforms are right.
// (Products: gemm_test.cc. NCCL: nccl_stand_in_test.cc.)

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cufft.h>
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <functional>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "core/backend/cuda/stream.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/cuda/device_vector.h"

namespace wavefield {
namespace {

using testing::DeviceVector;
using testing::FreshSeed;

// D = A · B + beta · C by cuBLASLt's own functions, with everything that can be wrong about it.
struct Product {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale = CUDA_R_32F, type_a = CUDA_R_32F, type_b = CUDA_R_32F, type_c = CUDA_R_32F,
                 type_d = CUDA_R_32F;
  uint64_t m = 6, n = 5, k = 300, k_of_b = 300;
  int64_t lda = 6, ldb = 300, ldc = 6, ldd = 6, stride_d = 30;
  int32_t batch_a = 2, batch = 2;
  uint32_t alignment = 16;
  int64_t skip_a = 0, skip_d = 0;  // elements
  int32_t operation = CUBLAS_OP_N;
  size_t attribute_bytes = sizeof(int32_t);
  uint64_t workspace_bytes = 4096, given_bytes = 4096, skipped_bytes = 0;
  bool workspace = true, algorithm = true, another_k = false, host_a = false, null_d = false,
       d_is_a = false;
  float beta = 1;
  int device_of_stream = 0;
};

class CublasLtStandIn : public ::testing::Test {
 protected:
  CublasLtStandIn() { WF_CUDA(cublasLtCreate(&handle_)); }
  ~CublasLtStandIn() override { WF_CUDA(cublasLtDestroy(handle_)); }

  cublasStatus_t Multiply(const Product& x) {
    cublasLtMatmulDescOpaque_t product;
    WF_CUDA(cublasLtMatmulDescInit(&product, x.compute, x.scale));
    cublasStatus_t status = cublasLtMatmulDescSetAttribute(&product, CUBLASLT_MATMUL_DESC_TRANSA,
                                                           &x.operation, x.attribute_bytes);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    const auto layout = [](cudaDataType_t type, uint64_t rows, uint64_t columns, int64_t leading,
                           int32_t batch, int64_t stride) {
      cublasLtMatrixLayoutOpaque_t made;
      WF_CUDA(cublasLtMatrixLayoutInit(&made, type, rows, columns, leading));
      WF_CUDA(cublasLtMatrixLayoutSetAttribute(&made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                               sizeof(batch)));
      WF_CUDA(cublasLtMatrixLayoutSetAttribute(&made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                               &stride, sizeof(stride)));
      return made;
    };
    auto a = layout(x.type_a, x.m, x.k, x.lda, x.batch_a, 1800);
    auto b = layout(x.type_b, x.k_of_b, x.n, x.ldb, x.batch, 0);
    auto c = layout(x.type_c, x.m, x.n, x.ldc, x.batch, x.stride_d);
    auto d = layout(x.type_d, x.m, x.n, x.ldd, x.batch, x.stride_d);
    cublasLtMatmulPreferenceOpaque_t preference;
    WF_CUDA(cublasLtMatmulPreferenceInit(&preference));
    WF_CUDA(cublasLtMatmulPreferenceSetAttribute(&preference,
                                                 CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &x.workspace_bytes, sizeof(x.workspace_bytes)));
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      WF_CUDA(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &x.alignment,
                                                   sizeof(x.alignment)));
    }
    cublasLtMatmulHeuristicResult_t result;
    int results = 0;
    status = cublasLtMatmulAlgoGetHeuristic(handle_, &product, &a, &b, &c, &d, &preference, 1,
                                            &result, &results);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    if (x.another_k) {
      a = layout(x.type_a, x.m, x.k - 1, x.lda, x.batch_a, 1800);
      b = layout(x.type_b, x.k_of_b - 1, x.n, x.ldb, x.batch, 0);
    }
    std::vector<float> host(2400);
    const float alpha = 1;
    float* const data_a = x.host_a ? host.data() : numbers_.data() + x.skip_a;
    float* const data_d = x.null_d   ? nullptr
                          : x.d_is_a ? data_a
                                     : numbers_.data() + 5600 + x.skip_d;
    WF_CUDA(cudaSetDevice(x.device_of_stream));
    status = cublasLtMatmul(handle_, &product, &alpha, data_a, &a, numbers_.data() + 3600, &b,
                            &x.beta, data_d, &c, data_d, &d, x.algorithm ? &result.algo : nullptr,
                            x.workspace ? workspace_.data() + x.skipped_bytes : nullptr,
                            x.given_bytes, x.device_of_stream == 0 ? stream_ : other_);
    WF_CUDA(cudaSetDevice(0));
    return status;
  }

  cublasLtHandle_t handle_ = nullptr;
  DeviceVector<float> numbers_{std::vector<float>(5700, 1)};
  DeviceVector<char> workspace_{std::vector<char>(4608)};
  cuda::Stream stream_;
  cudaStream_t other_ = [] {
    cudaStream_t stream = nullptr;
    WF_CUDA(cudaSetDevice(1));
    WF_CUDA(cudaStreamCreate(&stream));
    WF_CUDA(cudaSetDevice(0));
    return stream;
  }();
};

TEST_F(CublasLtStandIn, TakesWhatIsRight) {
  EXPECT_EQ(Multiply({}), CUBLAS_STATUS_SUCCESS);
  stream_.Synchronize();
  EXPECT_EQ(numbers_.Values()[5600], 301);
  EXPECT_EQ(numbers_.Values()[5660], 1);
}

TEST_F(CublasLtStandIn, RefusesWhatIsWrong) {
  struct Mistake {
    const char* name;
    std::function<void(Product&)> make;
    cublasStatus_t status;
  };
  constexpr auto kInvalid = CUBLAS_STATUS_INVALID_VALUE, kUnsupported = CUBLAS_STATUS_NOT_SUPPORTED;
  const Mistake mistakes[] = {
      {"TF32", [](Product& x) { x.compute = CUBLAS_COMPUTE_32F_FAST_TF32; }, kUnsupported},
      {"scale in bf16", [](Product& x) { x.scale = CUDA_R_16BF; }, kUnsupported},
      {"fp32 · bf16", [](Product& x) { x.type_b = CUDA_R_16BF; }, kUnsupported},
      {"half precision", [](Product& x) { x.type_a = x.type_b = CUDA_R_16F; }, kUnsupported},
      {"fp32 to bf16", [](Product& x) { x.type_c = x.type_d = CUDA_R_16BF; }, kUnsupported},
      {"C and D of two types", [](Product& x) { x.type_c = CUDA_R_16BF; }, kUnsupported},
      {"inner sizes", [](Product& x) { x.k_of_b = 299; }, kInvalid},
      {"no columns", [](Product& x) { x.n = 0; }, kInvalid},
      {"leading dimension of A", [](Product& x) { x.lda = 5; }, kInvalid},
      {"leading dimension of D", [](Product& x) { x.ldd = 5; }, kInvalid},
      {"in place with two layouts", [](Product& x) { x.ldc = 7; }, kInvalid},
      {"batches", [](Product& x) { x.batch_a = 1; }, kInvalid},
      {"a batch of 65,536", [](Product& x) { x.batch = x.batch_a = 65'536; }, kUnsupported},
      {"results that overlap", [](Product& x) { x.stride_d = 29; }, kInvalid},
      {"A misaligned", [](Product& x) { x.skip_a = 1; }, kInvalid},
      {"D misaligned", [](Product& x) { x.skip_d = 2; }, kInvalid},
      {"alignment below elements", [](Product& x) { x.alignment = 2; }, kUnsupported},
      {"conjugate transpose", [](Product& x) { x.operation = CUBLAS_OP_C; }, kUnsupported},
      {"an attribute's size", [](Product& x) { x.attribute_bytes = 8; }, kInvalid},
      {"no workspace", [](Product& x) { x.workspace = false; }, kInvalid},
      {"little workspace", [](Product& x) { x.given_bytes = 256; }, kInvalid},
      {"workspace misaligned", [](Product& x) { x.skipped_bytes = 128; }, kInvalid},
      {"workspace too long", [](Product& x) { x.given_bytes = 8192; }, kInvalid},
      {"no algorithm", [](Product& x) { x.algorithm = false; }, kUnsupported},
      {"another's algorithm", [](Product& x) { x.another_k = true; }, kInvalid},
      {"A on the host", [](Product& x) { x.host_a = true; }, kInvalid},
      {"D past its memory", [](Product& x) { x.skip_d = 44; }, kInvalid},
      {"no D", [](Product& x) { x.null_d = true; }, kInvalid},
      {"D is A", [](Product& x) { x.d_is_a = true; }, kInvalid},
      {"another device's stream", [](Product& x) { x.device_of_stream = 1; }, kInvalid},
  };
  for (const Mistake& mistake : mistakes) {
    Product product;
    mistake.make(product);
    EXPECT_EQ(Multiply(product), mistake.status) << mistake.name;
  }
}

// A batch of real rows and their spectra: element i of row b at b · distance + i · stride.
struct Transform {
  long long n = 12, batch = 3;
  long long real_stride = 1, real_distance = 12, bin_stride = 1, bin_distance = 7;
  bool in_place = false;

  long long bins() const { return n / 2 + 1; }
  long long reals() const { return (batch - 1) * real_distance + (n - 1) * real_stride + 1; }
  long long spectrum() const {
    return 2 * ((batch - 1) * bin_distance + (bins() - 1) * bin_stride + 1);
  }
};

class CufftStandIn : public ::testing::Test {
 protected:
  // A plan with its work area and stream; destroyed at the end.
  class Plan {
   public:
    Plan(const Transform& x, cufftType type, cudaStream_t stream) {
      WF_CUDA(cufftCreate(&handle_));
      WF_CUDA(cufftSetAutoAllocation(handle_, 0));
      size_t bytes = 0;
      made_ = Make(x, type, &bytes);
      if (made_ != CUFFT_SUCCESS) return;
      WF_CUDA(cudaMalloc(&work_, bytes));
      WF_CUDA(cufftSetWorkArea(handle_, work_));
      WF_CUDA(cufftSetStream(handle_, stream));
    }
    ~Plan() {
      WF_CUDA(cufftDestroy(handle_));
      WF_CUDA(cudaFree(work_));
    }
    cufftResult Make(const Transform& x, cufftType type, size_t* bytes) {
      long long n = x.n, reals = x.n, bins = x.bins();
      if (type == CUFFT_C2R) {
        return cufftMakePlanMany64(handle_, 1, &n, &bins, x.bin_stride, x.bin_distance, &reals,
                                   x.real_stride, x.real_distance, type, x.batch, bytes);
      }
      return cufftMakePlanMany64(handle_, 1, &n, &reals, x.real_stride, x.real_distance, &bins,
                                 x.bin_stride, x.bin_distance, type, x.batch, bytes);
    }
    cufftResult made() const { return made_; }
    cufftHandle get() const { return handle_; }

   private:
    cufftHandle handle_ = 0;
    void* work_ = nullptr;
    cufftResult made_;
  };

  static cufftComplex* Complex(float* x) { return reinterpret_cast<cufftComplex*>(x); }

  cuda::Stream stream_;
};

TEST_F(CufftStandIn, AgreesWithTheDefinitionAndComesBack) {
  const uint64_t seed = FreshSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](long long n) {
    return std::uniform_int_distribution<long long>(0, n - 1)(random);
  };
  constexpr long long kFactors[] = {2, 3, 5, 7};
  for (int round = 0; round < 24; ++round) {
    Transform x{.n = 1 + below(2), .batch = 1 + below(4)};
    while (x.n < 60 + below(200)) x.n *= kFactors[below(4)];
    x.in_place = round % 3 == 0;
    x.real_distance = x.in_place ? 2 * (x.bins() + below(4)) : 0;
    x.bin_distance = x.real_distance / 2;
    if (!x.in_place) {
      x.real_stride = 1 + below(3);
      x.bin_stride = 1 + below(3);
      x.real_distance = x.n * x.real_stride + below(5);
      x.bin_distance = x.bins() * x.bin_stride + below(5);
    }
    SCOPED_TRACE(::testing::Message()
                 << "length " << x.n << " batch " << x.batch << " in place " << x.in_place);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> values(std::max(x.reals(), x.spectrum()));
    for (float& value : values) value = uniform(random);
    const DeviceVector<float> first(values);
    const DeviceVector<float> second(std::vector<float>(values.size(), 5));
    float* const spectrum = x.in_place ? first.data() : second.data();
    Plan forward(x, CUFFT_R2C, stream_), back(x, CUFFT_C2R, stream_);
    ASSERT_EQ(forward.made(), CUFFT_SUCCESS);
    ASSERT_EQ(back.made(), CUFFT_SUCCESS);
    ASSERT_EQ(cufftExecR2C(forward.get(), first.data(), Complex(spectrum)), CUFFT_SUCCESS);
    const std::vector<float> bins = (x.in_place ? first : second).Values();
    for (long long b = 0; b < x.batch; ++b) {
      for (long long k = 0; k < x.bins(); ++k) {
        std::complex<double> sum = 0;
        for (long long i = 0; i < x.n; ++i) {
          sum += std::polar<double>(
              values[b * x.real_distance + i * x.real_stride],
              -2 * std::numbers::pi * static_cast<double>(i * k % x.n) / static_cast<double>(x.n));
        }
        const long long at = 2 * (b * x.bin_distance + k * x.bin_stride);
        ASSERT_NEAR(bins[at], sum.real(), 1e-5) << "row " << b << " bin " << k;
        ASSERT_NEAR(bins[at + 1], sum.imag(), 1e-5) << "row " << b << " bin " << k;
      }
    }
    ASSERT_EQ(cufftExecC2R(back.get(), Complex(spectrum), first.data()), CUFFT_SUCCESS);
    const std::vector<float> result = first.Values();
    for (long long b = 0; b < x.batch; ++b) {
      for (long long i = 0; i < x.n; ++i) {
        const long long at = b * x.real_distance + i * x.real_stride;
        ASSERT_NEAR(result[at] / static_cast<float>(x.n), values[at], 1e-5) << b << ", " << i;
      }
    }
    EXPECT_EQ(std::isnan(second.Values()[0]), !x.in_place) << "C2R destroys its input";
  }
}

TEST_F(CufftStandIn, RefusesPlansThatAreWrong) {
  struct Mistake {
    const char* name;
    std::function<void(Transform&)> make;
    cufftResult result;
  };
  const Mistake mistakes[] = {
      {"no length", [](Transform& x) { x.n = 0; }, CUFFT_INVALID_SIZE},
      {"no batch", [](Transform& x) { x.batch = 0; }, CUFFT_INVALID_SIZE},
      {"factor 11", [](Transform& x) { x.n = 11; }, CUFFT_NOT_SUPPORTED},
      {"spectra overlap", [](Transform& x) { x.bin_distance = 6; }, CUFFT_INVALID_SIZE},
      {"no stride", [](Transform& x) { x.real_stride = 0; }, CUFFT_INVALID_SIZE},
  };
  for (const Mistake& mistake : mistakes) {
    Transform transform;
    mistake.make(transform);
    EXPECT_EQ(Plan(transform, CUFFT_R2C, stream_).made(), mistake.result) << mistake.name;
  }
  EXPECT_EQ(Plan({.real_distance = 11}, CUFFT_C2R, stream_).made(), CUFFT_INVALID_SIZE);
  EXPECT_EQ(Plan({}, CUFFT_C2C, stream_).made(), CUFFT_INVALID_TYPE);
  Plan plan({}, CUFFT_R2C, stream_);
  size_t bytes = 0;
  EXPECT_EQ(plan.Make({}, CUFFT_R2C, &bytes), CUFFT_INVALID_PLAN) << "made twice";
  EXPECT_EQ(cufftSetAutoAllocation(plan.get(), 1), CUFFT_INVALID_PLAN) << "too late";
  EXPECT_EQ(cufftDestroy(plan.get() + 100), CUFFT_INVALID_PLAN);
}

TEST_F(CufftStandIn, RefusesRunsThatAreWrong) {
  const DeviceVector<float> reals(std::vector<float>(36)), spectra(std::vector<float>(42));
  Plan plan({}, CUFFT_R2C, stream_);
  cufftComplex* const bins = Complex(spectra.data());
  EXPECT_EQ(cufftExecR2C(plan.get(), reals.data(), bins), CUFFT_SUCCESS);
  EXPECT_EQ(cufftExecC2R(plan.get(), bins, reals.data()), CUFFT_INVALID_PLAN) << "of a type";
  EXPECT_EQ(cufftExecR2C(plan.get(), nullptr, bins), CUFFT_INVALID_VALUE);
  EXPECT_EQ(cufftExecR2C(plan.get(), reals.data(), bins + 1), CUFFT_INVALID_VALUE) << "too short";
  std::vector<float> host(36);
  EXPECT_EQ(cufftExecR2C(plan.get(), host.data(), bins), CUFFT_INVALID_VALUE) << "of the host";
  const DeviceVector<float> room(std::vector<float>(100));
  EXPECT_EQ(cufftExecR2C(plan.get(), room.data() + 1, bins), CUFFT_INVALID_VALUE) << "misaligned";
  EXPECT_EQ(cufftExecR2C(plan.get(), room.data(), Complex(room.data() + 2)), CUFFT_INVALID_VALUE)
      << "overlap";
  EXPECT_EQ(cufftExecR2C(plan.get(), room.data(), Complex(room.data())), CUFFT_INVALID_VALUE)
      << "in place without room for the last bin";
  EXPECT_EQ(cufftSetWorkArea(plan.get(), reinterpret_cast<void*>(8)), CUFFT_INVALID_VALUE);
  WF_CUDA(cufftSetWorkArea(plan.get(), nullptr));
  EXPECT_EQ(cufftExecR2C(plan.get(), reals.data(), bins), CUFFT_NO_WORKSPACE);
  stream_.Synchronize();
}

}  // namespace
}  // namespace wavefield
