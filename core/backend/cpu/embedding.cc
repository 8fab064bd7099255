#include <cstring>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/embedding.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// table[ids[n]][0 … width) += dy[n][0 … width) for all rows in order; both have rows `stride` long.
void AddRows(const int32_t* ids, int64_t rows, const float* dy, int64_t width, int64_t stride,
             float* table) {
  for (int64_t n = 0; n < rows; ++n) {
    const float* from = dy + n * stride;
    float* to = table + ids[n] * stride;
    ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(AddRows);

void CpuBackend::EmbeddingForward(Tensor table, Tensor ids, Tensor y) {
  const auto size = contract::Embedding(ids, y, table);
  contract::RequireIds(ids, size.vocabulary);
  const float* from = table.f32();
  const int32_t* id = ids.i32();
  float* to = y.f32();
  ParallelRanges(threads_, size.rows, 64, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      std::memcpy(to + n * size.width, from + id[n] * size.width, size.width * sizeof(float));
    }
  });
}

void CpuBackend::EmbeddingBackward(Tensor ids, Tensor dy, Tensor dtable) {
  const auto size = contract::Embedding(ids, dy, dtable);
  contract::RequireIds(ids, size.vocabulary);
  // Threads share the columns: no two write the same element, and every sum keeps its order.
  ParallelRanges(threads_, size.width, 64, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddRows)
    (ids.i32(), size.rows, dy.f32() + begin, end - begin, size.width, dtable.f32() + begin);
  });
}

}  // namespace wavefield
#endif
