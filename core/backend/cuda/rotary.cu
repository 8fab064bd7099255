// Positions: rotary, and added sines.

#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

// turns [tokens, width]: columns (2i, 2i+1) are cosine and sine of (position + t) · 10000^(−2i /
// width), the angle reduced to one turn in double: its bits depend on the token's place in the
// sequence alone. Writes 8 bytes per pair; some 150 FLOPs, two thirds of them in double.
__global__ void TurnsKernel(int64_t position, int64_t tokens, int64_t width, float* turns) {
  constexpr double kLog2Of10000 = 13.287712379549449, kTurn = 6.283185307179586;
  const int64_t pair = GridIndex(), pairs = width / 2;
  if (pair >= tokens * pairs) return;
  const double exponent = static_cast<double>(2 * (pair % pairs)) / static_cast<double>(width);
  const double rate = exp2(-kLog2Of10000 * exponent) / kTurn;
  const double angle = static_cast<double>(position + pair / pairs) * rate;
  const float rest = static_cast<float>((angle - rint(angle)) * kTurn);
  StoreValues(turns + 2 * pair, Values<2>{cosf(rest), sinf(rest)});
}

// Columns [0, 2 · width) of qkv [rows, 3 · width], q's heads and then k's; turns [tokens,
// head_width]. Reads and writes each once, and the turns from the L2 cache; 3 FLOPs each.
template <typename T, int N>
__global__ void RotaryKernel(const float* turns, int64_t rows, int64_t tokens, int64_t width,
                             int64_t head_width, float direction, T* qkv) {
  const int64_t i = GridIndex() * N, row = i / (2 * width), column = i % (2 * width);
  if (row >= rows) return;
  T* x = qkv + row * 3 * width + column;
  Values<N> values = LoadValues<N>(x);
  const Values<N> turn = LoadValues<N>(turns + row % tokens * head_width + column % head_width);
  for (int j = 0; j < N; j += 2) {
    const float cosine = turn.at[j], sine = direction * turn.at[j + 1];
    const float a = values.at[j], b = values.at[j + 1];
    values.at[j] = a * cosine - b * sine;
    values.at[j + 1] = a * sine + b * cosine;
  }
  StoreValues(x, values);
}

// x [rows, width], turns [tokens, width]. Reads and writes x once, and reads the turns from the L2
// cache; a FLOP each.
template <typename T, int N>
__global__ void AddPositionsKernel(const float* turns, int64_t rows, int64_t tokens, int64_t width,
                                   T* x) {
  const int64_t i = GridIndex() * N, row = i / width;
  if (row >= rows) return;
  Values<N> values = LoadValues<N>(x + i);
  const Values<N> turn = LoadValues<N>(turns + row % tokens * width + i % width);
  for (int j = 0; j < N; j += 2) {
    values.at[j] += turn.at[j + 1];
    values.at[j + 1] += turn.at[j];
  }
  StoreValues(x + i, values);
}

void MakeTurns(int64_t position, int64_t tokens, int64_t width, float* turns, cudaStream_t stream) {
  Launch({"TurnsKernel", Blocks(tokens * (width / 2), kThreads), kThreads}, stream, TurnsKernel,
         position, tokens, width, turns);
}

// Elements that a thread moves where N would be 1: a pair.
constexpr int Pairs(int n) { return n > 1 ? n : 2; }

}  // namespace
}  // namespace cuda

void CudaBackend::Rotary(int64_t batch, int64_t heads, int64_t position, bool inverse, Tensor qkv) {
  const auto size = contract::Rotary(batch, heads, position, qkv);
  const int64_t rows = batch * size.tokens, d = size.head_width;
  const ArenaScope scope(workspace_);
  float* turns = workspace_.Allocate({size.tokens, d}).f32();
  cuda::MakeTurns(position, size.tokens, d, turns, stream_);
  cuda::DispatchPackets(qkv.dtype, {qkv.data}, {d}, [&]<typename T, int N>() {
    constexpr int kEach = cuda::Pairs(N);
    cuda::Launch({"RotaryKernel", cuda::Blocks(rows * 2 * size.width(), cuda::kThreads, kEach),
                  cuda::kThreads},
                 stream_, cuda::RotaryKernel<T, kEach>, turns, rows, size.tokens, size.width(), d,
                 inverse ? -1.0f : 1.0f, cuda::Data<T>(qkv));
  });
}

void CudaBackend::AddPositions(int64_t batch, int64_t position, Tensor x) {
  const auto size = contract::AddPositions(batch, position, x);
  const int64_t rows = batch * size.tokens, width = x.shape[1];
  const ArenaScope scope(workspace_);
  float* turns = workspace_.Allocate({size.tokens, width}).f32();
  cuda::MakeTurns(position, size.tokens, width, turns, stream_);
  cuda::DispatchPackets(x.dtype, {x.data}, {width}, [&]<typename T, int N>() {
    constexpr int kEach = cuda::Pairs(N);
    cuda::Launch(
        {"AddPositionsKernel", cuda::Blocks(rows * width, cuda::kThreads, kEach), cuda::kThreads},
        stream_, cuda::AddPositionsKernel<T, kEach>, turns, rows, size.tokens, width,
        cuda::Data<T>(x));
  });
}

}  // namespace wavefield
