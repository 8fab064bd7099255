// The outer field, backward. Matrices of pairs are transposed: row i is the deposit, column j the
// reader.

#include <algorithm>

#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/field_elementwise.h"
#include "core/backend/cuda/field_outer.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"
#include "core/backend/wave_sums.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kWarps = kThreads / kWarp;

struct WaveGradient {
  float omega, phi;
};

// dy of a chunk as rows [C, d]. A block has a matrix: reads and writes an element per token and
// column.
template <typename T, int N>
__global__ void PackRowsKernel(OuterGroup group, const T* dy, Tiles<T> rows) {
  const int64_t matrix = blockIdx.x;
  const ChunkPlace place(group, matrix);
  const int chunk = static_cast<int>(group.chunk), d = static_cast<int>(group.head_width);
  const int64_t width = group.heads * d;
  dy += place.row * width + place.head * d;
  for (int e = threadIdx.x * N; e < chunk * d; e += blockDim.x * N) {
    const int j = e / d, i = e % d;
    Values<N> values{};
    if (j < place.count) values = LoadValues<N>(dy + j * width + i);
    StoreValues(rows.Row(matrix, j) + i, values);
  }
}

// Of all pairs of a chunk: weights = scores ⊙ M, dscores = dweights ⊙ M, and the gradients with
// respect to Λ, decays [matrices, C], and to the waves. A block has a matrix, a warp a deposit:
// reads 8 bytes for every other pair, writes two elements per pair; 18 FLOPs for every other pair.
template <typename T>
__global__ void PairGradientsKernel(OuterGroup group, const DampingSum* sums, WaveTable table,
                                    Tiles<float> scores, Tiles<float> dweights, Tiles<T> weights,
                                    Tiles<T> dscores, float* decays, WaveGradient* waves) {
  const int64_t matrix = blockIdx.x;
  const ChunkPlace place(group, matrix);
  const int chunk = static_cast<int>(group.chunk);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  auto* chunk_sums = SharedMemory<DampingSum>();              // [C]
  auto* heard = reinterpret_cast<Wave*>(chunk_sums + chunk);  // [C]
  auto* deposits = reinterpret_cast<float*>(heard + chunk);   // [C]: Σ over readers
  float* readers = deposits + chunk;                          // [kWarps, C]: Σ over deposits
  float* block_sums = readers + kWarps * chunk;               // [2, kWarps]
  for (int j = threadIdx.x; j < chunk; j += blockDim.x) {
    chunk_sums[j] = sums[matrix * chunk + j];
    heard[j] = table.Heard(place.head, j);
  }
  __syncthreads();
  WaveGradient gradient{0, 0};
  for (int j = lane; j < chunk; j += kWarp) readers[warp * chunk + j] = 0;
  for (int i = warp; i < chunk; i += kWarps) {
    float deposit = 0;
    for (int j = lane; j < chunk; j += kWarp) {
      float weight = 0, dscore = 0;
      if (j >= i) {
        const float score = scores.Row(matrix, i)[j], dweight = dweights.Row(matrix, i)[j];
        const Wave wave = Scaled(Decay(chunk_sums[i], chunk_sums[j]), heard[j - i]);
        weight = score * wave.cosine;
        dscore = dweight * wave.cosine;
        const float by_angle = -score * wave.sine * dweight;
        gradient.phi += by_angle;
        gradient.omega += static_cast<float>(j - i) * by_angle;
        if (j > i) {
          deposit += weight * dweight;
          readers[warp * chunk + j] += weight * dweight;
        }
      }
      Store(weights.Row(matrix, i) + j, weight);
      Store(dscores.Row(matrix, i) + j, dscore);
    }
    deposit = WarpSum(deposit);
    if (lane == 0) deposits[i] = deposit;
  }
  __syncthreads();
  for (int j = threadIdx.x; j < chunk; j += blockDim.x) {
    float sum = deposits[j];
    for (int w = 0; w < kWarps; ++w) sum -= readers[w * chunk + j];
    decays[matrix * chunk + j] = sum;
  }
  gradient.omega = BlockSum(gradient.omega, block_sums);
  gradient.phi = BlockSum(gradient.phi, block_sums + kWarps);
  if (threadIdx.x == 0) waves[matrix] = gradient;
}

// What the products leave for the end; dread, dfeed [C, 2d].
template <typename T>
struct OuterGradients {
  Tiles<float> dq, dk, dread, dfeed;
  Tiles<T> dv, fields, dfields;
  const float* decays;
  const WaveGradient* waves;
};

// x · (its gradient by way of x [cosine, sine]), the derivatives with respect to the logarithm of
// the factor and its angle; adds the gradient of x to dx [d]. For all lanes of a warp.
struct FactorGradient {
  float decay, angle;
};
template <typename T>
__device__ FactorGradient RowGradient(int d, Wave factor, const T* x, const float* gradient,
                                      const float* dx, T* out) {
  float first = 0, second = 0;
  for (int i = threadIdx.x % kWarp; i < d; i += kWarp) {
    const float value = Load(x + i), cosine = gradient[i], sine = gradient[d + i];
    first += value * cosine;
    second += value * sine;
    Store(out + i, dx[i] + factor.cosine * cosine + factor.sine * sine);
  }
  first = WarpSum(first);
  second = WarpSum(second);
  return {factor.cosine * first + factor.sine * second,
          factor.cosine * second - factor.sine * first};
}

// The gradients of one chunk: a block has a matrix, a warp a token. Per token and head reads 11d
// and writes 3d elements; 20d FLOPs; per chunk reads 4d² elements; 8d² FLOPs.
template <typename T>
__global__ void FinishGradientsKernel(OuterGroup group, const DampingSum* sums, WaveTable table,
                                      OuterInputs<T> in, OuterGradients<T> from, T* dqkv,
                                      float* ddamping, WaveSums* totals) {
  const int64_t matrix = blockIdx.x;
  const ChunkPlace place(group, matrix);
  const int chunk = static_cast<int>(group.chunk), d = static_cast<int>(group.head_width);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, last = place.count - 1;
  const int64_t width = group.heads * d;
  auto* decays = SharedMemory<float>();  // [C]: gradients of Λ
  float* feeds = decays + chunk;         // [C]: what feed rows add to them
  float* block_sums = feeds + chunk;     // [5, kWarps]
  sums += matrix * chunk;

  float along = 0, across = 0;  // of the field's passage
  for (int e = threadIdx.x; e < d * d; e += blockDim.x) {
    const int row = e / d, column = e % d;
    const float real = Load(from.fields.Row(matrix, row) + column);
    const float imaginary = Load(from.fields.Row(matrix, d + row) + column);
    const float dreal = Load(from.dfields.Row(matrix, row) + column);
    const float dimaginary = Load(from.dfields.Row(matrix, d + row) + column);
    along += dreal * real + dimaginary * imaginary;
    across += dimaginary * real - dreal * imaginary;
  }
  along = BlockSum(along, block_sums);
  across = BlockSum(across, block_sums + kWarps);

  WaveGradient gradient{0, 0};
  for (int j = warp; j < place.count; j += kWarps) {
    T* token = dqkv + (place.row + j) * 3 * width + place.head * d;
    const FactorGradient read =
        RowGradient(d, ReadFactor(place, sums, table, j), in.q.Row(matrix, j),
                    from.dread.Row(matrix, j), from.dq.Row(matrix, j), token);
    const FactorGradient feed =
        RowGradient(d, FeedFactor(place, sums, table, j), in.k.Row(matrix, j),
                    from.dfeed.Row(matrix, j), from.dk.Row(matrix, j), token + width);
    for (int i = lane; i < d; i += kWarp) {
      token[2 * width + i] = from.dv.Row(matrix, j)[i];
    }
    if (lane == 0) {
      decays[j] = from.decays[matrix * chunk + j] - read.decay + feed.decay;
      feeds[j] = feed.decay;
      // The sine of read rows is that of the negative angle.
      gradient.phi -= read.angle;
      gradient.omega +=
          static_cast<float>(last - j) * feed.angle - static_cast<float>(j + 1) * read.angle;
    }
  }
  gradient.omega = BlockSum(gradient.omega, block_sums + 2 * kWarps);  // a barrier for decays
  gradient.phi = BlockSum(gradient.phi, block_sums + 3 * kWarps);
  const Wave pass = PassageFactor(place, sums[last], table);
  float at_end = pass.cosine * along + pass.sine * across;
  for (int j = 0; j < place.count; ++j) at_end += feeds[j];
  gradient.omega += static_cast<float>(place.count) * (pass.cosine * across - pass.sine * along);

  float total = 0;
  for (int j = threadIdx.x; j < place.count; j += blockDim.x) {
    double slope = -at_end;
    for (int i = last; i >= j; --i) slope += decays[i];
    total += static_cast<float>(slope);
    if (group.damping_stride > 0) {
      ddamping[(place.row + j) * group.damping_stride + place.head] = static_cast<float>(slope);
    }
  }
  total = BlockSum(total, block_sums + 4 * kWarps);
  if (threadIdx.x > 0) return;
  const WaveGradient pairs = from.waves[matrix];
  totals[group.first * group.chunks + matrix] = {gradient.omega + pairs.omega,
                                                 gradient.phi + pairs.phi, total};
}

}  // namespace
}  // namespace cuda

void CudaBackend::FieldOuterBackward(Propagation way, int64_t batch, Tensor qkv, Tensor damping,
                                     Tensor frequency, Tensor phase, Tensor state, Tensor dy,
                                     Tensor dstate, Tensor dqkv, Tensor ddamping, Tensor dfrequency,
                                     Tensor dphase) {
  const auto size = contract::FieldOuterBackward(way, batch, qkv, damping, frequency, phase, state,
                                                 dy, dstate, dqkv, ddamping, dfrequency, dphase);
  if (size.tokens == 0) {  // states pass unchanged
    if (size.static_damping) Fill(ddamping, 0);
    return;
  }
  const int64_t all = size.batch * size.heads, d = size.head_width;
  const cuda::OuterScratch scratch(size.batch, size.tokens, size.heads, d,
                                   cuda::OuterChunk(way, size.tokens), SizeOf(qkv.dtype), true);
  const ArenaScope scope(workspace_);
  cuda::Room room = cuda::TakeRoom(workspace_, scratch.bytes);
  auto* totals = room.Take<WaveSums>(all * scratch.chunks);
  cuda::DispatchActivation(qkv.dtype, [&]<typename T>(T) {
    const int64_t most = scratch.items * scratch.chunks, c = scratch.chunk;
    const cuda::WaveTable table{room.Take<cuda::Wave>(size.heads * 2 * (c + 1)), c};
    auto* sums = room.Take<cuda::DampingSum>(most * c);
    auto* passages = room.Take<cuda::Wave>(most);
    const auto changes = room.TakeTiles<float>(most, 2 * d, d);
    const auto scores = room.TakeTiles<float>(most, c, c);
    const auto dweights = room.TakeTiles<float>(most, c, c);
    const auto dscores = room.TakeTiles<T>(most, c, c);
    const auto weights = room.TakeTiles<T>(most, c, c + 2 * d);    // [weights | feed rows]
    const auto gradients = room.TakeTiles<T>(most, c + 2 * d, d);  // [dy; dfields]
    const cuda::OuterInputs<T> in{room.TakeTiles<T>(most, c, d), room.TakeTiles<T>(most, c, d),
                                  room.TakeTiles<T>(most, c, d), room.TakeTiles<T>(most, c, 2 * d),
                                  weights.RightOf(c)};
    auto* decays = room.Take<float>(most * c);
    auto* waves = room.Take<cuda::WaveGradient>(most);
    const cuda::OuterGradients<T> out{room.TakeTiles<float>(most, c, d),
                                      room.TakeTiles<float>(most, c, d),
                                      room.TakeTiles<float>(most, c, 2 * d),
                                      room.TakeTiles<float>(most, c, 2 * d),
                                      room.TakeTiles<T>(most, c, d),
                                      room.TakeTiles<T>(most, 2 * d, d),
                                      gradients.Below(c),
                                      decays,
                                      waves};

    cuda::FillWaveTable(frequency, phase, table, stream_);
    for (int64_t first = 0; first < all; first += scratch.items) {
      const cuda::OuterGroup group{
          size.tokens, size.heads,     d,     size.damping_stride(),
          c,           scratch.chunks, first, std::min(scratch.items, all - first)};
      const int64_t matrices = group.matrices();
      const auto blocks = static_cast<unsigned>(matrices);
      const auto multiply = [&](int64_t m, int64_t n, int64_t k, const cuda::Matrix& a,
                                const cuda::Matrix& b, const cuda::Matrix& to) {
        gemms_.Run({m, n, k, a, b, to, matrices}, stream_);
      };
      cuda::SumDampings(group, damping, table, sums, passages, stream_);
      cuda::PackInputs(group, qkv, sums, table, in, stream_);
      cuda::WithPackets<T>(group, dy.data, [&]<int N>(cuda::Count<N>) {
        cuda::Launch({"PackRowsKernel", blocks, cuda::kThreads}, stream_,
                     cuda::PackRowsKernel<T, N>, group, cuda::Data<T>(dy), gradients);
      });

      multiply(2 * d, d, c, in.feed.AsMatrix(true), in.v.AsMatrix(), changes.AsMatrix());
      cuda::ScanFields(group, passages, changes, cuda::Data<float>(state),
                       static_cast<float*>(nullptr), out.fields, stream_);
      multiply(2 * d, d, c, in.read.AsMatrix(true), gradients.AsMatrix(), changes.AsMatrix());
      cuda::ScanFieldGradients(group, passages, changes, cuda::Data<float>(dstate), out.dfields,
                               stream_);

      multiply(c, c, d, in.k.AsMatrix(), in.q.AsMatrix(true), scores.AsMatrix());
      multiply(c, c, d, in.v.AsMatrix(), gradients.AsMatrix(true), dweights.AsMatrix());
      const size_t pair_bytes =
          c * (sizeof(cuda::DampingSum) + sizeof(cuda::Wave) + (1 + cuda::kWarps) * sizeof(float)) +
          2 * cuda::kWarps * sizeof(float);
      cuda::Launch({"PairGradientsKernel", blocks, cuda::kThreads, pair_bytes}, stream_,
                   cuda::PairGradientsKernel<T>, group, sums, table, scores, dweights, weights,
                   dscores, decays, waves);

      multiply(c, d, c, dscores.AsMatrix(true), in.k.AsMatrix(), out.dq.AsMatrix());
      multiply(c, d, c, dscores.AsMatrix(), in.q.AsMatrix(), out.dk.AsMatrix());
      multiply(c, d, c + 2 * d, weights.AsMatrix(), gradients.AsMatrix(), out.dv.AsMatrix());
      multiply(c, 2 * d, d, gradients.AsMatrix(), out.fields.AsMatrix(true), out.dread.AsMatrix());
      multiply(c, 2 * d, d, in.v.AsMatrix(), out.dfields.AsMatrix(true), out.dfeed.AsMatrix());
      const size_t finish_bytes = (2 * c + 5 * cuda::kWarps) * sizeof(float);
      cuda::Launch({"FinishGradientsKernel", blocks, cuda::kThreads, finish_bytes}, stream_,
                   cuda::FinishGradientsKernel<T>, group, sums, table, in, out, cuda::Data<T>(dqkv),
                   ddamping.f32(), totals);
    }
  });
  cuda::AddWaveSums({.size = size,
                     .qkv = qkv,
                     .damping = damping,
                     .frequency = frequency,
                     .phase = phase,
                     .state = state,
                     .dfield = dy,
                     .dstate = dstate,
                     .dqkv = dqkv,
                     .ddamping = ddamping,
                     .dfrequency = dfrequency,
                     .dphase = dphase},
                    size.batch, scratch.chunks, totals, stream_);
}

}  // namespace wavefield
