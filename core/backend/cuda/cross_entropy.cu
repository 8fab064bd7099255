#include <string>

#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kMostThreads = 1024;

// Of a part of a row: its largest element, the first place where that stands, and Σ exp(x −
// largest).
struct Peak {
  float largest = -INFINITY;
  float sum = 0;
  int index = 0x7fffffff;
};

// exp(x − largest), where largest may be −∞ for a part without elements above that.
__device__ inline float Shifted(float x, float largest) {
  return expf(largest == -INFINITY ? x : x - largest);
}

template <int N>
__device__ inline void Include(const Values<N>& values, int index, Peak& peak) {
  float largest = peak.largest;
  for (int j = 0; j < N; ++j) {
    if (values.at[j] > largest) {
      largest = values.at[j];
      peak.index = index + j;
    }
  }
  if (largest > peak.largest) {
    peak.sum *= expf(peak.largest - largest);
    peak.largest = largest;
  }
  for (int j = 0; j < N; ++j) peak.sum += Shifted(values.at[j], largest);
}

__device__ inline Peak Union(Peak a, Peak b) {
  if (b.largest > a.largest || (b.largest == a.largest && b.index < a.index)) {
    const Peak swapped = a;
    a = b;
    b = swapped;
  }
  a.sum += a.largest == b.largest ? b.sum : b.sum * expf(b.largest - a.largest);
  return a;
}

// Over the block; every thread gets the result. shared: one for each warp, and one.
__device__ inline Peak BlockUnion(Peak peak, Peak* shared) {
  const auto warp_union = [](Peak p) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      Peak other;
      other.largest = __shfl_xor_sync(kFullMask, p.largest, offset);
      other.sum = __shfl_xor_sync(kFullMask, p.sum, offset);
      other.index = __shfl_xor_sync(kFullMask, p.index, offset);
      p = Union(p, other);
    }
    return p;
  };
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int warps = blockDim.x / kWarp;
  peak = warp_union(peak);
  if (lane == 0) shared[warp] = peak;
  __syncthreads();
  if (warp == 0) {
    peak = warp_union(lane < warps ? shared[lane] : Peak{});
    if (lane == 0) shared[warps] = peak;
  }
  __syncthreads();
  return shared[warps];
}

// The block's threads share the packets of a row that may begin anywhere: body(Count<N>, i) for
// those aligned to 16 bytes, body(Count<1>, i) for what is before and behind them.
template <typename T, typename Body>
__device__ inline void ForRow(const T* row, int width, Body body) {
  constexpr int N = kPacket<T>;
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(row) / sizeof(T) % N);
  const int head = past == 0 ? 0 : (N - past < width ? N - past : width);
  const int thread = threadIdx.x, packets = (width - head) / N, tail = head + packets * N;
  if (thread < head) body(Count<1>{}, thread);
  for (int p = thread; p < packets; p += blockDim.x) body(Count<N>{}, head + p * N);
  if (tail + thread < width) body(Count<1>{}, tail + thread);
}

// Reads a row, 3 FLOPs and an exponential per element; with kBackward reads it again (from the L2
// cache) and writes it, 3 FLOPs and an exponential more.
template <typename T, bool kBackward>
__global__ void CrossEntropyKernel(LossOptions options, float scale, T* logits,
                                   const int32_t* targets, int width, float* row_loss,
                                   int32_t* row_correct) {
  T* row = logits + static_cast<int64_t>(blockIdx.x) * width;
  const int target = targets[blockIdx.x];
  if (target < -1 || target >= width) __trap();
  if (target < 0) {
    if (threadIdx.x == 0) {
      row_loss[blockIdx.x] = 0;
      row_correct[blockIdx.x] = 0;
    }
    if constexpr (kBackward) {
      ForRow(row, width, [&]<int N>(Count<N>, int i) { StoreValues(row + i, Values<N>{}); });
    }
    return;
  }
  const float target_logit = Load(row + target);
  Peak peak;
  ForRow(row, width, [&]<int N>(Count<N>, int i) { Include(LoadValues<N>(row + i), i, peak); });
  peak = BlockUnion(peak, SharedMemory<Peak>());
  const float log_shifted = logf(peak.sum);
  if (threadIdx.x == 0) {
    row_loss[blockIdx.x] = log_shifted + (peak.largest - target_logit);
    row_correct[blockIdx.x] = peak.index == target ? 1 : 0;
  }
  if constexpr (kBackward) {
    // probability · (1 + 2 · z_loss · log Σ exp) − smoothed target.
    const float pull = 1.0f + 2.0f * options.z_loss * (log_shifted + peak.largest);
    const float factor = scale * pull / peak.sum;
    const float floor = scale * options.label_smoothing / static_cast<float>(width);
    const float wanted = scale * (1.0f - options.label_smoothing);
    ForRow(row, width, [&]<int N>(Count<N>, int i) {
      Values<N> values = LoadValues<N>(row + i);
      for (int j = 0; j < N; ++j) {
        values.at[j] = expf(values.at[j] - peak.largest) * factor - floor;
        if (i + j == target) values.at[j] -= wanted;
      }
      StoreValues(row + i, values);
    });
  }
}

template <bool kBackward>
void CrossEntropy(const LossOptions& options, float scale, const Tensor& logits,
                  const Tensor& targets, const Tensor& row_loss, const Tensor& row_correct,
                  cudaStream_t stream) {
  const auto size = contract::CrossEntropy(logits, targets, row_loss, row_correct);
  WF_CHECK_MSG(size.width <= INT32_MAX, "CrossEntropy: rows of " + std::to_string(size.width));
  DispatchActivation(logits.dtype, [&]<typename T>(T) {
    const unsigned threads = RowThreads(size.width / kPacket<T>, kMostThreads);
    Launch({"CrossEntropyKernel", static_cast<unsigned>(size.rows), threads,
            (threads / kWarp + 1) * sizeof(Peak)},
           stream, CrossEntropyKernel<T, kBackward>, options, scale, Data<T>(logits), targets.i32(),
           static_cast<int>(size.width), row_loss.f32(), row_correct.i32());
  });
}

}  // namespace
}  // namespace cuda

void CudaBackend::CrossEntropyForward(Tensor logits, Tensor targets, Tensor row_loss,
                                      Tensor row_correct) {
  cuda::CrossEntropy<false>({}, 0, logits, targets, row_loss, row_correct, stream_);
}

void CudaBackend::CrossEntropyForwardBackward(const LossOptions& options, float scale,
                                              Tensor logits, Tensor targets, Tensor row_loss,
                                              Tensor row_correct) {
  cuda::CrossEntropy<true>(options, scale, logits, targets, row_loss, row_correct, stream_);
}

}  // namespace wavefield
