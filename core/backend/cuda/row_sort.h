#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace wavefield::cuda {

// A row and the id it has, so that keys compare by id, then by row; no two are equal.
using RowKey = unsigned long long;  // id · 2³² + row

// Length of the memory that SortRows needs for so many rows, in keys: a power of two.
int64_t SortedRoom(int64_t rows);

// keys[0 … rows) = the keys of rows 0 … rows − 1 in ascending order. ids [rows]; an id that is not
// in [0, vocabulary) stops the device. REQUIRES: 0 < rows < 2³².
void SortRows(const int32_t* ids, int64_t rows, int64_t vocabulary, RowKey* keys,
              cudaStream_t stream);

}  // namespace wavefield::cuda
