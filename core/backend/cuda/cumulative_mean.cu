// The mean of all rows so far, and its gradient: sums over chunks of tokens, what comes before each
// chunk, then the rows of each.

#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int64_t kChunk = 32;  // tokens
constexpr int kAhead = 8;       // chunks whose sums a thread reads at once

struct Sequences {
  int64_t batch, tokens, width;
  int64_t position;  // of the first token
  __host__ __device__ int64_t chunks() const { return (tokens + kChunk - 1) / kChunk; }
};

// The rows of one chunk in the order of summation: backward the last comes first, and a row counts
// by its share in the mean.
template <bool kBackward>
struct Chunk {
  __device__ Chunk(const Sequences& s, int64_t block)
      : first(block % s.chunks() * kChunk),
        rows(s.tokens - first < kChunk ? s.tokens - first : kChunk),
        first_row(block / s.chunks() * s.tokens + first),
        first_count(s.position + first + 1) {}
  __device__ int64_t Place(int64_t n) const { return kBackward ? rows - 1 - n : n; }
  __device__ int64_t Row(int64_t n) const { return first_row + Place(n); }
  __device__ float Count(int64_t n) const { return static_cast<float>(first_count + Place(n)); }
  __device__ float Term(float x, int64_t n) const { return kBackward ? x / Count(n) : x; }
  __device__ float Result(float sum, int64_t n) const { return kBackward ? sum : sum / Count(n); }

  int64_t first, rows, first_row, first_count;
};

// Reads x once, 1 or 2 FLOPs per element; writes 4 bytes of sums [batch, chunks, width] per column
// and chunk.
template <typename T, int N, bool kBackward>
__global__ void SumChunksKernel(const T* x, Sequences s, float* sums) {
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  if (column >= s.width) return;
  const Chunk<kBackward> chunk(s, blockIdx.x);
  Values<N> sum{};
  for (int64_t n = 0; n < chunk.rows; ++n) {
    const Values<N> values = LoadValues<N>(x + chunk.Row(n) * s.width + column);
    for (int j = 0; j < N; ++j) sum.at[j] += chunk.Term(values.at[j], n);
  }
  StoreValues(sums + blockIdx.x * s.width + column, sum);
}

// A thread per sequence and column: sums become the sums of all chunks before (backward: behind),
// and the state, which may be null, goes to the end. Reads and writes 4 bytes per sum, a FLOP each;
// in double, since a sequence may have many thousand chunks.
template <bool kBackward>
__global__ void CarryChunksKernel(Sequences s, float* sums, float* state) {
  const int64_t i = GridIndex(), chunks = s.chunks();
  if (i >= s.batch * s.width) return;
  sums += i / s.width * chunks * s.width + i % s.width;
  double sum = state == nullptr ? 0 : state[i];
  for (int64_t begin = 0; begin < chunks; begin += kAhead) {
    float own[kAhead];
    const auto place = [&](int64_t k) {
      return (kBackward ? chunks - 1 - begin - k : begin + k) * s.width;
    };
    for (int k = 0; k < kAhead; ++k) own[k] = begin + k < chunks ? sums[place(k)] : 0;
    for (int k = 0; k < kAhead && begin + k < chunks; ++k) {
      sums[place(k)] = static_cast<float>(sum);
      sum += own[k];
    }
  }
  if (state != nullptr) state[i] = static_cast<float>(sum);
}

// Reads x and writes y, which may be x; 2 FLOPs per element. Reads 4 bytes of sums per column and
// chunk.
template <typename T, int N, bool kBackward>
__global__ void CumulativeMeanKernel(const T* x, Sequences s, const float* sums, T* y) {
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  if (column >= s.width) return;
  const Chunk<kBackward> chunk(s, blockIdx.x);
  Values<N> sum = LoadValues<N>(sums + blockIdx.x * s.width + column), result;
  for (int64_t n = 0; n < chunk.rows; ++n) {
    const int64_t at = chunk.Row(n) * s.width + column;
    const Values<N> values = LoadValues<N>(x + at);
    for (int j = 0; j < N; ++j) {
      sum.at[j] += chunk.Term(values.at[j], n);
      result.at[j] = chunk.Result(sum.at[j], n);
    }
    StoreValues(y + at, result);
  }
}

template <bool kBackward>
void RunCumulativeMean(const Sequences& s, const Tensor& x, const Tensor& state, const Tensor& y,
                       float* sums, cudaStream_t stream) {
  float* past = state.empty() ? nullptr : state.f32();
  DispatchPackets(x.dtype, {x.data, y.data}, {s.width}, [&]<typename T, int N>() {
    const unsigned threads = RowThreads(s.width / N);
    const dim3 grid(static_cast<unsigned>(s.batch * s.chunks()), Blocks(s.width, threads, N));
    Launch({"SumChunksKernel", grid, threads}, stream, SumChunksKernel<T, N, kBackward>, Data<T>(x),
           s, sums);
    Launch({"CarryChunksKernel", Blocks(s.batch * s.width, kThreads), kThreads}, stream,
           CarryChunksKernel<kBackward>, s, sums, past);
    Launch({"CumulativeMeanKernel", grid, threads}, stream, CumulativeMeanKernel<T, N, kBackward>,
           Data<T>(x), s, sums, Data<T>(y));
  });
}

}  // namespace
}  // namespace cuda

void CudaBackend::CumulativeMeanForward(int64_t batch, int64_t position, Tensor x, Tensor state,
                                        Tensor mean) {
  const auto size = contract::CumulativeMean(batch, position, x, state, mean);
  WF_CHECK(position == 0 || !state.empty());
  const cuda::Sequences s{batch, size.tokens, x.shape[1], position};
  const ArenaScope scope(workspace_);
  float* sums = workspace_.Allocate({batch, s.chunks(), s.width}).f32();
  cuda::RunCumulativeMean<false>(s, x, state, mean, sums, stream_);
}

void CudaBackend::CumulativeMeanBackward(int64_t batch, int64_t position, Tensor dmean,
                                         Tensor dstate, Tensor dx) {
  const auto size = contract::CumulativeMean(batch, position, dmean, dstate, dx);
  const cuda::Sequences s{batch, size.tokens, dx.shape[1], position};
  const ArenaScope scope(workspace_);
  float* sums = workspace_.Allocate({batch, s.chunks(), s.width}).f32();
  cuda::RunCumulativeMean<true>(s, dmean, dstate, dx, sums, stream_);
}

}  // namespace wavefield
