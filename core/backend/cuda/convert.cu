#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/convert.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"

namespace wavefield::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;

// Reads n elements and writes n: 6n bytes. `packets`: both ranges start at a multiple of a packet's
// size.
template <typename From, typename To>
__global__ void ConvertKernel(const From* source, int64_t n, bool packets, To* destination) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kPerThread;
  if (packets && first + kPerThread <= n) {
    const auto from = *reinterpret_cast<const Packet<From, kPerThread>*>(source + first);
    Packet<To, kPerThread> to;
    for (int i = 0; i < kPerThread; ++i) Store(&to.element[i], Load(&from.element[i]));
    *reinterpret_cast<Packet<To, kPerThread>*>(destination + first) = to;
    return;
  }
  for (int64_t i = first; i < first + kPerThread && i < n; ++i) {
    Store(destination + i, Load(source + i));
  }
}

template <typename From, typename To>
void Run(const Tensor& source, const Tensor& destination, cudaStream_t stream) {
  const int64_t n = source.elements();
  const bool packets =
      reinterpret_cast<uintptr_t>(source.data) % sizeof(Packet<From, kPerThread>) == 0 &&
      reinterpret_cast<uintptr_t>(destination.data) % sizeof(Packet<To, kPerThread>) == 0;
  Launch({"ConvertKernel", Blocks(n, kThreads, kPerThread), kThreads}, stream,
         ConvertKernel<From, To>, Data<From>(source), n, packets, Data<To>(destination));
}

}  // namespace

void Convert(Tensor source, Tensor destination, cudaStream_t stream) {
  WF_CHECK_MSG(source.shape == destination.shape && source.dtype != destination.dtype,
               "Convert: " + source.shape.ToString() + " to " + destination.shape.ToString());
  if (source.dtype == DType::kFloat32) {
    WF_CHECK(destination.dtype == DType::kBFloat16);
    Run<float, BFloat16>(source, destination, stream);
  } else {
    WF_CHECK(source.dtype == DType::kBFloat16 && destination.dtype == DType::kFloat32);
    Run<BFloat16, float>(source, destination, stream);
  }
}

}  // namespace wavefield::cuda
