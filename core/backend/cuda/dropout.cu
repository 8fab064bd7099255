#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/device.h"
#include "core/backend/cuda/launch.h"
#include "core/backend/cuda/packets.h"

namespace wavefield {
namespace cuda {
namespace {

constexpr int kWords = 4;  // of one draw, for as many columns

struct Words {
  uint32_t at[kWords];
};

// Philox of core/base/rng.h.
__device__ inline Words Philox(Words c, uint64_t key) {
  uint32_t key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c.at[0], p1 = uint64_t{0xCD9E8D57} * c.at[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c.at[1] ^ key0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c.at[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

// A thread has four columns of a row. Reads and writes every element once; some 60 integer
// operations for four. kWhole: they are aligned and `width` is a multiple of four.
template <typename T, bool kWhole>
__global__ void DropoutKernel(uint64_t key, uint32_t threshold, float scale, int64_t rows,
                              int64_t tokens, int64_t position, int64_t width, T* x) {
  const int64_t groups = (width + kWords - 1) / kWords;
  const int64_t row = GridIndex() / groups, group = GridIndex() % groups;
  if (row >= rows) return;
  const uint64_t token = static_cast<uint64_t>(position + row % tokens);
  const Words words =
      Philox({static_cast<uint32_t>(group), static_cast<uint32_t>(token),
              static_cast<uint32_t>(token >> 32), static_cast<uint32_t>(row / tokens)},
             key);
  x += row * width + group * kWords;
  if constexpr (kWhole) {
    Values<kWords> values = LoadValues<kWords>(x);
    for (int j = 0; j < kWords; ++j) {
      values.at[j] = words.at[j] < threshold ? 0 : values.at[j] * scale;
    }
    StoreValues(x, values);
  } else {
    for (int j = 0; j < kWords && group * kWords + j < width; ++j) {
      Store(x + j, words.at[j] < threshold ? 0 : Load(x + j) * scale);
    }
  }
}

}  // namespace
}  // namespace cuda

void CudaBackend::Dropout(uint64_t key, float rate, int64_t batch, int64_t position, Tensor x) {
  const auto size = contract::Dropout(rate, batch, position, x);
  if (rate == 0) return;
  const int64_t rows = batch * size.tokens, width = x.shape[1];
  const int64_t groups = (width + cuda::kWords - 1) / cuda::kWords;
  cuda::DispatchPackets(x.dtype, {x.data}, {width}, [&]<typename T, int N>() {
    constexpr bool kWhole = N > 1;
    cuda::Launch({"DropoutKernel", cuda::Blocks(rows * groups, cuda::kThreads), cuda::kThreads},
                 stream_, cuda::DropoutKernel<T, kWhole>, key, contract::DropoutThreshold(rate),
                 1.0f / (1.0f - rate), rows, size.tokens, position, width, cuda::Data<T>(x));
  });
}

}  // namespace wavefield
