#include "core/backend/cuda/cuda_backend.h"

#include <algorithm>

#include "core/backend/contract.h"
#include "core/backend/cuda/errors.h"

namespace wavefield {

int CudaBackend::Use(int device) {
  WF_CUDA(cudaSetDevice(device));
  return device;
}

CudaBackend::CudaBackend(int device) : device_(Use(device)) {}

std::string CudaBackend::fingerprint() const {
  cudaDeviceProp device{};
  WF_CUDA(cudaGetDeviceProperties(&device, device_));
  int runtime = 0, fft = 0;
  WF_CUDA(cudaRuntimeGetVersion(&runtime));
  WF_CUDA(cufftGetVersion(&fft));
  return std::string(device.name) + " sm_" + std::to_string(device.major) +
         std::to_string(device.minor) + " CUDA " + std::to_string(runtime) + " cuBLASLt " +
         std::to_string(cublasLtGetVersion()) + " cuFFT " + std::to_string(fft);
}

void* CudaBackend::Allocate(size_t bytes) {
  void* data = nullptr;
  const cudaError_t result = cudaMalloc(&data, std::max<size_t>(bytes, 1));
  cuda::Check(result, ("cudaMalloc of " + std::to_string(bytes) + " bytes").c_str(), __FILE__,
              __LINE__);
  return data;
}

void CudaBackend::Free(void* data) {
  stream_.Synchronize();
  WF_CUDA(cudaFree(data));
}

void CudaBackend::CopyFromHost(const void* source, Tensor destination) {
  if (destination.bytes() == 0) return;
  WF_CUDA(cudaMemcpyAsync(destination.data, source, destination.bytes(), cudaMemcpyHostToDevice,
                          stream_));
  stream_.Synchronize();
}

void CudaBackend::CopyToHost(Tensor source, void* destination) {
  if (source.bytes() == 0) return;
  WF_CUDA(
      cudaMemcpyAsync(destination, source.data, source.bytes(), cudaMemcpyDeviceToHost, stream_));
  stream_.Synchronize();
}

void CudaBackend::Copy(Tensor source, Tensor destination) {
  contract::Copy(source, destination);
  if (source.bytes() == 0) return;
  WF_CUDA(cudaMemcpyAsync(destination.data, source.data, source.bytes(), cudaMemcpyDeviceToDevice,
                          stream_));
}

}  // namespace wavefield
