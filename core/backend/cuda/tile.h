#pragma once

// Matrix products of one warp, from shared memory into registers: the only header that names tensor
// cores. bf16 goes through them (mma.h); fp32 is multiplied by the lanes themselves, in fp32, and
// so is bf16 where the kernels are compiled for the host.
//
// All functions of a tile are called by the 32 lanes of a warp together. What another lane wrote to
// shared memory is seen after __syncwarp() (or __syncthreads()), and no lane may overwrite an
// operand before the next one.

#include "core/backend/cuda/device.h"

#ifdef __CUDACC__
#include <mma.h>
#endif

namespace wavefield::cuda {

// Rows of a WarpTile; what its columns and the depth of products are a multiple of.
constexpr int kTile = 16;

// Element (i, j) stands at [i · stride + j], or at [j · stride + i].
enum class Layout { kRows, kColumns };

// What to add to the width of a matrix of T in shared memory, a multiple of 16, to get a stride for
// which a warp's accesses fall into different banks.
template <typename T>
constexpr int kStridePad = 16 / sizeof(T);

// Operands in shared memory begin at, and their strides are such that every 16 × 16 square begins
// at, a multiple of this many bytes; strides themselves are multiples of 16 bytes.
constexpr int kTileAlignment = 32;

// Which elements of each 16 × 16 square of a WarpTile<T, …> this lane holds. Made by the 32 lanes
// of a warp together, once per kernel. scratch: 256 floats of shared memory that this warp alone
// uses, aligned like an operand, free again afterwards.
template <typename T>
class TilePlaces {
 public:
  __device__ explicit TilePlaces(float* /*scratch*/) {}
};

// A 16 × N matrix of fp32 sums, spread over the registers of a warp.
template <typename T, int N>
class WarpTile {
  static_assert(N % kTile == 0);

 public:
  __device__ void Fill(float value) {
    for (int j = 0; j < kColumns; ++j) {
      for (int i = 0; i < kRows; ++i) sums_[i][j] = value;
    }
  }

  // += a · b; a [16, K] by rows, b [K, N] as kLayout says. K steps in order, for every element.
  template <int K, Layout kLayout>
  __device__ void MultiplyAdd(const T* a, int a_stride, const T* b, int b_stride) {
    static_assert(K % kTile == 0);
    RequireAligned(a, a_stride);
    RequireAligned(b, b_stride);
    a += Row(0) * a_stride;
    b += Column(0) * (kLayout == Layout::kColumns ? b_stride : 1);
#pragma unroll 1
    for (int k = 0; k < K; k += kDepth) {
      float x[kRows][kDepth];
#pragma unroll
      for (int i = 0; i < kRows; ++i) LoadDepth(a + i * a_stride + k, x[i]);
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        float y[kDepth];
        if constexpr (kLayout == Layout::kColumns) {
          LoadDepth(b + j * kColumnStep * b_stride + k, y);
        } else {
          for (int e = 0; e < kDepth; ++e) y[e] = Load(b + (k + e) * b_stride + j * kColumnStep);
        }
#pragma unroll
        for (int e = 0; e < kDepth; ++e) {
#pragma unroll
          for (int i = 0; i < kRows; ++i) sums_[i][j] = fmaf(x[i][e], y[e], sums_[i][j]);
        }
      }
    }
  }

  // To fp32 in shared memory, by rows.
  __device__ void Store(float* to, int stride) const {
    RequireAligned(to, stride);
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kColumns; ++j) to[Row(i) * stride + Column(j)] = sums_[i][j];
    }
  }

  // body(row, column, float& element) for this lane's elements.
  template <typename Body>
  __device__ void ForEach(const TilePlaces<T>&, Body body) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) body(Row(i), Column(j), sums_[i][j]);
    }
  }
  // body(row, column, float& element, float& element of other).
  template <typename Body>
  __device__ void ForEach(const TilePlaces<T>&, WarpTile& other, Body body) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) body(Row(i), Column(j), sums_[i][j], other.sums_[i][j]);
    }
  }

 private:
  // Lanes stand in 4 rows of 8: each has 4 neighbouring rows and every 8th column.
  static constexpr int kColumnStep = 8, kRows = 4, kColumns = N / kColumnStep, kDepth = 4;

  __device__ static int Row(int i) { return threadIdx.x % kWarp / kColumnStep * kRows + i; }
  __device__ static int Column(int j) { return threadIdx.x % kColumnStep + j * kColumnStep; }

  __device__ static void LoadDepth(const T* from, float* to) {
    const auto packet = *reinterpret_cast<const Packet<T, kDepth>*>(from);
    for (int e = 0; e < kDepth; ++e) to[e] = Load(&packet.element[e]);
  }

  // What tensor cores require is required everywhere the kernels are tested.
  template <typename U>
  __device__ static void RequireAligned([[maybe_unused]] const U* data,
                                        [[maybe_unused]] int stride) {
#ifndef __CUDACC__
    if (reinterpret_cast<uintptr_t>(data) % kTileAlignment != 0 || stride * sizeof(U) % 16 != 0) {
      __trap();
    }
#endif
  }

  float sums_[kRows][kColumns];
};

#ifdef __CUDACC__

// Which lane holds what is the hardware's affair, and is the same for all squares: it is asked by
// loading a matrix of the places' own numbers.
template <>
class TilePlaces<BFloat16> {
 public:
  __device__ explicit TilePlaces(float* scratch) {
    for (int i = threadIdx.x % kWarp; i < kTile * kTile; i += kWarp) {
      scratch[i] = static_cast<float>(i);
    }
    __syncwarp();
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, kTile, kTile, kTile, float> numbers;
    nvcuda::wmma::load_matrix_sync(numbers, scratch, kTile, nvcuda::wmma::mem_row_major);
    for (int e = 0; e < kElements; ++e) place_[e] = static_cast<int>(numbers.x[e]);
    __syncwarp();
  }
  __device__ int Row(int e) const { return place_[e] / kTile; }
  __device__ int Column(int e) const { return place_[e] % kTile; }

  static constexpr int kElements = kTile * kTile / kWarp;

 private:
  int place_[kElements];
};

template <int N>
class WarpTile<BFloat16, N> {
  static_assert(N % kTile == 0);

 public:
  __device__ void Fill(float value) {
    for (int j = 0; j < kSquares; ++j) nvcuda::wmma::fill_fragment(sums_[j], value);
  }

  template <int K, Layout kLayout>
  __device__ void MultiplyAdd(const BFloat16* a, int a_stride, const BFloat16* b, int b_stride) {
    static_assert(K % kTile == 0);
    using nvcuda::wmma::fragment;
    constexpr bool kByRows = kLayout == Layout::kRows;
    using ByLayout = std::conditional_t<kByRows, nvcuda::wmma::row_major, nvcuda::wmma::col_major>;
    constexpr int kSteps = kSquares < 4 && K <= 64 ? 2 : 1;  // at once: as registers allow
#pragma unroll kSteps
    for (int k = 0; k < K; k += kTile) {
      fragment<nvcuda::wmma::matrix_a, kTile, kTile, kTile, BFloat16, nvcuda::wmma::row_major> x;
      nvcuda::wmma::load_matrix_sync(x, a + k, a_stride);
#pragma unroll
      for (int j = 0; j < kSquares; ++j) {
        fragment<nvcuda::wmma::matrix_b, kTile, kTile, kTile, BFloat16, ByLayout> y;
        const BFloat16* square =
            kByRows ? b + k * b_stride + j * kTile : b + j * kTile * b_stride + k;
        nvcuda::wmma::load_matrix_sync(y, square, b_stride);
        nvcuda::wmma::mma_sync(sums_[j], x, y, sums_[j]);
      }
    }
  }

  __device__ void Store(float* to, int stride) const {
    for (int j = 0; j < kSquares; ++j) {
      nvcuda::wmma::store_matrix_sync(to + j * kTile, sums_[j], stride,
                                      nvcuda::wmma::mem_row_major);
    }
  }

  template <typename Body>
  __device__ void ForEach(const TilePlaces<BFloat16>& places, Body body) {
#pragma unroll
    for (int j = 0; j < kSquares; ++j) {
#pragma unroll
      for (int e = 0; e < places.kElements; ++e) {
        body(places.Row(e), j * kTile + places.Column(e), sums_[j].x[e]);
      }
    }
  }
  template <typename Body>
  __device__ void ForEach(const TilePlaces<BFloat16>& places, WarpTile& other, Body body) {
#pragma unroll
    for (int j = 0; j < kSquares; ++j) {
#pragma unroll
      for (int e = 0; e < places.kElements; ++e) {
        body(places.Row(e), j * kTile + places.Column(e), sums_[j].x[e], other.sums_[j].x[e]);
      }
    }
  }

 private:
  static constexpr int kSquares = N / kTile;
  nvcuda::wmma::fragment<nvcuda::wmma::accumulator, kTile, kTile, kTile, float> sums_[kSquares];
};

#endif

}  // namespace wavefield::cuda
