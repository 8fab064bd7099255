// The outer field, forward.

#include <algorithm>

#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/field_outer.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kStepRows = 8;  // of the field, at once

// One token: S = e^(−λ+iω) S + k·vᵀ, y = Re(e^(iφ) qᵀ·S). A block has 32 columns of an item's
// field: reads and writes 16 bytes and takes 15 FLOPs per complex element. state may be null.
template <typename T>
__global__ void StepKernel(int64_t heads, int64_t d, int64_t damping_stride, const T* qkv,
                           const float* damping, const float* frequency, const float* phase,
                           float* state, T* y) {
  float* sums = SharedMemory<float>();  // [kStepRows, kWarp]
  const int64_t item = blockIdx.x, head = item % heads, sequence = item / heads;
  const int64_t width = heads * d;
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWarp + threadIdx.x;
  const float decay = expf(-damping[sequence * damping_stride + head]);
  const Wave pass = Scaled(decay, {cosf(frequency[head]), sinf(frequency[head])});
  const Wave heard{cosf(phase[head]), sinf(phase[head])};
  const T* q = qkv + sequence * 3 * width + head * d;
  const T* k = q + width;
  float sum = 0;
  if (column < d) {
    const float v = Load(q + 2 * width + column);
    for (int64_t row = threadIdx.y; row < d; row += kStepRows) {
      Wave field{Load(k + row) * v, 0};
      if (state != nullptr) {
        float* real = state + (item * 2 * d + row) * d + column;
        float* imaginary = real + d * d;
        const Wave before{*real, *imaginary};
        field.cosine += pass.cosine * before.cosine - pass.sine * before.sine;
        field.sine += pass.sine * before.cosine + pass.cosine * before.sine;
        *real = field.cosine;
        *imaginary = field.sine;
      }
      sum += Load(q + row) * (heard.cosine * field.cosine - heard.sine * field.sine);
    }
  }
  sums[threadIdx.y * kWarp + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= d) return;
  for (int row = 1; row < kStepRows; ++row) sum += sums[row * kWarp + threadIdx.x];
  Store(y + sequence * width + head * d + column, sum);
}

// weights [C, C] = scores ⊙ M. A block has a matrix: reads 4 bytes for every other pair, writes an
// element per pair; 6 FLOPs for every other pair.
template <typename T>
__global__ void WeighPairsKernel(OuterGroup group, const DampingSum* sums, WaveTable table,
                                 Tiles<float> scores, Tiles<T> weights) {
  const int64_t matrix = blockIdx.x;
  const ChunkPlace place(group, matrix);
  const int chunk = static_cast<int>(group.chunk);
  auto* chunk_sums = SharedMemory<DampingSum>();                 // [C]
  auto* cosines = reinterpret_cast<float*>(chunk_sums + chunk);  // [C]
  for (int j = threadIdx.x; j < chunk; j += blockDim.x) {
    chunk_sums[j] = sums[matrix * chunk + j];
    cosines[j] = table.Heard(place.head, j).cosine;
  }
  __syncthreads();
  for (int e = threadIdx.x; e < chunk * chunk; e += blockDim.x) {
    const int j = e / chunk, i = e % chunk;
    float weight = 0;
    if (i <= j) {
      weight = scores.Row(matrix, j)[i] * Decay(chunk_sums[i], chunk_sums[j]) * cosines[j - i];
    }
    Store(weights.Row(matrix, j) + i, weight);
  }
}

// Rows [C, d] of a chunk to y. A block has a matrix: reads and writes an element per token and
// column.
template <typename T, int N>
__global__ void UnpackRowsKernel(OuterGroup group, Tiles<T> rows, T* y) {
  const int64_t matrix = blockIdx.x;
  const ChunkPlace place(group, matrix);
  const int d = static_cast<int>(group.head_width);
  const int64_t width = group.heads * d;
  y += place.row * width + place.head * d;
  for (int e = threadIdx.x * N; e < place.count * d; e += blockDim.x * N) {
    const int j = e / d, i = e % d;
    StoreValues(y + j * width + i, LoadValues<N>(rows.Row(matrix, j) + i));
  }
}

}  // namespace
}  // namespace cuda

void CudaBackend::FieldOuterForward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                    Tensor frequency, Tensor phase, Tensor state, Tensor y) {
  const auto size =
      contract::FieldOuterForward(way, batch, qkv, damping, frequency, phase, state, y);
  if (size.tokens == 0) return;
  const int64_t all = size.batch * size.heads, d = size.head_width;
  if (size.tokens == 1 && way == Propagation::kChunked) {
    cuda::DispatchActivation(qkv.dtype, [&]<typename T>(T) {
      const dim3 grid(static_cast<unsigned>(all), cuda::Blocks(d, cuda::kWarp));
      const dim3 block(cuda::kWarp, cuda::kStepRows);
      cuda::Launch({"StepKernel", grid, block, cuda::kStepRows * cuda::kWarp * sizeof(float)},
                   stream_, cuda::StepKernel<T>, size.heads, d, size.damping_stride(),
                   cuda::Data<T>(qkv), damping.f32(), frequency.f32(), phase.f32(),
                   cuda::Data<float>(state), cuda::Data<T>(y));
    });
    return;
  }
  const cuda::OuterScratch scratch(size.batch, size.tokens, size.heads, d,
                                   cuda::OuterChunk(way, size.tokens), SizeOf(qkv.dtype), false);
  const ArenaScope scope(workspace_);
  cuda::Room room = cuda::TakeRoom(workspace_, scratch.bytes);
  cuda::DispatchActivation(qkv.dtype, [&]<typename T>(T) {
    const int64_t most = scratch.items * scratch.chunks, c = scratch.chunk;
    const cuda::WaveTable table{room.Take<cuda::Wave>(size.heads * 2 * (c + 1)), c};
    auto* sums = room.Take<cuda::DampingSum>(most * c);
    auto* passages = room.Take<cuda::Wave>(most);
    const auto changes = room.TakeTiles<float>(most, 2 * d, d);
    const auto scores = room.TakeTiles<float>(most, c, c);
    const auto weights = room.TakeTiles<T>(most, c, c + 2 * d);  // [weights | read rows]
    const auto values = room.TakeTiles<T>(most, c + 2 * d, d);   // [v; fields]
    const cuda::OuterInputs<T> in{room.TakeTiles<T>(most, c, d), room.TakeTiles<T>(most, c, d),
                                  values, weights.RightOf(c), room.TakeTiles<T>(most, c, 2 * d)};
    const auto out = room.TakeTiles<T>(most, c, d);

    cuda::FillWaveTable(frequency, phase, table, stream_);
    for (int64_t first = 0; first < all; first += scratch.items) {
      const cuda::OuterGroup group{
          size.tokens, size.heads,     d,     size.damping_stride(),
          c,           scratch.chunks, first, std::min(scratch.items, all - first)};
      const int64_t matrices = group.matrices();
      const auto blocks = static_cast<unsigned>(matrices);
      cuda::SumDampings(group, damping, table, sums, passages, stream_);
      cuda::PackInputs(group, qkv, sums, table, in, stream_);
      gemms_.Run({c, c, d, in.q.AsMatrix(), in.k.AsMatrix(true), scores.AsMatrix(), matrices},
                 stream_);
      cuda::Launch({"WeighPairsKernel", blocks, cuda::kThreads,
                    c * (sizeof(cuda::DampingSum) + sizeof(float))},
                   stream_, cuda::WeighPairsKernel<T>, group, sums, table, scores, weights);
      gemms_.Run(
          {2 * d, d, c, in.feed.AsMatrix(true), in.v.AsMatrix(), changes.AsMatrix(), matrices},
          stream_);
      cuda::ScanFields(group, passages, changes, cuda::Data<float>(state), cuda::Data<float>(state),
                       values.Below(c), stream_);
      gemms_.Run({c, d, c + 2 * d, weights.AsMatrix(), values.AsMatrix(), out.AsMatrix(), matrices},
                 stream_);
      cuda::WithPackets<T>(group, y.data, [&]<int N>(cuda::Count<N>) {
        cuda::Launch({"UnpackRowsKernel", blocks, cuda::kThreads}, stream_,
                     cuda::UnpackRowsKernel<T, N>, group, out, cuda::Data<T>(y));
      });
    }
  });
}

}  // namespace wavefield
