#include "core/backend/cuda/activations.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/field_elementwise.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/workspace.h"

// The elementwise field of static damping as a convolution: deposits k ⊙ v of every channel,
// padded to a fast length n ≥ 2T − 1, times the kernel's spectrum, which is evaluated in double
// once a call. Backward: the deposits' gradient is a correlation with the kernel; the kernel's own
// comes from cross-spectra summed over channels and sequences, one inverse transform per head.
// A line is one channel of one sequence; lines go through in groups, transforms are in place.
//
// Per token and channel, in bytes for elements of e: forward 3e and backward 7e, and what a group's
// kernels hand to each other within the L2 cache: forward 28, backward 44, and 16 for each pass of
// a transform. Transforms: forward 2, backward 3, of 2.5 n log₂ n FLOPs.

namespace wavefield::cuda {
namespace {

constexpr int kThreads = 256;
// A tile of a transposition: kTile lines × kTile tokens by kTile × kTileRows threads.
constexpr int kTile = 32, kTileRows = 8;

struct Complex {
  float re, im;
};
struct ComplexDouble {
  double re, im;
};

__device__ Complex Times(Complex a, Complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
__device__ Complex Conjugate(Complex a) { return {a.re, -a.im}; }
__device__ ComplexDouble Times(ComplexDouble a, ComplexDouble b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

struct Layout {
  int64_t batch, tokens, heads, head_width;
  int64_t length, bins;
  int64_t group;  // lines

  __device__ int64_t width() const { return heads * head_width; }
  __device__ int64_t lines() const { return batch * width(); }
  __device__ int64_t row_floats() const { return 2 * bins; }
};

struct TileShared {
  float value[kTile][kTile + 1];
};

// Where a tile of a group stands: tiles of one span of tokens lie side by side.
struct Tile {
  __device__ Tile(const Layout& layout, int64_t first_line) {
    const int64_t across = (layout.group + kTile - 1) / kTile;
    line = static_cast<int64_t>(blockIdx.x) % across * kTile;
    token = static_cast<int64_t>(blockIdx.x) / across * kTile;
    first = first_line;
  }
  // Whether the tile's line i exists, and the row of its first token and channel.
  __device__ bool Find(const Layout& layout, int i, int64_t* row, int64_t* channel) const {
    const int64_t at = first + line + i;
    *row = at / layout.width() * layout.tokens;
    *channel = at % layout.width();
    return line + i < layout.group && at < layout.lines();
  }
  int64_t line, token, first;
};

// lines [group, row_floats]: a ⊙ b (b may be null: 1) of [N, ·] tensors whose rows are `stride`
// apart, transposed, 0 after the last token and for lines past the last.
template <typename T>
__global__ void FillLinesKernel(Layout layout, int64_t first_line, const T* a, const T* b,
                                int64_t stride, float* lines) {
  TileShared& shared = *SharedMemory<TileShared>();
  const Tile tile(layout, first_line);
  const int x = threadIdx.x, y = threadIdx.y;
  int64_t row, channel;
  const bool exists = tile.Find(layout, x, &row, &channel);
  for (int t = y; t < kTile; t += kTileRows) {
    float value = 0;
    if (exists && tile.token + t < layout.tokens) {
      const int64_t at = (row + tile.token + t) * stride + channel;
      value = Load(a + at);
      if (b != nullptr) value *= Load(b + at);
    }
    shared.value[t][x] = value;
  }
  __syncthreads();
  if (tile.token + x >= layout.length) return;
  for (int i = y; i < kTile && tile.line + i < layout.group; i += kTileRows) {
    lines[(tile.line + i) * layout.row_floats() + tile.token + x] = shared.value[x][i];
  }
}

// The tile of the first T values of lines, transposed: shared.value[token][line].
__device__ void LoadTile(const Layout& layout, const Tile& tile, const float* lines,
                         TileShared& shared) {
  const int x = threadIdx.x, y = threadIdx.y;
  for (int i = y; i < kTile && tile.line + i < layout.group; i += kTileRows) {
    if (tile.token + x >= layout.tokens) continue;
    shared.value[x][i] = lines[(tile.line + i) * layout.row_floats() + tile.token + x];
  }
  __syncthreads();
}

// field [N, D] from its lines.
template <typename T>
__global__ void StoreFieldKernel(Layout layout, int64_t first_line, const float* lines, T* field) {
  TileShared& shared = *SharedMemory<TileShared>();
  const Tile tile(layout, first_line);
  LoadTile(layout, tile, lines, shared);
  int64_t row, channel;
  if (!tile.Find(layout, threadIdx.x, &row, &channel)) return;
  for (int t = threadIdx.y; t < kTile && tile.token + t < layout.tokens; t += kTileRows) {
    Store(field + (row + tile.token + t) * layout.width() + channel, shared.value[t][threadIdx.x]);
  }
}

// dk = ddeposit ⊙ v, dv = ddeposit ⊙ k.
template <typename T>
__global__ void StoreGradientKernel(Layout layout, int64_t first_line, const float* ddeposits,
                                    const T* qkv, T* dqkv) {
  TileShared& shared = *SharedMemory<TileShared>();
  const Tile tile(layout, first_line);
  LoadTile(layout, tile, ddeposits, shared);
  int64_t row, channel;
  if (!tile.Find(layout, threadIdx.x, &row, &channel)) return;
  for (int t = threadIdx.y; t < kTile && tile.token + t < layout.tokens; t += kTileRows) {
    const float ddeposit = shared.value[t][threadIdx.x];
    const int64_t k = ((row + tile.token + t) * 3 + 1) * layout.width() + channel;
    const int64_t v = k + layout.width();
    Store(dqkv + k, ddeposit * Load(qkv + v));
    Store(dqkv + v, ddeposit * Load(qkv + k));
  }
}

// e^x − 1, exact to rounding near 0 too.
__device__ ComplexDouble ExpMinusOne(ComplexDouble x) {
  const double half_sine = sin(0.5 * x.im), growth = exp(x.re);
  return {expm1(x.re) * cos(x.im) - 2.0 * half_sine * half_sine, growth * sin(x.im)};
}

// Σ_{n<T} e^{an} for a = −λ + iβ.
__device__ ComplexDouble GeometricSum(double lambda, double beta, int64_t tokens) {
  constexpr double kTurn = 6.283185307179586;
  const double turn = beta - kTurn * rint(beta / kTurn);
  const ComplexDouble below = ExpMinusOne({-lambda, turn});
  const double norm = below.re * below.re + below.im * below.im;
  const auto count = static_cast<double>(tokens);
  if (norm == 0.0) return {count, 0.0};
  const ComplexDouble above = ExpMinusOne({-lambda * count, turn * count});
  const ComplexDouble sum = Times(above, {below.re, -below.im});
  return {sum.re / norm, sum.im / norm};
}

// spectra [H, bins]: of κ_n = e^{−λn} cos(ωn + φ), n < T, over the transform's length, which it
// also divides by. Writes 8 bytes; about 500 FLOPs in double.
__global__ void KernelSpectrumKernel(Layout layout, const float* damping, const float* frequency,
                                     const float* phase, Complex* spectra) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= layout.heads * layout.bins) return;
  const int64_t head = index / layout.bins, bin = index % layout.bins;
  const auto length = static_cast<double>(layout.length);
  const double theta = 6.283185307179586 * static_cast<double>(bin) / length;
  const double lambda = damping[head], omega = frequency[head], phi = phase[head];
  const ComplexDouble read{0.5 / length * cos(phi), 0.5 / length * sin(phi)};
  const ComplexDouble ahead = Times(read, GeometricSum(lambda, omega - theta, layout.tokens));
  const ComplexDouble back =
      Times({read.re, -read.im}, GeometricSum(lambda, -omega - theta, layout.tokens));
  spectra[index] = {static_cast<float>(ahead.re + back.re), static_cast<float>(ahead.im + back.im)};
}

// spectra [group, bins] *= the kernel of the line's head. Reads and writes 8 bytes; 6 FLOPs.
__global__ void MultiplyKernel(Layout layout, int64_t first_line, const Complex* kernels,
                               Complex* spectra) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= layout.group * layout.bins) return;
  const int64_t line = first_line + index / layout.bins;
  const int64_t head = line % layout.width() / layout.head_width;
  spectra[index] = Times(kernels[head * layout.bins + index % layout.bins], spectra[index]);
}

// A thread has a bin of one head and goes through the group's lines of that head in order.
// gradients, spectra of dfield, become those of the deposits' gradient; crosses [H, bins] +=
// conj(deposit) · gradient. Reads 16 bytes, writes 8; 14 FLOPs.
__global__ void CorrelateKernel(Layout layout, int64_t first_line, const Complex* kernels,
                                const Complex* __restrict__ deposits,
                                Complex* __restrict__ gradients, ComplexDouble* crosses) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= layout.heads * layout.bins) return;
  const int64_t head = index / layout.bins, bin = index % layout.bins;
  const int64_t last_line = first_line + layout.group;
  const Complex kernel = Conjugate(kernels[index]);
  ComplexDouble cross = crosses[index];
  for (int64_t sequence = first_line / layout.width(); sequence < layout.batch; ++sequence) {
    const int64_t head_begin = sequence * layout.width() + head * layout.head_width;
    const int64_t head_end = head_begin + layout.head_width;
    const int64_t begin = head_begin < first_line ? first_line : head_begin;
    const int64_t end = head_end < last_line ? head_end : last_line;
#pragma unroll 4
    for (int64_t line = begin; line < end; ++line) {
      const int64_t at = (line - first_line) * layout.bins + bin;
      const Complex gradient = gradients[at];
      const Complex product = Times(Conjugate(deposits[at]), gradient);
      cross.re += product.re;
      cross.im += product.im;
      gradients[at] = Times(kernel, gradient);
    }
  }
  crosses[index] = cross;
}

// spectra [n] = crosses / length.
__global__ void ScaleCrossesKernel(int64_t n, double length, const ComplexDouble* crosses,
                                   Complex* spectra) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= n) return;
  spectra[index] = {static_cast<float>(crosses[index].re / length),
                    static_cast<float>(crosses[index].im / length)};
}

// A block has a head. slopes [H, row_floats]: the gradient of κ_n, n < T; sums [H]: those of ω, φ
// and λ. Reads 4 bytes a token; about 150 FLOPs in double.
__global__ void KernelGradientKernel(Layout layout, const float* damping, const float* frequency,
                                     const float* phase, const float* slopes, WaveSums* sums) {
  WaveSums* total = SharedMemory<WaveSums>();
  const int64_t head = blockIdx.x;
  const double lambda = damping[head], omega = frequency[head], phi = phase[head];
  WaveSums mine;
  for (int64_t n = threadIdx.x; n < layout.tokens; n += kThreads) {
    const auto distance = static_cast<double>(n);
    const double decay = exp(-lambda * distance);
    if (decay == 0.0) break;
    const double weighted = decay * slopes[head * layout.row_floats() + n];
    const double sine = sin(omega * distance + phi) * weighted;
    mine.phi -= sine;
    mine.omega -= distance * sine;
    mine.damping -= distance * cos(omega * distance + phi) * weighted;
  }
  total[threadIdx.x] = mine;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kThreads; ++i) {
    mine.omega += total[i].omega;
    mine.phi += total[i].phi;
    mine.damping += total[i].damping;
  }
  sums[head] = mine;
}

// What a call consists of, in either direction.
struct Transforms {
  Transforms(const contract::FieldSizes& size, const Tensor& damping, const Tensor& frequency,
             const Tensor& phase, int64_t group_bytes, FftPlans& plans, Arena& workspace,
             cudaStream_t stream)
      : scratch(size.batch, size.tokens, size.heads, size.head_width, group_bytes),
        layout{size.batch,     size.tokens,  size.heads,   size.head_width,
               scratch.length, scratch.bins, scratch.group},
        to_spectrum(plans.Get(FftDirection::kToSpectrum, layout.length, layout.group)),
        from_spectrum(plans.Get(FftDirection::kFromSpectrum, layout.length, layout.group)),
        kernels(Scratch<Complex>(workspace, layout.heads * layout.bins)),
        stream(stream) {
    Launch({"KernelSpectrumKernel", Blocks(layout.heads * layout.bins, kThreads), kThreads}, stream,
           KernelSpectrumKernel, layout, damping.f32(), frequency.f32(), phase.f32(), kernels);
  }
  size_t work_bytes() const {
    return std::max(to_spectrum->work_bytes(), from_spectrum->work_bytes());
  }
  LaunchShape Tiles(const char* name, int64_t tokens) const {
    return {name, Blocks(layout.group, kTile) * Blocks(tokens, kTile), dim3(kTile, kTileRows),
            sizeof(TileShared)};
  }
  // The spectra of a ⊙ b, for a group's lines.
  template <typename T>
  void Fill(int64_t first_line, const T* a, const T* b, int64_t stride, void* work,
            float* lines) const {
    Launch(Tiles("FillLinesKernel", layout.length), stream, FillLinesKernel<T>, layout, first_line,
           a, b, stride, lines);
    to_spectrum->Run(lines, work, stream);
  }
  float* Lines(Arena& workspace) const {
    return Scratch<float>(workspace, layout.group * 2 * layout.bins);
  }

  const FftScratch scratch;
  const Layout layout;
  const std::shared_ptr<const FftPlan> to_spectrum, from_spectrum;
  Complex* const kernels;  // [H, bins], over the length
  const cudaStream_t stream;
};

void* Work(Arena& workspace, size_t bytes) {
  return Scratch<float>(workspace, static_cast<int64_t>((bytes + 3) / 4));
}

}  // namespace

void FieldFftForward(const ElementwiseForward& call, FftPlans& plans, Arena& workspace,
                     cudaStream_t stream, int64_t group_bytes) {
  const Transforms transforms(call.size, call.damping, call.frequency, call.phase, group_bytes,
                              plans, workspace, stream);
  const Layout& layout = transforms.layout;
  const int64_t width = call.size.width();
  float* lines = transforms.Lines(workspace);
  auto* spectra = reinterpret_cast<Complex*>(lines);
  void* work = Work(workspace, transforms.work_bytes());
  DispatchActivation(call.qkv.dtype, [&]<typename T>(T) {
    const T* k = Data<T>(call.qkv) + width;
    for (int64_t line = 0; line < transforms.scratch.sequences; line += layout.group) {
      transforms.Fill(line, k, k + width, 3 * width, work, lines);
      Launch({"MultiplyKernel", Blocks(layout.group * layout.bins, kThreads), kThreads}, stream,
             MultiplyKernel, layout, line, transforms.kernels, spectra);
      transforms.from_spectrum->Run(lines, work, stream);
      Launch(transforms.Tiles("StoreFieldKernel", layout.tokens), stream, StoreFieldKernel<T>,
             layout, line, lines, Data<T>(call.field));
    }
  });
}

void FieldFftBackward(const ElementwiseBackward& call, FftPlans& plans, Arena& workspace,
                      cudaStream_t stream, int64_t group_bytes) {
  const Transforms transforms(call.size, call.damping, call.frequency, call.phase, group_bytes,
                              plans, workspace, stream);
  const Layout& layout = transforms.layout;
  const int64_t width = call.size.width(), head_bins = layout.heads * layout.bins;
  const auto per_head = plans.Get(FftDirection::kFromSpectrum, layout.length, layout.heads);
  float *deposits = transforms.Lines(workspace), *gradients = transforms.Lines(workspace);
  auto* crosses = Scratch<ComplexDouble>(workspace, head_bins);
  auto* sums = Scratch<WaveSums>(workspace, layout.heads);
  void* work = Work(workspace, std::max(transforms.work_bytes(), per_head->work_bytes()));
  WF_CUDA(
      cudaMemsetAsync(crosses, 0, static_cast<size_t>(head_bins) * sizeof(ComplexDouble), stream));
  DispatchActivation(call.qkv.dtype, [&]<typename T>(T) {
    const T *qkv = Data<T>(call.qkv), *k = qkv + width;
    for (int64_t line = 0; line < transforms.scratch.sequences; line += layout.group) {
      transforms.Fill(line, k, k + width, 3 * width, work, deposits);
      transforms.Fill<T>(line, Data<T>(call.dfield), nullptr, width, work, gradients);
      Launch({"CorrelateKernel", Blocks(head_bins, kThreads), kThreads}, stream, CorrelateKernel,
             layout, line, transforms.kernels, reinterpret_cast<const Complex*>(deposits),
             reinterpret_cast<Complex*>(gradients), crosses);
      transforms.from_spectrum->Run(gradients, work, stream);
      Launch(transforms.Tiles("StoreGradientKernel", layout.tokens), stream, StoreGradientKernel<T>,
             layout, line, gradients, qkv, Data<T>(call.dqkv));
    }
  });
  auto* slopes = reinterpret_cast<float*>(transforms.kernels);
  Launch({"ScaleCrossesKernel", Blocks(head_bins, kThreads), kThreads}, stream, ScaleCrossesKernel,
         head_bins, static_cast<double>(layout.length), crosses, transforms.kernels);
  per_head->Run(slopes, work, stream);
  Launch({"KernelGradientKernel", static_cast<unsigned>(layout.heads), kThreads,
          kThreads * sizeof(WaveSums)},
         stream, KernelGradientKernel, layout, call.damping.f32(), call.frequency.f32(),
         call.phase.f32(), slopes, sums);
  ElementwiseBackward as_static = call;  // of one row, damping [N, H] is static too
  as_static.size.static_damping = true;
  AddWaveSums(as_static, 1, 1, sums, stream);
}

}  // namespace wavefield::cuda
