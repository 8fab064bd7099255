// Stands in for the part of cuFFT that core/backend/cuda/fft_plans.cc calls: batched real
// transforms of rank 1, computed on the host in double when the emulated stream comes to them. What
// cuFFT refuses is refused, with the reason on stderr; so is what it leaves undefined, and lengths
// with prime factors above 7, which it is slow at.
//
// What a transform may destroy is destroyed: the work area, the input of C2R, and the room behind
// the values of a row in place.

#include <cuda_runtime_api.h>
#include <cufft.h>
#include <fmt/format.h>

#include <complex>
#include <cstdint>
#include <kissfft.hh>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "tests/cuda/emulation/fatal.h"
#include "tests/cuda/emulation/runtime.h"

namespace {

using wavefield::emulation::IsDeviceRange;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr uintptr_t kAlignment = sizeof(cufftComplex);

// Where the rows of a batch lie: element i of row b at b · distance + i · stride.
struct Rows {
  int64_t length, stride, distance;

  int64_t at(int64_t row, int64_t i) const { return row * distance + i * stride; }
  int64_t span(int64_t batch) const { return at(batch - 1, length - 1) + 1; }
  bool overlap(int64_t batch) const {
    const bool apart = distance >= (length - 1) * stride + 1;
    const bool interleaved = stride >= (batch - 1) * distance + 1 && distance >= 1;
    return batch > 1 && !apart && !interleaved;
  }
};

struct Plan {
  bool made = false, own_work = true;
  cufftType type{};
  int64_t n = 0, batch = 0;
  Rows real{}, spectrum{};
  size_t work_bytes = 0;
  void* work = nullptr;
  cudaStream_t stream = nullptr;
};

std::mutex mutex;
std::map<cufftHandle, Plan> plans;
cufftHandle last_handle = 0;

template <typename... Arguments>
cufftResult Refuse(cufftResult result, fmt::format_string<Arguments...> format,
                   Arguments&&... arguments) {
  wavefield::emulation::Refuse(fmt::format("cuFFT: error {}: ", static_cast<int>(result)) +
                               fmt::format(format, std::forward<Arguments>(arguments)...));
  return result;
}

// Calls action(plan) with the plan of a handle.
template <typename Action>
cufftResult With(cufftHandle handle, Action action) {
  const std::lock_guard lock(mutex);
  const auto found = plans.find(handle);
  if (found == plans.end()) return Refuse(CUFFT_INVALID_PLAN, "no plan {}", handle);
  return action(found->second);
}

bool HasSmallFactors(int64_t n) {
  for (const int64_t factor : {2, 3, 5, 7}) {
    while (n % factor == 0) n /= factor;
  }
  return n == 1;
}

void Destroy(void* data, size_t bytes) {
  float* values = static_cast<float*>(data);
  for (size_t i = 0; i < bytes / sizeof(float); ++i) values[i] = kNaN;
}

void Run(const Plan& plan, const float* in, float* out) {
  using Complex = std::complex<double>;
  Destroy(plan.work, plan.work_bytes);
  const int64_t n = plan.n, bins = plan.spectrum.length;
  const bool in_place = in == out;
  const kissfft<double> transform(static_cast<size_t>(n), plan.type == CUFFT_C2R);
  std::vector<Complex> before(static_cast<size_t>(n)), after(static_cast<size_t>(n));
  if (plan.type == CUFFT_R2C) {
    for (int64_t row = 0; row < plan.batch; ++row) {
      for (int64_t i = 0; i < n; ++i) before[i] = in[plan.real.at(row, i)];
      transform.transform(before.data(), after.data());
      for (int64_t k = 0; k < bins; ++k) {
        float* bin = out + 2 * plan.spectrum.at(row, k);
        bin[0] = static_cast<float>(after[k].real());
        bin[1] = static_cast<float>(after[k].imag());
      }
    }
    return;
  }
  for (int64_t row = 0; row < plan.batch; ++row) {
    for (int64_t k = 0; k < bins; ++k) {
      const float* bin = in + 2 * plan.spectrum.at(row, k);
      const bool real = k == 0 || 2 * k == n;
      before[k] = {bin[0], real ? 0.0 : bin[1]};
      if (!real) before[n - k] = std::conj(before[k]);
    }
    transform.transform(before.data(), after.data());
    for (int64_t i = 0; i < n; ++i) {
      out[plan.real.at(row, i)] = static_cast<float>(after[i].real());
    }
    for (int64_t i = n; in_place && i < 2 * bins; ++i) out[plan.real.at(row, i)] = kNaN;
  }
  for (int64_t row = 0; !in_place && row < plan.batch; ++row) {
    for (int64_t k = 0; k < bins; ++k) {
      float* bin = const_cast<float*>(in) + 2 * plan.spectrum.at(row, k);
      bin[0] = bin[1] = kNaN;
    }
  }
}

cufftResult CheckRange(const char* name, const void* data, size_t bytes) {
  if (data == nullptr) return Refuse(CUFFT_INVALID_VALUE, "the {} is null", name);
  if (reinterpret_cast<uintptr_t>(data) % kAlignment != 0) {
    return Refuse(CUFFT_INVALID_VALUE, "the {} at {} is not aligned to {} bytes", name, data,
                  kAlignment);
  }
  if (!IsDeviceRange(data, bytes)) {
    return Refuse(CUFFT_INVALID_VALUE, "the {}: {} bytes at {} are not device memory", name, bytes,
                  data);
  }
  return CUFFT_SUCCESS;
}

// In place the rows of both sides start at the same addresses and have room for the spectrum.
cufftResult CheckPlaces(const Plan& plan, const float* real, const cufftComplex* spectrum) {
  const bool in_place = static_cast<const void*>(real) == spectrum;
  Rows held = plan.real;
  if (in_place) held.length = 2 * plan.spectrum.length;
  const size_t real_bytes = static_cast<size_t>(held.span(plan.batch)) * sizeof(float);
  const size_t spectrum_bytes =
      static_cast<size_t>(plan.spectrum.span(plan.batch)) * sizeof(cufftComplex);
  if (auto result = CheckRange("real side", real, real_bytes); result != CUFFT_SUCCESS) {
    return result;
  }
  if (auto result = CheckRange("spectrum", spectrum, spectrum_bytes); result != CUFFT_SUCCESS) {
    return result;
  }
  if (in_place) {
    if (held.stride != 1 || plan.spectrum.stride != 1 ||
        (plan.batch > 1 && held.distance != 2 * plan.spectrum.distance)) {
      return Refuse(CUFFT_INVALID_VALUE,
                    "in place, rows {} numbers apart (stride {}) are spectra {} apart (stride {})",
                    held.distance, held.stride, plan.spectrum.distance, plan.spectrum.stride);
    }
    if (held.overlap(plan.batch)) {
      return Refuse(CUFFT_INVALID_VALUE, "in place, rows of {} numbers have no room for {}",
                    held.distance, held.length);
    }
    return CUFFT_SUCCESS;
  }
  const auto real_start = reinterpret_cast<uintptr_t>(real);
  const auto spectrum_start = reinterpret_cast<uintptr_t>(spectrum);
  if (real_start < spectrum_start + spectrum_bytes && spectrum_start < real_start + real_bytes) {
    return Refuse(CUFFT_INVALID_VALUE, "input and output overlap");
  }
  return CUFFT_SUCCESS;
}

cufftResult Execute(cufftHandle handle, cufftType type, float* real, cufftComplex* spectrum) {
  return With(handle, [&](Plan& plan) {
    if (!plan.made) return Refuse(CUFFT_INVALID_PLAN, "plan {} has no transform yet", handle);
    if (plan.type != type) return Refuse(CUFFT_INVALID_PLAN, "plan {} is of another type", handle);
    if (const auto result = CheckPlaces(plan, real, spectrum); result != CUFFT_SUCCESS) {
      return result;
    }
    if (plan.work_bytes > 0 && plan.work == nullptr) {
      return Refuse(CUFFT_NO_WORKSPACE, "plan {} needs {} bytes", handle, plan.work_bytes);
    }
    if (!IsDeviceRange(plan.work, plan.work_bytes)) {
      return Refuse(CUFFT_INVALID_VALUE, "the work area: {} bytes at {} are not device memory",
                    plan.work_bytes, plan.work);
    }
    auto* const spectrum_floats = reinterpret_cast<float*>(spectrum);
    const bool forward = type == CUFFT_R2C;
    const cudaError_t taken = wavefield::emulation::Enqueue(
        plan.stream, forward ? "cufftExecR2C" : "cufftExecC2R",
        [plan, in = forward ? real : spectrum_floats, out = forward ? spectrum_floats : real] {
          Run(plan, in, out);
        });
    return taken == cudaSuccess ? CUFFT_SUCCESS
                                : Refuse(CUFFT_EXEC_FAILED, "the stream does not take the plan");
  });
}

}  // namespace

extern "C" {

cufftResult cufftGetVersion(int* version) {
  if (version == nullptr) return Refuse(CUFFT_INVALID_VALUE, "no place for the version");
  *version = CUFFT_VERSION;
  return CUFFT_SUCCESS;
}

cufftResult cufftCreate(cufftHandle* handle) {
  if (handle == nullptr) return Refuse(CUFFT_INVALID_VALUE, "no place for the handle");
  const std::lock_guard lock(mutex);
  *handle = ++last_handle;
  plans[*handle] = {};
  return CUFFT_SUCCESS;
}

cufftResult cufftDestroy(cufftHandle handle) {
  const std::lock_guard lock(mutex);
  const auto found = plans.find(handle);
  if (found == plans.end()) return Refuse(CUFFT_INVALID_PLAN, "no plan {}", handle);
  if (found->second.own_work) cudaFree(found->second.work);
  plans.erase(found);
  return CUFFT_SUCCESS;
}

cufftResult cufftSetAutoAllocation(cufftHandle handle, int allocate) {
  return With(handle, [&](Plan& plan) {
    if (plan.made) return Refuse(CUFFT_INVALID_PLAN, "plan {} is made already", handle);
    plan.own_work = allocate != 0;
    return CUFFT_SUCCESS;
  });
}

cufftResult cufftMakePlanMany64(cufftHandle handle, int rank, long long* n, long long* inembed,
                                long long istride, long long idist, long long* onembed,
                                long long ostride, long long odist, cufftType type, long long batch,
                                size_t* work_bytes) {
  return With(handle, [&](Plan& plan) {
    if (plan.made) return Refuse(CUFFT_INVALID_PLAN, "plan {} is made already", handle);
    if (type != CUFFT_R2C && type != CUFFT_C2R) {
      return Refuse(CUFFT_INVALID_TYPE, "type {}", static_cast<int>(type));
    }
    if (n == nullptr || work_bytes == nullptr || (inembed == nullptr) != (onembed == nullptr)) {
      return Refuse(CUFFT_INVALID_VALUE, "a plan lacks an argument");
    }
    if (rank != 1) return Refuse(CUFFT_NOT_IMPLEMENTED, "rank {}", rank);
    if (n[0] < 1 || batch < 1) {
      return Refuse(CUFFT_INVALID_SIZE, "{} transforms of length {}", batch, n[0]);
    }
    if (!HasSmallFactors(n[0])) {
      return Refuse(CUFFT_NOT_SUPPORTED, "length {} has a prime factor above 7", n[0]);
    }
    const bool forward = type == CUFFT_R2C;
    const int64_t bins = n[0] / 2 + 1;
    plan.real = {n[0], 1, n[0]};
    plan.spectrum = {bins, 1, bins};
    if (inembed != nullptr) {
      Rows& in = forward ? plan.real : plan.spectrum;
      Rows& out = forward ? plan.spectrum : plan.real;
      in = {in.length, istride, idist};
      out = {out.length, ostride, odist};
      if (inembed[0] < in.length || onembed[0] < out.length) {
        return Refuse(CUFFT_INVALID_SIZE, "rows of {} and {} numbers for {} and {}", inembed[0],
                      onembed[0], in.length, out.length);
      }
      if (istride < 1 || ostride < 1 || idist < 0 || odist < 0 || out.overlap(batch)) {
        return Refuse(CUFFT_INVALID_SIZE, "strides {} and {}, distances {} and {}", istride,
                      ostride, idist, odist);
      }
    }
    plan.type = type;
    plan.n = n[0];
    plan.batch = batch;
    plan.work_bytes = static_cast<size_t>(bins * batch) * sizeof(cufftComplex);
    if (plan.own_work && cudaMalloc(&plan.work, plan.work_bytes) != cudaSuccess) {
      return Refuse(CUFFT_ALLOC_FAILED, "no memory for {} bytes of work area", plan.work_bytes);
    }
    plan.made = true;
    *work_bytes = plan.work_bytes;
    return CUFFT_SUCCESS;
  });
}

cufftResult cufftGetSize(cufftHandle handle, size_t* work_bytes) {
  return With(handle, [&](Plan& plan) {
    if (!plan.made) return Refuse(CUFFT_INVALID_PLAN, "plan {} has no transform yet", handle);
    if (work_bytes == nullptr) return Refuse(CUFFT_INVALID_VALUE, "no place for the size");
    *work_bytes = plan.work_bytes;
    return CUFFT_SUCCESS;
  });
}

cufftResult cufftSetWorkArea(cufftHandle handle, void* work) {
  return With(handle, [&](Plan& plan) {
    if (!plan.made) return Refuse(CUFFT_INVALID_PLAN, "plan {} has no transform yet", handle);
    if (reinterpret_cast<uintptr_t>(work) % (2 * kAlignment) != 0) {
      return Refuse(CUFFT_INVALID_VALUE, "the work area at {} is not aligned to {} bytes", work,
                    2 * kAlignment);
    }
    if (plan.own_work) cudaFree(plan.work);
    plan.own_work = false;
    plan.work = work;
    return CUFFT_SUCCESS;
  });
}

cufftResult cufftSetStream(cufftHandle handle, cudaStream_t stream) {
  return With(handle, [&](Plan& plan) {
    if (wavefield::emulation::DeviceOf(stream) < 0) {
      return Refuse(CUFFT_INVALID_VALUE, "not a stream");
    }
    plan.stream = stream;
    return CUFFT_SUCCESS;
  });
}

cufftResult cufftExecR2C(cufftHandle handle, cufftReal* in, cufftComplex* out) {
  return Execute(handle, CUFFT_R2C, in, out);
}

cufftResult cufftExecC2R(cufftHandle handle, cufftComplex* in, cufftReal* out) {
  return Execute(handle, CUFFT_C2R, out, in);
}

}  // extern "C"
