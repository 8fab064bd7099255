#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/field_elementwise.h"
#include "core/backend/cuda/launch.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kThreads = 128;

// A block has a head: thread i adds sums i, i + kThreads, …, then the threads are added in pairs.
// ddamping may be null. Reads 24 bytes for each of items · parts.
__global__ void WaveSumsKernel(int64_t items, int64_t parts, const WaveSums* sums, float* ddamping,
                               float* dfrequency, float* dphase) {
  WaveSums* total = SharedMemory<WaveSums>();
  const int64_t head = blockIdx.x, heads = gridDim.x;
  WaveSums mine;
  const auto add = [](WaveSums& to, const WaveSums& from) {
    to.omega += from.omega;
    to.phi += from.phi;
    to.damping += from.damping;
  };
  for (int64_t i = threadIdx.x; i < items * parts; i += kThreads) {
    add(mine, sums[(i / parts * heads + head) * parts + i % parts]);
  }
  total[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) add(total[threadIdx.x], total[threadIdx.x + half]);
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  dfrequency[head] = static_cast<float>(dfrequency[head] + total->omega);
  dphase[head] = static_cast<float>(dphase[head] + total->phi);
  if (ddamping != nullptr) ddamping[head] = static_cast<float>(total->damping);
}

}  // namespace

void AddWaveSums(const ElementwiseBackward& call, int64_t items, int64_t parts,
                 const WaveSums* sums, cudaStream_t stream) {
  Launch({"WaveSumsKernel", static_cast<unsigned>(call.size.heads), kThreads,
          kThreads * sizeof(WaveSums)},
         stream, WaveSumsKernel, items, parts, sums,
         call.size.static_damping ? call.ddamping.f32() : nullptr, call.dfrequency.f32(),
         call.dphase.f32());
}

}  // namespace cuda

void CudaBackend::FieldElementwiseForward(Propagation way, int64_t batch, Tensor qkv,
                                          Tensor damping, Tensor frequency, Tensor phase,
                                          Tensor state, Tensor field) {
  const cuda::ElementwiseForward call{
      contract::FieldElementwiseForward(way, batch, qkv, damping, frequency, phase, state, field),
      qkv,
      damping,
      frequency,
      phase,
      state,
      field};
  if (call.size.tokens == 0) return;
  const ArenaScope scope(workspace_);
  switch (way) {
    case Propagation::kDirect:
      return cuda::FieldDirectForward(call, stream_);
    case Propagation::kFft:
      return cuda::FieldFftForward(call, fft_plans_, workspace_, stream_);
    default:
      return cuda::FieldRecurrenceForward(call, workspace_, stream_);
  }
}

void CudaBackend::FieldElementwiseBackward(Propagation way, int64_t batch, Tensor qkv,
                                           Tensor damping, Tensor frequency, Tensor phase,
                                           Tensor state, Tensor dfield, Tensor dstate, Tensor dqkv,
                                           Tensor ddamping, Tensor dfrequency, Tensor dphase) {
  const cuda::ElementwiseBackward call{
      contract::FieldElementwiseBackward(way, batch, qkv, damping, frequency, phase, state, dfield,
                                         dstate, dqkv, ddamping, dfrequency, dphase),
      qkv,
      damping,
      frequency,
      phase,
      state,
      dfield,
      dstate,
      dqkv,
      ddamping,
      dfrequency,
      dphase};
  if (call.size.tokens == 0) {
    if (call.size.static_damping) Fill(ddamping, 0.0f);
    return;
  }
  const ArenaScope scope(workspace_);
  switch (way) {
    case Propagation::kDirect:
      return cuda::FieldDirectBackward(call, workspace_, stream_);
    case Propagation::kFft:
      return cuda::FieldFftBackward(call, fft_plans_, workspace_, stream_);
    default:
      return cuda::FieldRecurrenceBackward(call, workspace_, stream_);
  }
}

}  // namespace wavefield
