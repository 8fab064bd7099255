// What the classic form does to some columns of wide rows: copies, features, gate, positions.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/classic_columns.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

void ReluRow(float floor, const float* x, int64_t width, float* y) {
  ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
    // A NaN is not below 0, and stays.
    const auto value = hn::LoadU(d, x + i);
    const auto negative = hn::Lt(value, hn::Zero(d));
    hn::StoreU(hn::Add(hn::IfThenZeroElse(negative, value), hn::Set(d, floor)), d, y + i);
  });
}

void ReluBackwardRow(float floor, const float* y, const float* dy, int64_t width, float* dx) {
  ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
    const auto open = hn::Gt(hn::LoadU(d, y + i), hn::Set(d, floor));
    hn::StoreU(hn::IfThenElseZero(open, hn::LoadU(d, dy + i)), d, dx + i);
  });
}

void GateRow(const float* x, const float* gate, int64_t width, float* y) {
  ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), Sigmoid(d, hn::LoadU(d, gate + i))), d, y + i);
  });
}

// dx may be dy.
void GateBackwardRow(const float* x, const float* gate, const float* dy, int64_t width, float* dx,
                     float* dgate) {
  ForEachVector(width, [&](auto d, int64_t i) HWY_ATTR {
    const auto open = Sigmoid(d, hn::LoadU(d, gate + i));
    const auto passed = hn::Mul(hn::LoadU(d, dy + i), open);
    const auto closed = hn::Sub(hn::Set(d, 1.0f), open);
    hn::StoreU(hn::Mul(hn::Mul(passed, closed), hn::LoadU(d, x + i)), d, dgate + i);
    hn::StoreU(passed, d, dx + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(ReluRow);
HWY_EXPORT(ReluBackwardRow);
HWY_EXPORT(GateRow);
HWY_EXPORT(GateBackwardRow);

namespace {
constexpr int64_t kRowGrain = 32;
}

void CpuBackend::CopyColumns(Tensor source, int64_t source_column, int64_t width,
                             Tensor destination, int64_t destination_column) {
  const auto size =
      contract::CopyColumns(source, source_column, width, destination, destination_column);
  ParallelRanges(threads_, size.rows, kRowGrain, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      std::memcpy(destination.f32() + n * size.destination_stride + destination_column,
                  source.f32() + n * size.source_stride + source_column, width * sizeof(float));
    }
  });
}

void CpuBackend::ReluForward(float floor, Tensor x, int64_t column, Tensor y) {
  const auto size = contract::Relu(x, column, y);
  ParallelRanges(threads_, size.rows, kRowGrain, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      HWY_DYNAMIC_DISPATCH(ReluRow)
      (floor, x.f32() + n * size.width, size.width, y.f32() + n * size.destination_stride + column);
    }
  });
}

void CpuBackend::ReluBackward(float floor, Tensor y, int64_t column, Tensor dy, Tensor dx) {
  const auto size = contract::ReluBackward(y, column, dy, dx);
  ParallelRanges(threads_, size.rows, kRowGrain, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t at = n * size.destination_stride + column;
      HWY_DYNAMIC_DISPATCH(ReluBackwardRow)
      (floor, y.f32() + at, dy.f32() + at, size.width, dx.f32() + n * size.width);
    }
  });
}

void CpuBackend::SigmoidGateForward(Tensor x, Tensor qkvg, Tensor y) {
  const auto size = contract::SigmoidGate(x, qkvg, y);
  ParallelRanges(threads_, size.rows, kRowGrain, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t at = n * size.width;
      HWY_DYNAMIC_DISPATCH(GateRow)
      (x.f32() + at, qkvg.f32() + 4 * at + 3 * size.width, size.width, y.f32() + at);
    }
  });
}

void CpuBackend::SigmoidGateBackward(Tensor x, Tensor qkvg, Tensor dy, Tensor dx, Tensor dqkvg) {
  const auto size = contract::SigmoidGateBackward(x, qkvg, dy, dx, dqkvg);
  ParallelRanges(threads_, size.rows, kRowGrain, [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t at = n * size.width, gate = 4 * at + 3 * size.width;
      HWY_DYNAMIC_DISPATCH(GateBackwardRow)
      (x.f32() + at, qkvg.f32() + gate, dy.f32() + at, size.width, dx.f32() + at,
       dqkvg.f32() + gate);
    }
  });
}

void CpuBackend::AddPositions(int64_t batch, int64_t position, Tensor x) {
  const auto size = contract::AddPositions(batch, position, x);
  const int64_t width = x.shape[1];
  ParallelRanges(threads_, width / 2, 8, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double rate =
          std::pow(10000.0, -static_cast<double>(2 * i) / static_cast<double>(width));
      for (int64_t t = 0; t < size.tokens; ++t) {
        const double angle = static_cast<double>(position + t) * rate;
        const auto sine = static_cast<float>(std::sin(angle));
        const auto cosine = static_cast<float>(std::cos(angle));
        for (int64_t b = 0; b < batch; ++b) {
          float* pair = x.f32() + (b * size.tokens + t) * width + 2 * i;
          pair[0] += sine;
          pair[1] += cosine;
        }
      }
    }
  });
}

}  // namespace wavefield
#endif
