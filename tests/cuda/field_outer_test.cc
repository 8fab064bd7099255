// Laws of the outer field on the device: between calls, between tokens, and of the groups of heads
// that bound its memory.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/backend/cuda/workspace.h"
#include "tests/core/backend/guarded_tensors.h"

namespace wavefield {
namespace {

using testing::FreshSeed;
using testing::GuardedTensors;
using testing::RelativeDifference;
using testing::SameBits;

// One call of both directions, on the host.
struct Call {
  int64_t batch;
  Tensor qkv, damping, frequency, phase, state, y, dy, dstate, dqkv, ddamping, dfrequency, dphase;

  std::vector<Tensor*> Tensors() {
    return {&qkv, &damping, &frequency, &phase,    &state,      &y,
            &dy,  &dstate,  &dqkv,      &ddamping, &dfrequency, &dphase};
  }
  void Forward(Backend& backend, Propagation way = Propagation::kChunked) const {
    On(backend, [&](const Call& c) {
      backend.FieldOuterForward(way, batch, c.qkv, c.damping, c.frequency, c.phase, c.state, c.y);
    });
  }
  void Backward(Backend& backend, Propagation way = Propagation::kChunked) const {
    On(backend, [&](const Call& c) {
      backend.FieldOuterBackward(way, batch, c.qkv, c.damping, c.frequency, c.phase, c.state, c.dy,
                                 c.dstate, c.dqkv, c.ddamping, c.dfrequency, c.dphase);
    });
  }

 private:
  // body(call), with the backend's tensors; afterwards the host's have their values.
  template <typename Body>
  void On(Backend& backend, const Body& body) const {
    Call host = *this, there = *this;
    const auto from = host.Tensors(), to = there.Tensors();
    for (size_t i = 0; i < to.size(); ++i) {
      if (from[i]->empty()) continue;
      to[i]->data = backend.Allocate(std::max<size_t>(1, to[i]->bytes()));
      backend.CopyFromHost(from[i]->data, *to[i]);
    }
    body(there);
    for (size_t i = 0; i < to.size(); ++i) {
      if (from[i]->empty()) continue;
      backend.CopyToHost(*to[i], from[i]->data);
      backend.Free(to[i]->data);
    }
  }
};

class CudaOuterField : public ::testing::Test {
 protected:
  Tensor Random(Shape shape, double low = -1.0, double high = 1.0) {
    return memory_.Uniform(shape, low, high, seed_);
  }
  Tensor Zeros(Shape shape) { return memory_.Uniform(shape, 0.0, 0.0, seed_); }

  // Selective damping; without a state unless one is set.
  Call MakeCall(int64_t batch, int64_t tokens, int64_t heads, int64_t head_width) {
    const int64_t rows = batch * tokens, width = heads * head_width;
    return {batch,
            Random({rows, 3 * width}),
            Random({rows, heads}, 1e-3, 0.2),
            Random({heads}, 0.1, 1.5),
            Random({heads}, -3.0, 3.0),
            {},
            Zeros({rows, width}),
            Random({rows, width}),
            {},
            Zeros({rows, 3 * width}),
            Zeros({rows, heads}),
            Zeros({heads}),
            Zeros({heads})};
  }
  // The same inputs and states, all memory of its own.
  Call Copy(const Call& call) {
    Call copy = call;
    for (Tensor* tensor : copy.Tensors()) {
      if (!tensor->empty()) *tensor = memory_.Copy(*tensor);
    }
    return copy;
  }
  // Rows [begin, end) of the one sequence of a call; the state, its gradient and what all tokens
  // share are the call's own.
  static Call Piece(const Call& call, int64_t begin, int64_t end) {
    Call piece = call;
    for (Tensor* rows :
         {&piece.qkv, &piece.damping, &piece.y, &piece.dy, &piece.dqkv, &piece.ddamping}) {
      *rows = rows->Rows(begin, end);
    }
    return piece;
  }
  static void ExpectClose(const Call& actual, const Call& expected, double tolerance) {
    Call a = actual, b = expected;
    const auto tensors = a.Tensors(), others = b.Tensors();
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i]->empty()) continue;
      EXPECT_LE(RelativeDifference(*tensors[i], *others[i], 1.0), tolerance) << "tensor " << i;
    }
  }
  void TearDown() override { EXPECT_TRUE(memory_.Intact()); }

  const uint64_t seed_ = FreshSeed();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  GuardedTensors memory_;
  CudaBackend cuda_{0};
};

TEST_F(CudaOuterField, PiecesGiveWhatTheWholeSequenceDoes) {
  // One token, parts of chunks, whole chunks and more, and more chunks than a scan reads ahead.
  const std::vector<int64_t> lengths = {1, 1, 2, 64, 1, 3, 65, 128, 1100, 70};
  int64_t tokens = 0;
  for (const int64_t length : lengths) tokens += length;
  Call whole = MakeCall(1, tokens, 2, 12);
  whole.state = Random({1, 2, 24, 12});
  whole.dstate = Random({1, 2, 24, 12});
  const Call pieces = Copy(whole);

  std::vector<Tensor> before;
  int64_t end = 0;
  for (const int64_t length : lengths) {
    before.push_back(memory_.Copy(pieces.state));
    Piece(pieces, end, end + length).Forward(cuda_);
    end += length;
  }
  for (size_t i = lengths.size(); i-- > 0;) {
    Call piece = Piece(pieces, end - lengths[i], end);
    piece.state = before[i];
    piece.Backward(cuda_);
    end -= lengths[i];
  }
  const Tensor start = memory_.Copy(whole.state);
  whole.Forward(cuda_);
  Call backward = whole;
  backward.state = start;
  backward.Backward(cuda_);
  ExpectClose(pieces, whole, 2e-5);
}

TEST_F(CudaOuterField, NoBitChangesWithLaterTokens) {
  constexpr int64_t kTokens = 150;
  for (const Propagation way : {Propagation::kChunked, Propagation::kDirect}) {
    const Call call = MakeCall(1, kTokens, 2, 8);
    call.Forward(cuda_, way);
    for (const int64_t t : {1, 63, 64, 65, 128, 149}) {
      const Call other = Copy(call);
      for (const Tensor& rows : {other.qkv, other.damping}) {
        const Tensor later = rows.Rows(t, kTokens);
        for (int64_t i = 0; i < later.elements(); ++i) later.f32()[i] *= 30.0f;
      }
      other.Forward(cuda_, way);
      EXPECT_TRUE(SameBits(other.y.Rows(0, t), call.y.Rows(0, t))) << "token " << t;
      EXPECT_FALSE(SameBits(other.y, call.y));
    }
  }
}

TEST_F(CudaOuterField, ANaNReachesNoChunkBeforeItsOwn) {
  constexpr int64_t kTokens = 150, kHeads = 2, kWidth = 16, kAt = 100;
  const auto cpu = MakeCpuBackend(1);
  for (Backend* backend : {static_cast<Backend*>(&cuda_), cpu.get()}) {
    for (const int64_t part : {0, 1, 2}) {  // q, k, v
      const Call call = MakeCall(1, kTokens, kHeads, kWidth / kHeads), other = Copy(call);
      other.qkv.f32()[(kAt * 3 + part) * kWidth] = std::nanf("");
      call.Forward(*backend);
      other.Forward(*backend);
      const int64_t start = kAt / cuda::kOuterChunk * cuda::kOuterChunk;
      EXPECT_TRUE(SameBits(other.y.Rows(0, start), call.y.Rows(0, start))) << "part " << part;
      EXPECT_TRUE(std::isnan(other.y.f32()[kAt * kWidth])) << "part " << part;
    }
  }
}

TEST_F(CudaOuterField, GroupsOfHeadsGiveWhatTheCpuDoes) {
  // The pairs of one long chunk take much memory.
  constexpr int64_t kBatch = 4, kHeads = 4, kHeadWidth = 4, kTokens = 2048;
  for (const bool backward : {false, true}) {
    const cuda::OuterScratch scratch(kBatch, kTokens, kHeads, kHeadWidth, kTokens, sizeof(float),
                                     backward);
    ASSERT_LT(scratch.items, kBatch * kHeads) << "one group tests nothing";
  }
  const Call call = MakeCall(kBatch, kTokens, kHeads, kHeadWidth), expected = Copy(call);
  const auto cpu = MakeCpuBackend(1);
  call.Forward(cuda_, Propagation::kDirect);
  expected.Forward(*cpu);
  call.Backward(cuda_, Propagation::kDirect);
  expected.Backward(*cpu);
  ExpectClose(call, expected, 1e-4);
}

TEST_F(CudaOuterField, AnEmptyPieceLeavesStatesAlone) {
  Call call = MakeCall(1, 0, 2, 4);
  call.damping = Random({1, 2}, 0.1, 0.2);
  call.ddamping = Random({1, 2});
  call.state = Random({1, 2, 8, 4});
  call.dstate = Random({1, 2, 8, 4});
  const Call before = Copy(call);
  call.Forward(cuda_);
  call.Backward(cuda_);
  EXPECT_TRUE(SameBits(call.state, before.state));
  EXPECT_TRUE(SameBits(call.dstate, before.dstate));
  EXPECT_TRUE(SameBits(call.ddamping, Zeros({1, 2})));
}

TEST(OuterFieldWorkspace, IsBoundedWhateverTheBatch) {
  constexpr size_t kMiB = size_t{1} << 20;
  for (const bool backward : {false, true}) {
    for (const int64_t batch : {1, 8, 64, 512}) {
      EXPECT_LE(cuda::FieldOuterWorkspace(batch, 2048, 12, 64, 2, backward),
                512 * kMiB + batch * kMiB);
    }
    // One head of one sequence is what cannot be cut.
    EXPECT_GT(cuda::FieldOuterWorkspace(1, int64_t{1} << 20, 12, 64, 2, backward), 512 * kMiB);
    EXPECT_LT(cuda::FieldOuterWorkspace(1, 1024, 12, 64, 2, backward), 64 * kMiB);
  }
}

}  // namespace
}  // namespace wavefield
