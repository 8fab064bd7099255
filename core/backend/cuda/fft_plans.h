#pragma once

#include <cuda_runtime_api.h>
#include <cufft.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

namespace wavefield::cuda {

enum class FftDirection { kToSpectrum, kFromSpectrum };

// In-place real transforms of `batch` rows of one length, unscaled. A row has 2 · (length/2 + 1)
// floats: `length` values and room, or length/2 + 1 complex numbers.
class FftPlan {
 public:
  FftPlan(FftDirection direction, int64_t length, int64_t batch);
  ~FftPlan();
  FftPlan(const FftPlan&) = delete;
  FftPlan& operator=(const FftPlan&) = delete;

  // What Run needs at `work`; plans that run one after another may share it.
  size_t work_bytes() const { return work_bytes_; }
  // rows: device memory, aligned for complex numbers.
  void Run(float* rows, void* work, cudaStream_t stream) const;

 private:
  const FftDirection direction_;
  cufftHandle handle_ = 0;
  size_t work_bytes_ = 0;
};

// Plans by shape: making one costs more than running it. Not thread-safe.
class FftPlans {
 public:
  std::shared_ptr<const FftPlan> Get(FftDirection direction, int64_t length, int64_t batch);

 private:
  using Key = std::tuple<FftDirection, int64_t, int64_t>;
  std::map<Key, std::shared_ptr<const FftPlan>> plans_;
};

}  // namespace wavefield::cuda
