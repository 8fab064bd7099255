// Laws of the elementwise field on the device: between calls, between ways, and of the transforms
// behind kFft.

#include "core/backend/cuda/field_elementwise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/backend/contract.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/fft_plans.h"
#include "core/tensor/arena.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using testing::RelativeDifference;
using testing::SameBits;

constexpr int64_t kHeads = 2, kHeadWidth = 20, kWidth = kHeads * kHeadWidth;

// Sequences and everything that goes in and comes out, on the host.
struct Call {
  int64_t batch;
  Tensor qkv, damping, frequency, phase, state, field, dfield, dstate, dqkv, ddamping, dfrequency,
      dphase;

  std::vector<Tensor*> Tensors() {
    return {&qkv,    &damping, &frequency, &phase,    &state,      &field,
            &dfield, &dstate,  &dqkv,      &ddamping, &dfrequency, &dphase};
  }

  // body(call), with tensors on the device instead; afterwards the host's have its values.
  template <typename Body>
  void OnDevice(CudaBackend& cuda, const Body& body) const {
    Call host = *this, device = *this;
    const auto from = host.Tensors(), to = device.Tensors();
    for (size_t i = 0; i < to.size(); ++i) {
      if (from[i]->empty()) continue;
      to[i]->data = cuda.Allocate(to[i]->bytes());
      cuda.CopyFromHost(from[i]->data, *to[i]);
    }
    body(device);
    for (size_t i = 0; i < to.size(); ++i) {
      if (from[i]->empty()) continue;
      cuda.CopyToHost(*to[i], from[i]->data);
      cuda.Free(to[i]->data);
    }
  }
  void Forward(CudaBackend& cuda, Propagation way) const {
    OnDevice(cuda, [&](const Call& c) {
      cuda.FieldElementwiseForward(way, batch, c.qkv, c.damping, c.frequency, c.phase, c.state,
                                   c.field);
    });
  }
  void Backward(CudaBackend& cuda, Propagation way) const {
    OnDevice(cuda, [&](const Call& c) {
      cuda.FieldElementwiseBackward(way, batch, c.qkv, c.damping, c.frequency, c.phase, c.state,
                                    c.dfield, c.dstate, c.dqkv, c.ddamping, c.dfrequency, c.dphase);
    });
  }
  // By FFT, in groups of lines whose spectra take so many bytes.
  void ForwardInGroups(CudaBackend& cuda, int64_t group_bytes) const {
    OnDevice(cuda, [&](const Call& c) {
      Arena arena(cuda);
      cuda::FftPlans plans;
      const auto size = contract::FieldElementwiseForward(
          Propagation::kFft, batch, c.qkv, c.damping, c.frequency, c.phase, c.state, c.field);
      cuda::FieldFftForward({size, c.qkv, c.damping, c.frequency, c.phase, c.state, c.field}, plans,
                            arena, cuda.stream(), group_bytes);
      cuda.Synchronize();
    });
  }
  void BackwardInGroups(CudaBackend& cuda, int64_t group_bytes) const {
    OnDevice(cuda, [&](const Call& c) {
      Arena arena(cuda);
      cuda::FftPlans plans;
      const auto size = contract::FieldElementwiseForward(
          Propagation::kFft, batch, c.qkv, c.damping, c.frequency, c.phase, c.state, c.field);
      cuda::FieldFftBackward({size, c.qkv, c.damping, c.frequency, c.phase, c.state, c.dfield,
                              c.dstate, c.dqkv, c.ddamping, c.dfrequency, c.dphase},
                             plans, arena, cuda.stream(), group_bytes);
      cuda.Synchronize();
    });
  }
};

class CudaElementwiseField : public ::testing::Test {
 protected:
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }
  Call MakeCall(int64_t batch, int64_t tokens, bool static_damping, bool with_state) {
    const int64_t rows = batch * tokens, damping_rows = static_damping ? 1 : rows;
    const Shape state{batch, kHeads, 2, kHeadWidth};
    return {batch,
            Random({rows, 3 * kWidth}),
            Random({damping_rows, kHeads}, 1e-3, 0.2),
            Random({kHeads}, 0.1, 1.5),
            Random({kHeads}, -3.0, 3.0),
            with_state ? Random(state) : Tensor{},
            Zeros({rows, kWidth}),
            Random({rows, kWidth}),
            with_state ? Random(state) : Tensor{},
            Zeros({rows, 3 * kWidth}),
            Zeros({damping_rows, kHeads}),
            Zeros({kHeads}),
            Zeros({kHeads})};
  }
  // The same inputs, outputs of its own.
  Call Again(const Call& call) {
    Call again = call;
    for (Tensor* tensor : {&again.state, &again.dstate}) {
      if (!tensor->empty()) *tensor = memory_.Copy(*tensor);
    }
    for (Tensor* tensor :
         {&again.field, &again.dqkv, &again.ddamping, &again.dfrequency, &again.dphase}) {
      *tensor = Zeros(tensor->shape);
    }
    return again;
  }
  void ExpectSameGradients(const Call& actual, const Call& expected, double tolerance) {
    const double scale = std::sqrt(static_cast<double>(expected.qkv.shape[0] * kHeadWidth));
    EXPECT_LE(RelativeDifference(actual.dqkv, expected.dqkv), tolerance);
    EXPECT_LE(RelativeDifference(actual.ddamping, expected.ddamping, scale), tolerance);
    EXPECT_LE(RelativeDifference(actual.dfrequency, expected.dfrequency, scale), tolerance);
    EXPECT_LE(RelativeDifference(actual.dphase, expected.dphase, scale), tolerance);
  }
  void TearDown() override {
    EXPECT_TRUE(memory_.Intact());
    if (HasFailure()) std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  const uint64_t seed_ = FreshSeed();
  GuardedTensors memory_;
  CudaBackend cuda_{0};
};

TEST_F(CudaElementwiseField, ALaterTokenChangesNoBitOfWhatComesBefore) {
  const Call call = MakeCall(1, 100, false, false);
  call.Forward(cuda_, Propagation::kRecurrence);
  for (const int64_t t : {1, 31, 32, 33, 64, 99}) {
    Call changed = Again(call);
    changed.qkv = memory_.Copy(call.qkv);
    changed.damping = memory_.Copy(call.damping);
    for (int64_t c = 0; c < 3 * kWidth; ++c) changed.qkv.f32()[t * 3 * kWidth + c] += 1.5f;
    for (int64_t h = 0; h < kHeads; ++h) changed.damping.f32()[t * kHeads + h] += 0.5f;
    changed.Forward(cuda_, Propagation::kRecurrence);
    EXPECT_TRUE(SameBits(changed.field.Rows(0, t), call.field.Rows(0, t))) << "token " << t;
    EXPECT_FALSE(SameBits(changed.field.Rows(t, t + 1), call.field.Rows(t, t + 1)))
        << "token " << t;
  }
}

TEST_F(CudaElementwiseField, ANaNReachesWhatComesAfterItAndNothingElse) {
  const Call call = MakeCall(1, 100, false, false);
  call.qkv.f32()[40 * 3 * kWidth + kWidth + 3] = std::numeric_limits<float>::quiet_NaN();
  call.Forward(cuda_, Propagation::kRecurrence);
  for (int64_t t = 0; t < 100; ++t) {
    for (int64_t c = 0; c < kWidth; ++c) {
      EXPECT_EQ(std::isnan(call.field.f32()[t * kWidth + c]), t >= 40 && c == 3) << t << " " << c;
    }
  }
}

TEST_F(CudaElementwiseField, PiecesWithCarriedStateAndItsGradientAreTheSequence) {
  for (const bool static_damping : {false, true}) {
    SCOPED_TRACE(static_damping ? "static" : "selective");
    const Call whole = MakeCall(1, 101, static_damping, true);
    const Call pieces = Again(whole);
    std::vector<int64_t> ends;
    int64_t end = 0;
    // As in generation, around a chunk, and longer than one.
    for (const int64_t length : {1, 1, 31, 32, 33, 3}) ends.push_back(end += length);
    ASSERT_EQ(end, 101);
    const auto piece = [&](size_t i) {
      const int64_t from = i == 0 ? 0 : ends[i - 1], to = ends[i];
      Call part = pieces;
      part.qkv = pieces.qkv.Rows(from, to);
      part.field = pieces.field.Rows(from, to);
      part.dfield = pieces.dfield.Rows(from, to);
      part.dqkv = pieces.dqkv.Rows(from, to);
      if (static_damping) {
        part.ddamping = Zeros({1, kHeads});
      } else {
        part.damping = pieces.damping.Rows(from, to);
        part.ddamping = pieces.ddamping.Rows(from, to);
      }
      return part;
    };
    std::vector<Tensor> states;
    for (size_t i = 0; i < ends.size(); ++i) {
      states.push_back(memory_.Copy(pieces.state));
      piece(i).Forward(cuda_, Propagation::kRecurrence);
    }
    for (size_t i = ends.size(); i-- > 0;) {
      Call part = piece(i);
      part.state = states[i];
      part.Backward(cuda_, Propagation::kRecurrence);
      for (int64_t h = 0; h < kHeads && static_damping; ++h) {
        pieces.ddamping.f32()[h] += part.ddamping.f32()[h];
      }
    }
    whole.Backward(cuda_, Propagation::kRecurrence);
    whole.Forward(cuda_, Propagation::kRecurrence);
    // Roundings of terms that have decayed since weigh more; a wrong carry is off by all of it.
    EXPECT_LE(RelativeDifference(pieces.field, whole.field), 1e-4);
    EXPECT_LE(RelativeDifference(pieces.state, whole.state), 1e-4);
    EXPECT_LE(RelativeDifference(pieces.dstate, whole.dstate), 1e-4);
    ExpectSameGradients(pieces, whole, 5e-5);
  }
}

TEST_F(CudaElementwiseField, AllWaysAgreeWithTheDirectSum) {
  struct Case {
    bool static_damping, with_state;
    std::vector<Propagation> ways;
  };
  for (const Case& c : {Case{true, false, {Propagation::kRecurrence, Propagation::kFft}},
                        Case{false, true, {Propagation::kRecurrence}}}) {
    const Call direct = MakeCall(2, 77, c.static_damping, c.with_state);
    const Call original = Again(direct);
    direct.Backward(cuda_, Propagation::kDirect);
    direct.Forward(cuda_, Propagation::kDirect);
    for (const Propagation way : c.ways) {
      SCOPED_TRACE(way == Propagation::kFft ? "FFT" : "recurrence");
      const Call call = Again(original);
      call.Backward(cuda_, way);
      call.Forward(cuda_, way);
      EXPECT_LE(RelativeDifference(call.field, direct.field), 1e-4);
      ExpectSameGradients(call, direct, 5e-5);
      if (!c.with_state) continue;
      EXPECT_LE(RelativeDifference(call.state, direct.state), 1e-4);
      EXPECT_LE(RelativeDifference(call.dstate, direct.dstate), 1e-4);
    }
  }
}

TEST_F(CudaElementwiseField, TransformsInGroupsGiveTheSame) {
  const Call whole = MakeCall(3, 50, true, false);
  whole.Forward(cuda_, Propagation::kFft);
  whole.Backward(cuda_, Propagation::kFft);
  const int64_t line_bytes = 8 * (cuda::FastFftLength(99) / 2 + 1);
  // Groups that end within a head and within a tile, with lines to spare in the last one, of whole
  // sequences, and of single lines.
  for (const int64_t lines : {int64_t{37}, int64_t{19}, kWidth, int64_t{1}}) {
    SCOPED_TRACE(std::to_string(lines) + " lines");
    const Call groups = Again(whole);
    groups.ForwardInGroups(cuda_, lines * line_bytes);
    groups.BackwardInGroups(cuda_, lines * line_bytes);
    EXPECT_LE(RelativeDifference(groups.field, whole.field), 5e-6);
    ExpectSameGradients(groups, whole, 5e-6);
  }
}

TEST_F(CudaElementwiseField, AWaveIsExactAfterManyTokens) {
  const int64_t tokens = 20000;
  Call call = MakeCall(1, tokens, true, false);
  std::fill_n(call.qkv.f32(), call.qkv.elements(), 0.0f);
  std::fill_n(call.qkv.f32(), 3 * kWidth, 1.0f);
  std::fill_n(call.damping.f32(), kHeads, 1e-5f);
  for (const Propagation way : {Propagation::kRecurrence, Propagation::kFft}) {
    call.Forward(cuda_, way);
    for (const int64_t t : {int64_t{0}, int64_t{1000}, tokens - 1}) {
      for (int64_t h = 0; h < kHeads; ++h) {
        const double distance = static_cast<double>(t), omega = call.frequency.f32()[h];
        const double expected = std::exp(-static_cast<double>(call.damping.f32()[h]) * distance) *
                                std::cos(omega * distance + call.phase.f32()[h]);
        EXPECT_NEAR(call.field.f32()[t * kWidth + h * kHeadWidth], expected,
                    1e-4)  // fp32 phases of ω·t
            << "token " << t << " head " << h;
      }
    }
  }
}

TEST(FastFftLength, IsTheSmallestEvenProductOfSmallPrimes) {
  const auto is_fast = [](int64_t n) {
    if (n % 2 != 0) return false;
    for (const int64_t prime : {2, 3, 5, 7}) {
      while (n % prime == 0) n /= prime;
    }
    return n == 1;
  };
  for (int64_t n = 1; n <= 3000; ++n) {
    int64_t expected = n;
    while (!is_fast(expected)) ++expected;
    EXPECT_EQ(cuda::FastFftLength(n), expected) << n;
  }
}

}  // namespace
}  // namespace wavefield
