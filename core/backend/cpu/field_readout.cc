#include "core/backend/cpu/field_readout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/field_readout.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

static_assert(hn::MaxLanes(FloatTag()) <= kReadoutPad);

// to[i] = Σ_j weights[i, j] from[j]; from, to [heads, padded].
void Mix(const float* weights, const float* from, int64_t heads, int64_t padded, float* to) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < heads; ++i) {
    for (int64_t c = 0; c < padded; c += lanes) {
      auto sum = hn::Zero(d);
      for (int64_t j = 0; j < heads; ++j) {
        sum = hn::MulAdd(hn::Set(d, weights[i * heads + j]), hn::LoadU(d, from + j * padded + c),
                         sum);
      }
      hn::StoreU(sum, d, to + i * padded + c);
    }
  }
}

// Copies a row [heads, d] to a padded one; the padding stays what it is.
void Pad(const ReadoutLayout& layout, const float* row, float* padded) {
  for (int64_t h = 0; h < layout.heads; ++h) {
    std::memcpy(padded + h * layout.padded, row + h * layout.head_width,
                layout.head_width * sizeof(float));
  }
}

// Couples one row into room.coupled, and room.mixed if there is a q; 1 / root mean square per head
// into room.inverse_rms. q [heads, d] or null.
void CoupleRow(const ReadoutLayout& layout, const float* weights, const float* y, const float* q,
               const ReadoutRoom& room) {
  Pad(layout, y, room.y);
  Mix(weights, room.y, layout.heads, layout.padded, q == nullptr ? room.coupled : room.mixed);
  for (int64_t h = 0; h < layout.heads && q != nullptr; ++h) {
    const int64_t from = h * layout.head_width, to = h * layout.padded;
    ForEachVector(layout.head_width, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, q + from + i), hn::LoadU(d, room.mixed + to + i)), d,
                 room.coupled + to + i);
    });
  }
  for (int64_t h = 0; h < layout.heads; ++h) {
    const float* values = room.coupled + h * layout.padded;
    const float squares = SumOver(layout.padded, [&](auto d, int64_t i) HWY_ATTR {
      const auto value = hn::LoadU(d, values + i);
      return hn::Mul(value, value);
    });
    room.inverse_rms[h] = 1.0f / std::sqrt(squares / static_cast<float>(layout.head_width) + 1e-6f);
  }
}

// y, out [rows, heads · d]; q: of the first row, or null.
void ReadoutRows(const ReadoutLayout& layout, const float* weights, const float* head_norm,
                 const float* y, const float* q, const float* gate, int64_t rows,
                 const ReadoutRoom& room, float* out) {
  const int64_t width = layout.width();
  for (int64_t n = 0; n < rows; ++n, y += width, out += width, gate += layout.gate_stride()) {
    CoupleRow(layout, weights, y, q == nullptr ? nullptr : q + n * layout.q_stride(), room);
    for (int64_t h = 0; h < layout.heads; ++h) {
      const int64_t at = h * layout.head_width;
      const float* values = room.coupled + h * layout.padded;
      const float r = room.inverse_rms[h];
      ForEachVector(layout.head_width, [&](auto d, int64_t i) HWY_ATTR {
        const auto g = hn::LoadU(d, gate + at + i);
        const auto open = hn::Mul(g, Sigmoid(d, g));
        const auto normed = hn::Mul(hn::LoadU(d, values + i), hn::Set(d, r));
        hn::StoreU(hn::Mul(hn::Mul(normed, hn::LoadU(d, head_norm + at + i)), open), d,
                   out + at + i);
      });
    }
  }
}

// From the gradient of q ⊙ mixed in room.gradient that of mixed, there, and dq.
void QueryGradient(const ReadoutLayout& layout, const float* q, const ReadoutRoom& room,
                   float* dq) {
  for (int64_t h = 0; h < layout.heads; ++h) {
    const int64_t at = h * layout.head_width;
    float* gradient = room.gradient + h * layout.padded;
    const float* mixed = room.mixed + h * layout.padded;
    ForEachVector(layout.head_width, [&](auto d, int64_t i) HWY_ATTR {
      const auto value = hn::LoadU(d, gradient + i);
      hn::StoreU(hn::Mul(value, hn::LoadU(d, mixed + i)), d, dq + at + i);
      hn::StoreU(hn::Mul(value, hn::LoadU(d, q + at + i)), d, gradient + i);
    });
  }
}

// q, dq: of the first row, or null. weight_sums [heads, heads] and norm_sums [heads · d] +=.
void ReadoutBackwardRows(const ReadoutLayout& layout, const float* weights,
                         const float* transposed_weights, const float* head_norm, const float* y,
                         const float* q, const float* gate, const float* dout, int64_t rows,
                         const ReadoutRoom& room, float* dy, float* dq, float* dgate,
                         float* weight_sums, float* norm_sums) {
  const FloatTag full;
  const auto lanes = static_cast<int64_t>(hn::Lanes(full));
  const int64_t width = layout.width(), heads = layout.heads, padded = layout.padded;
  std::memset(room.lane_sums, 0, heads * heads * kReadoutPad * sizeof(float));
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t q_row = n * layout.q_stride();
    CoupleRow(layout, weights, y, q == nullptr ? nullptr : q + q_row, room);
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t at = h * layout.head_width;
      const float* values = room.coupled + h * padded;
      float* gradient = room.gradient + h * padded;
      const float r = room.inverse_rms[h];
      ForEachVector(layout.head_width, [&](auto d, int64_t i) HWY_ATTR {
        const auto g = hn::LoadU(d, gate + at + i);
        const auto sigmoid = Sigmoid(d, g);
        const auto normed = hn::Mul(hn::LoadU(d, values + i), hn::Set(d, r));
        const auto scale = hn::LoadU(d, head_norm + at + i);
        const auto from_above = hn::LoadU(d, dout + at + i);
        const auto open = hn::Mul(hn::Mul(g, sigmoid), from_above);
        hn::StoreU(
            hn::Mul(hn::Mul(from_above, SiluDerivative(d, g, sigmoid)), hn::Mul(normed, scale)), d,
            dgate + at + i);
        hn::StoreU(hn::MulAdd(open, normed, hn::LoadU(d, norm_sums + at + i)), d,
                   norm_sums + at + i);
        hn::StoreU(hn::Mul(open, scale), d, gradient + i);
      });
      const float dot = SumOver(padded, [&](auto d, int64_t i) HWY_ATTR {
        return hn::Mul(hn::LoadU(d, gradient + i), hn::LoadU(d, values + i));
      });
      const float pull = r * r * r * dot / static_cast<float>(layout.head_width);
      ForEachVector(padded, [&](auto d, int64_t i) HWY_ATTR {
        hn::StoreU(hn::MulSub(hn::LoadU(d, gradient + i), hn::Set(d, r),
                              hn::Mul(hn::LoadU(d, values + i), hn::Set(d, pull))),
                   d, gradient + i);
      });
    }
    if (q != nullptr) QueryGradient(layout, q + q_row, room, dq + q_row);
    for (int64_t i = 0; i < heads; ++i) {
      for (int64_t j = 0; j < heads; ++j) {
        float* lane_sum = room.lane_sums + (i * heads + j) * kReadoutPad;
        auto sum = hn::LoadU(full, lane_sum);
        for (int64_t c = 0; c < padded; c += lanes) {
          sum = hn::MulAdd(hn::LoadU(full, room.gradient + i * padded + c),
                           hn::LoadU(full, room.y + j * padded + c), sum);
        }
        hn::StoreU(sum, full, lane_sum);
      }
    }
    Mix(transposed_weights, room.gradient, heads, padded, room.coupled);
    for (int64_t h = 0; h < heads; ++h) {
      std::memcpy(dy + h * layout.head_width, room.coupled + h * padded,
                  layout.head_width * sizeof(float));
    }
    y += width, dout += width, dy += width;
    gate += layout.gate_stride(), dgate += layout.gate_stride();
  }
  for (int64_t i = 0; i < heads * heads; ++i) {
    weight_sums[i] += SumOver(kReadoutPad, [&](auto d, int64_t lane) HWY_ATTR {
      return hn::LoadU(d, room.lane_sums + i * kReadoutPad + lane);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(ReadoutRows);
HWY_EXPORT(ReadoutBackwardRows);

namespace {

ReadoutLayout LayoutOf(const contract::ReadoutSizes& size) {
  return {size.heads, size.head_width,
          (size.head_width + kReadoutPad - 1) / kReadoutPad * kReadoutPad};
}

// Softmax over the rows of coupling, and its transpose.
void Softmax(const float* coupling, int64_t heads, float* weights, float* transposed) {
  for (int64_t i = 0; i < heads; ++i) {
    const float* row = coupling + i * heads;
    const double largest = *std::max_element(row, row + heads);
    double sum = 0.0;
    for (int64_t j = 0; j < heads; ++j) sum += std::exp(row[j] - largest);
    for (int64_t j = 0; j < heads; ++j) {
      weights[i * heads + j] = static_cast<float>(std::exp(row[j] - largest) / sum);
      transposed[j * heads + i] = weights[i * heads + j];
    }
  }
}

}  // namespace

void CpuBackend::FieldReadoutForward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                     Tensor qkvg, Tensor out) {
  const auto size = contract::FieldReadoutForward(y, qkv, coupling, head_norm, qkvg, out);
  const ReadoutLayout layout = LayoutOf(size);
  const int64_t width = size.width(), pairs = size.heads * size.heads;
  float* weights = Scratch(2 * pairs + threads_ * ReadoutRoom::Floats(layout));
  float* rooms = weights + 2 * pairs;
  Softmax(coupling.f32(), size.heads, weights, weights + pairs);
  ParallelRanges(threads_, size.rows, 16, [&](int thread, int64_t begin, int64_t end) {
    const ReadoutRoom room(layout, rooms + thread * ReadoutRoom::Floats(layout));
    HWY_DYNAMIC_DISPATCH(ReadoutRows)
    (layout, weights, head_norm.f32(), y.f32() + begin * width,
     qkv.empty() ? nullptr : qkv.f32() + begin * layout.q_stride(),
     qkvg.f32() + begin * layout.gate_stride() + 3 * width, end - begin, room,
     out.f32() + begin * width);
  });
}

void CpuBackend::FieldReadoutBackward(Tensor y, Tensor qkv, Tensor coupling, Tensor head_norm,
                                      Tensor qkvg, Tensor dout, Tensor dy, Tensor dqkv,
                                      Tensor dqkvg, Tensor dcoupling, Tensor dhead_norm) {
  const auto size = contract::FieldReadoutBackward(y, qkv, coupling, head_norm, qkvg, dout, dy,
                                                   dqkv, dqkvg, dcoupling, dhead_norm);
  const ReadoutLayout layout = LayoutOf(size);
  const int64_t width = size.width(), heads = size.heads, pairs = heads * heads;
  const int64_t blocks = RowBlocks(size.rows);
  float* weights =
      Scratch(3 * pairs + threads_ * ReadoutRoom::Floats(layout) + blocks * (pairs + width));
  float* dweights = weights + 2 * pairs;
  float* rooms = dweights + pairs;
  float* weight_sums = rooms + threads_ * ReadoutRoom::Floats(layout);
  float* norm_sums = weight_sums + blocks * pairs;
  Softmax(coupling.f32(), heads, weights, weights + pairs);
  ParallelRanges(threads_, blocks, 1, [&](int thread, int64_t first, int64_t last) {
    const ReadoutRoom room(layout, rooms + thread * ReadoutRoom::Floats(layout));
    std::fill(weight_sums + first * pairs, weight_sums + last * pairs, 0.0f);
    std::fill(norm_sums + first * width, norm_sums + last * width, 0.0f);
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kRowBlock, end = std::min(begin + kRowBlock, size.rows);
      const int64_t gate = begin * layout.gate_stride() + 3 * width;
      const int64_t q = begin * layout.q_stride();
      HWY_DYNAMIC_DISPATCH(ReadoutBackwardRows)
      (layout, weights, weights + pairs, head_norm.f32(), y.f32() + begin * width,
       qkv.empty() ? nullptr : qkv.f32() + q, qkvg.f32() + gate, dout.f32() + begin * width,
       end - begin, room, dy.f32() + begin * width, qkv.empty() ? nullptr : dqkv.f32() + q,
       dqkvg.f32() + gate, weight_sums + block * pairs, norm_sums + block * width);
    }
  });
  AddBlockSums(norm_sums, blocks, width, dhead_norm.f32());
  std::fill_n(dweights, pairs, 0.0f);
  AddBlockSums(weight_sums, blocks, pairs, dweights);
  for (int64_t i = 0; i < heads; ++i) {
    const float* row = weights + i * heads;
    double mean = 0.0;
    for (int64_t j = 0; j < heads; ++j)
      mean += static_cast<double>(row[j]) * dweights[i * heads + j];
    for (int64_t j = 0; j < heads; ++j) {
      dcoupling.f32()[i * heads + j] +=
          static_cast<float>(row[j] * (dweights[i * heads + j] - mean));
    }
  }
}

}  // namespace wavefield
#endif
