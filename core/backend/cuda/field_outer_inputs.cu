// The outer field: decays, waves, packed inputs and the scans over chunks.

#include <string>

#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/field_outer.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield::cuda {
namespace {

__device__ Wave WaveOf(double angle) {
  return {static_cast<float>(cos(angle)), static_cast<float>(sin(angle))};
}

// Writes 16 bytes and takes some 100 FLOPs in double per head and distance.
__global__ void WaveTableKernel(const float* frequency, const float* phase, int64_t heads,
                                WaveTable table) {
  const int64_t i = GridIndex(), places = table.chunk + 1;
  if (i >= heads * places) return;
  const int64_t head = i / places, n = i % places;
  const double angle = static_cast<double>(frequency[head]) * static_cast<double>(n);
  table.data[2 * head * places + n] = WaveOf(angle);
  table.data[(2 * head + 1) * places + n] = WaveOf(angle + phase[head]);
}

// A block has a matrix. Reads 4 bytes (C/2 times, from cache) and writes 8 per token and head.
__global__ void DampingSumsKernel(OuterGroup group, const float* damping, WaveTable table,
                                  DampingSum* sums, Wave* passages) {
  const int64_t matrix = blockIdx.x;
  const ChunkPlace place(group, matrix);
  damping += place.row * group.damping_stride + place.head;
  for (int j = threadIdx.x; j < group.chunk; j += blockDim.x) {
    double sum = 0;
    for (int i = 0; i <= j && i < place.count; ++i) sum += damping[i * group.damping_stride];
    const auto high = static_cast<float>(sum);
    const DampingSum parts{high, static_cast<float>(sum - high)};
    sums[matrix * group.chunk + j] = parts;
    if (j == place.count - 1) passages[matrix] = PassageFactor(place, parts, table);
  }
}

// x times a factor, into two halves of a row of 2d.
template <typename T, int N>
__device__ void StoreScaled(const Values<N>& x, Wave factor, int d, T* row) {
  Values<N> cosines, sines;
  for (int n = 0; n < N; ++n) {
    cosines.at[n] = x.at[n] * factor.cosine;
    sines.at[n] = x.at[n] * factor.sine;
  }
  StoreValues(row, cosines);
  StoreValues(row + d, sines);
}

// A block has a matrix. Per token and head reads 3d elements and writes 7d; 4d FLOPs.
template <typename T, int N>
__global__ void PackInputsKernel(OuterGroup group, const T* qkv, const DampingSum* sums,
                                 WaveTable table, OuterInputs<T> out) {
  const int64_t matrix = blockIdx.x;
  const ChunkPlace place(group, matrix);
  const int chunk = static_cast<int>(group.chunk), d = static_cast<int>(group.head_width);
  const int64_t width = group.heads * d;
  Wave* read = SharedMemory<Wave>();  // [C]
  Wave* feed = read + chunk;          // [C]
  sums += matrix * chunk;
  for (int j = threadIdx.x; j < chunk; j += blockDim.x) {
    const bool inside = j < place.count;
    read[j] = inside ? ReadFactor(place, sums, table, j) : Wave{0, 0};
    feed[j] = inside ? FeedFactor(place, sums, table, j) : Wave{0, 0};
  }
  __syncthreads();
  qkv += place.row * 3 * width + place.head * d;
  for (int e = threadIdx.x * N; e < chunk * d; e += blockDim.x * N) {
    const int j = e / d, i = e % d;
    Values<N> q{}, k{}, v{};
    if (j < place.count) {
      const T* token = qkv + j * 3 * width + i;
      q = LoadValues<N>(token);
      k = LoadValues<N>(token + width);
      v = LoadValues<N>(token + 2 * width);
    }
    StoreValues(out.q.Row(matrix, j) + i, q);
    StoreValues(out.k.Row(matrix, j) + i, k);
    StoreValues(out.v.Row(matrix, j) + i, v);
    StoreScaled(q, read[j], d, out.read.Row(matrix, j) + i);
    StoreScaled(k, feed[j], d, out.feed.Row(matrix, j) + i);
  }
}

// The field before each chunk, in order; kReverse: its gradient after each chunk, from the last to
// the first, by the conjugate factors. first: what precedes, or null for 0; last: where what comes
// out at the end goes, or null. A thread has one complex element of an item's field: reads 16 bytes
// (8 of them in common with its warp) and writes two elements per chunk; 8 FLOPs.
template <typename T, bool kReverse>
__global__ void ScanKernel(OuterGroup group, const Wave* __restrict__ passages,
                           Tiles<float> changes, const float* first, float* last, Tiles<T> fields) {
  constexpr int kAhead = 16;  // chunks read before they are needed
  const int64_t d = group.head_width, elements = d * d, index = GridIndex();
  if (index >= group.items * elements) return;
  const int64_t item = index / elements, element = index % elements;
  const int64_t row = element / d, column = element % d;
  const int64_t at = (group.first + item) * 2 * elements + element;
  const int64_t start = item * group.chunks + (kReverse ? group.chunks - 1 : 0);
  const int64_t hop = kReverse ? -1 : 1;
  const int64_t change_half = d * changes.leading, field_half = d * fields.leading;
  const float* __restrict__ change = changes.Row(start, row) + column;
  T* __restrict__ field = fields.Row(start, row) + column;
  passages += start;
  Wave carry{0, 0};
  if (first != nullptr) carry = {first[at], first[at + elements]};
  for (int64_t c = 0; c < group.chunks; c += kAhead) {
    Wave own[kAhead], pass[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (c + i >= group.chunks) continue;
      const float* from = change + i * hop * changes.stride;
      own[i] = {from[0], from[change_half]};
      pass[i] = passages[i * hop];
      if (kReverse) pass[i].sine = -pass[i].sine;
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (c + i >= group.chunks) continue;
      T* to = field + i * hop * fields.stride;
      Store(to, carry.cosine);
      Store(to + field_half, carry.sine);
      carry = {pass[i].cosine * carry.cosine - pass[i].sine * carry.sine + own[i].cosine,
               pass[i].sine * carry.cosine + pass[i].cosine * carry.sine + own[i].sine};
    }
    change += kAhead * hop * changes.stride;
    field += kAhead * hop * fields.stride;
    passages += kAhead * hop;
  }
  if (last == nullptr) return;
  last[at] = carry.cosine;
  last[at + elements] = carry.sine;
}

// Small blocks, since one head alone has few elements.
constexpr int kScanThreads = 64;

unsigned ScanBlocks(const OuterGroup& group) {
  return Blocks(group.items * group.head_width * group.head_width, kScanThreads);
}

}  // namespace

int64_t OuterChunk(Propagation way, int64_t tokens) {
  if (way == Propagation::kChunked) return kOuterChunk;
  constexpr int64_t kMost = 2048, kAlignment = 8;
  WF_CHECK_MSG(tokens <= kMost, "FieldOuter: kDirect with " + std::to_string(tokens) +
                                    " tokens, at most " + std::to_string(kMost) +
                                    " on this device; use kChunked");
  return (tokens + kAlignment - 1) / kAlignment * kAlignment;
}

void FillWaveTable(const Tensor& frequency, const Tensor& phase, WaveTable table,
                   cudaStream_t stream) {
  const int64_t heads = frequency.elements();
  Launch({"WaveTableKernel", Blocks(heads * (table.chunk + 1), kThreads), kThreads}, stream,
         WaveTableKernel, frequency.f32(), phase.f32(), heads, table);
}

void SumDampings(const OuterGroup& group, const Tensor& damping, WaveTable table, DampingSum* sums,
                 Wave* passages, cudaStream_t stream) {
  Launch({"DampingSumsKernel", static_cast<unsigned>(group.matrices()), kOuterChunk}, stream,
         DampingSumsKernel, group, damping.f32(), table, sums, passages);
}

template <typename T>
void PackInputs(const OuterGroup& group, const Tensor& qkv, const DampingSum* sums, WaveTable table,
                const OuterInputs<T>& inputs, cudaStream_t stream) {
  WithPackets<T>(group, qkv.data, [&]<int N>(Count<N>) {
    Launch({"PackInputsKernel", static_cast<unsigned>(group.matrices()), kThreads,
            2 * group.chunk * sizeof(Wave)},
           stream, PackInputsKernel<T, N>, group, Data<T>(qkv), sums, table, inputs);
  });
}

template <typename T>
void ScanFields(const OuterGroup& group, const Wave* passages, Tiles<float> changes,
                const float* state, float* state_after, Tiles<T> fields, cudaStream_t stream) {
  Launch({"ScanKernel", ScanBlocks(group), kScanThreads}, stream, ScanKernel<T, false>, group,
         passages, changes, state, state_after, fields);
}

template <typename T>
void ScanFieldGradients(const OuterGroup& group, const Wave* passages, Tiles<float> changes,
                        float* dstate, Tiles<T> dfields, cudaStream_t stream) {
  Launch({"ScanKernel", ScanBlocks(group), kScanThreads}, stream, ScanKernel<T, true>, group,
         passages, changes, dstate, dstate, dfields);
}

template void PackInputs(const OuterGroup&, const Tensor&, const DampingSum*, WaveTable,
                         const OuterInputs<float>&, cudaStream_t);
template void PackInputs(const OuterGroup&, const Tensor&, const DampingSum*, WaveTable,
                         const OuterInputs<BFloat16>&, cudaStream_t);
template void ScanFields(const OuterGroup&, const Wave*, Tiles<float>, const float*, float*,
                         Tiles<float>, cudaStream_t);
template void ScanFields(const OuterGroup&, const Wave*, Tiles<float>, const float*, float*,
                         Tiles<BFloat16>, cudaStream_t);
template void ScanFieldGradients(const OuterGroup&, const Wave*, Tiles<float>, float*, Tiles<float>,
                                 cudaStream_t);
template void ScanFieldGradients(const OuterGroup&, const Wave*, Tiles<float>, float*,
                                 Tiles<BFloat16>, cudaStream_t);

}  // namespace wavefield::cuda
