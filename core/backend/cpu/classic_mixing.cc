// What mixes heads and tokens in the classic form: the coupled read and the interference.

#include <algorithm>
#include <cmath>

#include "core/backend/contract.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/backend/cpu/classic_mixing.cc"
#include "core/backend/cpu/highway_targets.h"
//
#include "hwy/foreach_target.h"
//
#include "core/backend/cpu/vector_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wavefield {
namespace HWY_NAMESPACE {

// heads and the width of each; field, y, dy rows are heads · width floats, q rows three times that.
struct Heads {
  int64_t heads, width;
};

// Σ_j weights[j] · field_j[i] of one row.
template <class D>
HWY_INLINE auto Heard(D d, const Heads& h, const float* weights, const float* field, int64_t i) {
  auto sum = hn::Zero(d);
  for (int64_t j = 0; j < h.heads; ++j) {
    sum = hn::MulAdd(hn::Set(d, weights[j]), hn::LoadU(d, field + j * h.width + i), sum);
  }
  return sum;
}

// weights [H, H].
void CoupledReadRows(int64_t heads, int64_t width, const float* weights, const float* field,
                     const float* q, int64_t rows, float* y) {
  const Heads h{heads, width};
  const int64_t row = heads * width;
  for (int64_t n = 0; n < rows; ++n, field += row, q += 3 * row, y += row) {
    for (int64_t i = 0; i < heads; ++i) {
      ForEachVector(width, [&](auto d, int64_t c) HWY_ATTR {
        const auto heard = Heard(d, h, weights + i * heads, field, c);
        hn::StoreU(hn::Mul(hn::LoadU(d, q + i * width + c), heard), d, y + i * width + c);
      });
    }
  }
}

// dheard [H · width] is room for one row; products [H, H] += Σ q_i dy_i · field_j.
void CoupledReadBackwardRows(int64_t heads, int64_t width, const float* weights,
                             const float* transposed, const float* field, const float* q,
                             const float* dy, int64_t rows, float* dheard, float* dfield, float* dq,
                             float* products) {
  const Heads h{heads, width};
  const int64_t row = heads * width;
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t i = 0; i < heads; ++i) {
      ForEachVector(width, [&](auto d, int64_t c) HWY_ATTR {
        const int64_t at = i * width + c;
        const auto gradient = hn::LoadU(d, dy + at);
        hn::StoreU(hn::Mul(gradient, Heard(d, h, weights + i * heads, field, c)), d, dq + at);
        hn::StoreU(hn::Mul(gradient, hn::LoadU(d, q + at)), d, dheard + at);
      });
    }
    for (int64_t i = 0; i < heads; ++i) {
      ForEachVector(width, [&](auto d, int64_t c) HWY_ATTR {
        hn::StoreU(Heard(d, h, transposed + i * heads, dheard, c), d, dfield + i * width + c);
      });
      for (int64_t j = 0; j < heads; ++j) {
        products[i * heads + j] += SumOver(width, [&](auto d, int64_t c) HWY_ATTR {
          return hn::Mul(hn::LoadU(d, dheard + i * width + c), hn::LoadU(d, field + j * width + c));
        });
      }
    }
    field += row, q += 3 * row, dy += row, dfield += row, dq += 3 * row;
  }
}

struct Alignment {
  float near_norm, far_norm, cosine, open;
};

constexpr float kLeastNorm = 1e-12f;

HWY_INLINE float Dot(const float* a, const float* b, int64_t width) {
  return SumOver(width, [&](auto d, int64_t i)
                            HWY_ATTR { return hn::Mul(hn::LoadU(d, a + i), hn::LoadU(d, b + i)); });
}

HWY_INLINE Alignment Align(const float* near, const float* far, int64_t width, float divisor) {
  Alignment a;
  a.near_norm = std::max(std::sqrt(Dot(near, near, width)), kLeastNorm);
  a.far_norm = std::max(std::sqrt(Dot(far, far, width)), kLeastNorm);
  a.cosine = Dot(near, far, width) / a.near_norm / a.far_norm;
  a.open = 1.0f / (1.0f + std::exp(-a.cosine / divisor));
  return a;
}

void InterferenceRows(const float* near, const float* far, const float* echo, const float* gate,
                      float divisor, int64_t rows, int64_t width, float* y) {
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t at = n * width;
    const Alignment a = Align(near + at, far + at, width, divisor);
    ForEachVector(width, [&](auto d, int64_t c) HWY_ATTR {
      const int64_t i = at + c;
      const auto through = hn::Mul(Sigmoid(d, hn::LoadU(d, gate + i)), hn::LoadU(d, echo + i));
      hn::StoreU(hn::MulAdd(through, hn::Set(d, a.open), hn::LoadU(d, y + i)), d, y + i);
    });
  }
}

// Gradients may be their inputs. *divisor_sum +=.
void InterferenceBackwardRows(const float* near, const float* far, const float* echo,
                              const float* gate, float divisor, const float* dy, int64_t rows,
                              int64_t width, float* dnear, float* dfar, float* decho, float* dgate,
                              float* divisor_sum) {
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t at = n * width;
    const Alignment a = Align(near + at, far + at, width, divisor);
    const float dopen = SumOver(width, [&](auto d, int64_t c) HWY_ATTR {
      const auto through =
          hn::Mul(Sigmoid(d, hn::LoadU(d, gate + at + c)), hn::LoadU(d, echo + at + c));
      return hn::Mul(through, hn::LoadU(d, dy + at + c));
    });
    const float dargument = dopen * a.open * (1.0f - a.open), dcosine = dargument / divisor;
    *divisor_sum -= dargument * a.cosine / (divisor * divisor);
    const float across = dcosine / a.near_norm / a.far_norm;
    const auto own = [&](float norm) {
      return norm > kLeastNorm ? dcosine * a.cosine / norm / norm : 0.0f;
    };
    const float near_pull = own(a.near_norm), far_pull = own(a.far_norm);
    ForEachVector(width, [&](auto d, int64_t c) HWY_ATTR {
      const int64_t i = at + c;
      const auto x = hn::LoadU(d, near + i), z = hn::LoadU(d, far + i);
      const auto value = hn::LoadU(d, echo + i), sigmoid = Sigmoid(d, hn::LoadU(d, gate + i));
      const auto passed = hn::Mul(hn::Mul(hn::LoadU(d, dy + i), sigmoid), hn::Set(d, a.open));
      const auto closed = hn::Sub(hn::Set(d, 1.0f), sigmoid);
      hn::StoreU(hn::MulSub(z, hn::Set(d, across), hn::Mul(x, hn::Set(d, near_pull))), d,
                 dnear + i);
      hn::StoreU(hn::MulSub(x, hn::Set(d, across), hn::Mul(z, hn::Set(d, far_pull))), d, dfar + i);
      hn::StoreU(passed, d, decho + i);
      hn::StoreU(hn::Mul(hn::Mul(passed, value), closed), d, dgate + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wavefield
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wavefield {

HWY_EXPORT(CoupledReadRows);
HWY_EXPORT(CoupledReadBackwardRows);
HWY_EXPORT(InterferenceRows);
HWY_EXPORT(InterferenceBackwardRows);

namespace {

// share [H, H]: softmax of the coupling's rows; scale [H] = √(1 − e^(−2 damping)).
void CouplingShares(int64_t heads, const float* coupling, const float* damping, float* share,
                    float* scale) {
  for (int64_t i = 0; i < heads; ++i) {
    const float* row = coupling + i * heads;
    const float largest = *std::max_element(row, row + heads);
    float sum = 0.0f;
    for (int64_t j = 0; j < heads; ++j) sum += share[i * heads + j] = std::exp(row[j] - largest);
    for (int64_t j = 0; j < heads; ++j) share[i * heads + j] /= sum;
    scale[i] = std::sqrt(-std::expm1(-2.0f * damping[i]));
  }
}

float Divisor(Tensor temperature) {
  const float x = temperature.f32()[0];
  return std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))) + 0.05f;
}

// Columns that one thread sums together.
constexpr int64_t kColumns = 16;

}  // namespace

void CpuBackend::CoupledReadForward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                    Tensor y) {
  const auto size = contract::CoupledRead(field, qkv, coupling, damping, y);
  const int64_t heads = size.heads, width = size.width();
  float* weights = Scratch(heads * heads + heads);
  float* scale = weights + heads * heads;
  CouplingShares(heads, coupling.f32(), damping.f32(), weights, scale);
  for (int64_t i = 0; i < heads * heads; ++i) weights[i] *= scale[i % heads];
  ParallelRanges(threads_, size.rows, 16, [&](int, int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(CoupledReadRows)
    (heads, size.head_width, weights, field.f32() + begin * width, qkv.f32() + begin * 3 * width,
     end - begin, y.f32() + begin * width);
  });
}

void CpuBackend::CoupledReadBackward(Tensor field, Tensor qkv, Tensor coupling, Tensor damping,
                                     Tensor dy, Tensor dfield, Tensor dqkv, Tensor dcoupling,
                                     Tensor ddamping) {
  const auto size = contract::CoupledReadBackward(field, qkv, coupling, damping, dy, dfield, dqkv,
                                                  dcoupling, ddamping);
  const int64_t heads = size.heads, width = size.width(), pairs = heads * heads;
  const int64_t blocks = RowBlocks(size.rows);
  float* share = Scratch((4 + blocks) * pairs + heads + threads_ * width);
  float* weights = share + pairs;
  float* transposed = weights + pairs;
  float* products = transposed + pairs;
  float* sums = products + pairs;
  float* scale = sums + blocks * pairs;
  float* rooms = scale + heads;
  CouplingShares(heads, coupling.f32(), damping.f32(), share, scale);
  for (int64_t i = 0; i < heads; ++i) {
    for (int64_t j = 0; j < heads; ++j) {
      weights[i * heads + j] = transposed[j * heads + i] = share[i * heads + j] * scale[j];
    }
  }
  std::fill_n(products, (1 + blocks) * pairs, 0.0f);
  ParallelRanges(threads_, blocks, 1, [&](int thread, int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kRowBlock, end = std::min(begin + kRowBlock, size.rows);
      const int64_t at = begin * width;
      HWY_DYNAMIC_DISPATCH(CoupledReadBackwardRows)
      (heads, size.head_width, weights, transposed, field.f32() + at, qkv.f32() + 3 * at,
       dy.f32() + at, end - begin, rooms + thread * width, dfield.f32() + at, dqkv.f32() + 3 * at,
       sums + block * pairs);
    }
  });
  AddBlockSums(sums, blocks, pairs, products);
  for (int64_t j = 0; j < heads; ++j) {
    float dscale = 0.0f;
    for (int64_t i = 0; i < heads; ++i) dscale += share[i * heads + j] * products[i * heads + j];
    ddamping.f32()[j] =
        scale[j] > 0.0f ? dscale * std::exp(-2.0f * damping.f32()[j]) / scale[j] : 0.0f;
  }
  for (int64_t i = 0; i < heads; ++i) {
    float mean = 0.0f;
    for (int64_t j = i * heads; j < (i + 1) * heads; ++j) mean += weights[j] * products[j];
    for (int64_t j = 0; j < heads; ++j) {
      const int64_t at = i * heads + j;
      dcoupling.f32()[at] += share[at] * (scale[j] * products[at] - mean);
    }
  }
}

void CpuBackend::CumulativeMeanForward(int64_t batch, int64_t position, Tensor x, Tensor state,
                                       Tensor mean) {
  const auto size = contract::CumulativeMean(batch, position, x, state, mean);
  WF_CHECK(position == 0 || !state.empty());
  const int64_t width = x.shape[1], parts = (width + kColumns - 1) / kColumns;
  ParallelRanges(threads_, batch * parts, 1, [&](int, int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const int64_t b = part / parts, begin = part % parts * kColumns;
      const int64_t columns = std::min(kColumns, width - begin);
      float* past = state.empty() ? nullptr : state.f32() + b * width + begin;
      double sums[kColumns] = {};
      for (int64_t i = 0; i < columns && past != nullptr; ++i) sums[i] = past[i];
      for (int64_t t = 0; t < size.tokens; ++t) {
        const int64_t at = (b * size.tokens + t) * width + begin;
        const double count = static_cast<double>(position + t + 1);
        for (int64_t i = 0; i < columns; ++i) {
          sums[i] += x.f32()[at + i];
          mean.f32()[at + i] = static_cast<float>(sums[i] / count);
        }
      }
      for (int64_t i = 0; i < columns && past != nullptr; ++i) {
        past[i] = static_cast<float>(sums[i]);
      }
    }
  });
}

void CpuBackend::CumulativeMeanBackward(int64_t batch, int64_t position, Tensor dmean,
                                        Tensor dstate, Tensor dx) {
  const auto size = contract::CumulativeMean(batch, position, dmean, dstate, dx);
  const int64_t width = dx.shape[1], parts = (width + kColumns - 1) / kColumns;
  ParallelRanges(threads_, batch * parts, 1, [&](int, int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const int64_t b = part / parts, begin = part % parts * kColumns;
      const int64_t columns = std::min(kColumns, width - begin);
      float* later = dstate.empty() ? nullptr : dstate.f32() + b * width + begin;
      double sums[kColumns] = {};
      for (int64_t i = 0; i < columns && later != nullptr; ++i) sums[i] = later[i];
      for (int64_t t = size.tokens; t-- > 0;) {
        const int64_t at = (b * size.tokens + t) * width + begin;
        const double count = static_cast<double>(position + t + 1);
        for (int64_t i = 0; i < columns; ++i) {
          sums[i] += dmean.f32()[at + i] / count;
          dx.f32()[at + i] = static_cast<float>(sums[i]);
        }
      }
      for (int64_t i = 0; i < columns && later != nullptr; ++i) {
        later[i] = static_cast<float>(sums[i]);
      }
    }
  });
}

void CpuBackend::InterferenceForward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                     Tensor temperature, Tensor y) {
  const auto size = contract::Interference(near, far, echo, gate, temperature, y);
  const float divisor = Divisor(temperature);
  ParallelRanges(threads_, size.rows, 16, [&](int, int64_t begin, int64_t end) {
    const int64_t at = begin * size.width;
    HWY_DYNAMIC_DISPATCH(InterferenceRows)
    (near.f32() + at, far.f32() + at, echo.f32() + at, gate.f32() + at, divisor, end - begin,
     size.width, y.f32() + at);
  });
}

void CpuBackend::InterferenceBackward(Tensor near, Tensor far, Tensor echo, Tensor gate,
                                      Tensor temperature, Tensor dy, Tensor dnear, Tensor dfar,
                                      Tensor decho, Tensor dgate, Tensor dtemperature) {
  const auto size = contract::InterferenceBackward(near, far, echo, gate, temperature, dy, dnear,
                                                   dfar, decho, dgate, dtemperature);
  const float divisor = Divisor(temperature);
  const int64_t blocks = RowBlocks(size.rows);
  float* sums = Scratch(blocks + 1);
  float* total = sums + blocks;
  std::fill_n(sums, blocks + 1, 0.0f);
  ParallelRanges(threads_, blocks, 1, [&](int, int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kRowBlock, end = std::min(begin + kRowBlock, size.rows);
      const int64_t at = begin * size.width;
      HWY_DYNAMIC_DISPATCH(InterferenceBackwardRows)
      (near.f32() + at, far.f32() + at, echo.f32() + at, gate.f32() + at, divisor, dy.f32() + at,
       end - begin, size.width, dnear.f32() + at, dfar.f32() + at, decho.f32() + at,
       dgate.f32() + at, sums + block);
    }
  });
  AddBlockSums(sums, blocks, 1, total);
  // The derivative of softplus is the sigmoid.
  dtemperature.f32()[0] += *total / (1.0f + std::exp(-temperature.f32()[0]));
}

}  // namespace wavefield
#endif
