// Index arithmetic past 2^32 elements: operations on tensors that are mostly addresses without
// memory, of which the last blocks alone run. Their last rows are those of the same operation on
// these rows alone, bit for bit.

#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/backend/cuda/convert.h"
#include "core/backend/cuda/cuda_backend.h"
#include "core/base/rng.h"
#include "tests/core/backend/guarded_tensors.h"
#include "tests/cuda/emulation/runtime.h"

namespace wavefield {
namespace {

using Tensors = std::vector<Tensor>;
using testing::FreshSeed;

// Read when the emulation is first used.
const int kManyBytes = setenv("WAVEFIELD_EMULATED_DEVICE_BYTES", "400000000000", 1);

constexpr int64_t kElements = int64_t{1} << 32;
constexpr int64_t kTokens = 64;
constexpr DType kActivation = DType::kBFloat16, kFloat = DType::kFloat32;

struct Operand {
  Shape row;  // of a row, or of all where there are no rows
  DType dtype = kActivation;
  bool rows = true;
};
Operand Fixed(Shape shape) { return {shape, kFloat, false}; }

struct Case {
  std::string name;
  std::vector<Operand> operands;
  std::function<void(CudaBackend&, int64_t batch, const Tensors&)> run;
  unsigned columns = 64;  // of the grid, that run
};

Tensor Column(const Tensor& tensor) { return tensor.Reshape({tensor.shape[0]}); }

std::vector<Case> Cases() {
  std::vector<Case> cases;
  constexpr int64_t kWidth = 256, kHeads = 2;
  const Operand one{{1}}, narrow{{kWidth}}, pair{{2 * kWidth}}, triple{{3 * kWidth}},
      quad{{4 * kWidth}}, scalar{{1}, kFloat}, heads{{kHeads}, kFloat};
  const Operand vector = Fixed({kWidth}), per_head = Fixed({kHeads});
  const Operand coupling = Fixed({kHeads, kHeads});
  const auto add = [&](std::string name, std::vector<Operand> operands, auto run,
                       unsigned columns = 64) {
    cases.push_back({std::move(name), std::move(operands), run, columns});
  };
  using B = CudaBackend;
  using X = const Tensors&;
  add("Fill", {one}, [](B& b, int64_t, X x) { b.Fill(x[0], 1.5f); });
  add("Add", {one, one}, [](B& b, int64_t, X x) { b.Add(x[0], x[1]); });
  add("GeluForward", {one, one}, [](B& b, int64_t, X x) { b.GeluForward(x[0], x[1]); });
  add("GeluBackward", {one, one, one},
      [](B& b, int64_t, X x) { b.GeluBackward(x[0], x[1], x[2]); });
  add("Convert", {one, scalar}, [](B& b, int64_t, X x) { cuda::Convert(x[0], x[1], b.stream()); });
  add("DampingForward", {heads, per_head, heads},
      [](B& b, int64_t, X x) { b.DampingForward(x[0], x[1], x[2]); });
  add("AddBias", {vector, narrow}, [](B& b, int64_t, X x) { b.AddBias(x[0], x[1]); });
  add("SwiGluForward", {pair, narrow}, [](B& b, int64_t, X x) { b.SwiGluForward(x[0], x[1]); });
  add("SwiGluBackward", {pair, narrow, pair},
      [](B& b, int64_t, X x) { b.SwiGluBackward(x[0], x[1], x[2]); });
  add("RmsNormForward", {narrow, vector, narrow, scalar},
      [](B& b, int64_t, X x) { b.RmsNormForward(x[0], x[1], x[2], Column(x[3])); });
  add("LayerNormForward", {narrow, vector, vector, narrow, scalar, scalar}, [](B& b, int64_t, X x) {
    b.LayerNormForward(x[0], x[1], x[2], x[3], Column(x[4]), Column(x[5]));
  });
  add("CopyColumns", {quad, narrow},
      [](B& b, int64_t, X x) { b.CopyColumns(x[0], 2 * kWidth, kWidth, x[1], 0); });
  add("ReluForward", {narrow, quad},
      [](B& b, int64_t, X x) { b.ReluForward(0.1f, x[0], kWidth, x[1]); });
  add("ReluBackward", {quad, quad, narrow},
      [](B& b, int64_t, X x) { b.ReluBackward(0.1f, x[0], kWidth, x[1], x[2]); });
  add("SigmoidGateForward", {narrow, quad, narrow},
      [](B& b, int64_t, X x) { b.SigmoidGateForward(x[0], x[1], x[2]); });
  add("SigmoidGateBackward", {narrow, quad, narrow, narrow, quad},
      [](B& b, int64_t, X x) { b.SigmoidGateBackward(x[0], x[1], x[2], x[3], x[4]); });
  add("CoupledReadForward", {narrow, triple, coupling, Fixed({1, kHeads}), narrow},
      [](B& b, int64_t, X x) { b.CoupledReadForward(x[0], x[1], x[2], x[3], x[4]); });
  add("InterferenceForward", {narrow, narrow, narrow, narrow, Fixed({1}), narrow},
      [](B& b, int64_t, X x) { b.InterferenceForward(x[0], x[1], x[2], x[3], x[4], x[5]); });
  add("FieldReadoutForward", {narrow, triple, coupling, vector, quad, narrow},
      [](B& b, int64_t, X x) { b.FieldReadoutForward(x[0], x[1], x[2], x[3], x[4], x[5]); });
  add("AddPositions", {narrow}, [](B& b, int64_t n, X x) { b.AddPositions(n, 5, x[0]); });
  add("Rotary", {triple}, [](B& b, int64_t n, X x) { b.Rotary(n, kHeads, 5, false, x[0]); });
  add("CumulativeMeanForward", {narrow, narrow},
      [](B& b, int64_t n, X x) { b.CumulativeMeanForward(n, 0, x[0], {}, x[1]); });
  add("ShortConvForward", {quad, Fixed({3 * kWidth, 3}), Fixed({3 * kWidth}), triple},
      [](B& b, int64_t n, X x) { b.ShortConvForward(n, x[0], x[1], x[2], {}, x[3]); });
  add("AttentionForward", {triple, narrow, heads},
      [](B& b, int64_t n, X x) { b.AttentionForward(n, kHeads, 0, x[0], {}, x[1], x[2]); });
  add(
      "AttentionBackward", {triple, narrow, heads, narrow, triple},
      [](B& b, int64_t n, X x) {
        b.AttentionForward(n, kHeads, 0, x[0], {}, x[1], x[2]);
        b.AttentionBackward(n, kHeads, 0, x[0], {}, x[1], x[2], x[3], {}, x[4]);
      },
      16);
  add("FieldElementwiseForward", {triple, heads, per_head, per_head, narrow},
      [](B& b, int64_t n, X x) {
        b.FieldElementwiseForward(Propagation::kRecurrence, n, x[0], x[1], x[2], x[3], {}, x[4]);
      });
  add("FieldElementwiseBackward",
      {triple, heads, per_head, per_head, narrow, triple, heads, per_head, per_head},
      [](B& b, int64_t n, X x) {
        b.FieldElementwiseBackward(Propagation::kRecurrence, n, x[0], x[1], x[2], x[3], {}, x[4],
                                   {}, x[5], x[6], x[7], x[8]);
      });
  constexpr int64_t kFew = 16;  // the width of heads whose states a block has whole
  const Operand thin{{kHeads * kFew}}, thin_triple{{3 * kHeads * kFew}};
  add(
      "FieldOuterForward", {thin_triple, heads, per_head, per_head, thin},
      [](B& b, int64_t n, X x) {
        b.FieldOuterForward(Propagation::kChunked, n, x[0], x[1], x[2], x[3], {}, x[4]);
      },
      4 * kHeads);
  add(
      "FieldOuterBackward",
      {thin_triple, heads, per_head, per_head, thin, thin_triple, heads, per_head, per_head},
      [](B& b, int64_t n, X x) {
        b.FieldOuterBackward(Propagation::kChunked, n, x[0], x[1], x[2], x[3], {}, x[4], {}, x[5],
                             x[6], x[7], x[8]);
      },
      4 * kHeads);
  add(
      "InterferenceBackward",
      {narrow, narrow, narrow, narrow, Fixed({1}), narrow, narrow, narrow, narrow, narrow,
       Fixed({1})},
      [](B& b, int64_t, X x) {
        b.InterferenceBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10]);
      },
      1);
  add("CumulativeMeanBackward", {narrow, narrow},
      [](B& b, int64_t n, X x) { b.CumulativeMeanBackward(n, 0, x[0], {}, x[1]); });
  add(
      "EmbeddingForward", {Operand{{1}, DType::kInt32}, Fixed({7, kWidth}), narrow},
      [](B& b, int64_t, X x) { b.EmbeddingForward(x[1], Column(x[0]), x[2]); }, 8);
  add("CrossEntropyForwardBackward",
      {narrow, Operand{{1}, DType::kInt32}, scalar, Operand{{1}, DType::kInt32}},
      [](B& b, int64_t, X x) {
        b.CrossEntropyForwardBackward({}, 0.5f, x[0], Column(x[1]), Column(x[2]), Column(x[3]));
      });
  add("Axpby", {scalar, scalar},
      [](B& b, int64_t, X x) { b.Axpby(0.5f, Column(x[0]), 2.0f, Column(x[1])); });
  add("AdamW", {scalar, scalar, scalar, scalar}, [](B& b, int64_t, X x) {
    b.AdamW({0.1f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.3f, 0.1f, 0.7f}, Column(x[0]), Column(x[1]),
            Column(x[2]), Column(x[3]));
  });
  // Blocks of many rows each.
  add(
      "DampingBackward", {heads, heads, heads, per_head},
      [](B& b, int64_t, X x) { b.DampingBackward(x[0], x[1], x[2], x[3]); }, 1);
  add(
      "RmsNormBackward", {narrow, vector, scalar, narrow, narrow, narrow, vector},
      [](B& b, int64_t, X x) {
        b.RmsNormBackward(x[0], x[1], Column(x[2]), x[3], x[4], x[5], x[6]);
      },
      1);
  add(
      "LayerNormBackward", {narrow, vector, scalar, scalar, narrow, narrow, narrow, vector, vector},
      [](B& b, int64_t, X x) {
        b.LayerNormBackward(x[0], x[1], Column(x[2]), Column(x[3]), x[4], x[5], x[6], x[7], x[8]);
      },
      1);
  add(
      "ShortConvBackward",
      {quad, Fixed({3 * kWidth, 3}), Fixed({3 * kWidth}), triple, quad, Fixed({3 * kWidth, 3}),
       Fixed({3 * kWidth})},
      [](B& b, int64_t n, X x) {
        b.ShortConvBackward(n, x[0], x[1], x[2], {}, x[3], {}, x[4], x[5], x[6]);
      },
      4);
  add(
      "CoupledReadBackward",
      {narrow, triple, coupling, Fixed({1, kHeads}), narrow, narrow, triple, coupling,
       Fixed({1, kHeads})},
      [](B& b, int64_t, X x) {
        b.CoupledReadBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8]);
      },
      kHeads);
  add(
      "FieldReadoutBackward",
      {narrow, triple, coupling, vector, quad, narrow, narrow, triple, quad, coupling, vector},
      [](B& b, int64_t, X x) {
        b.FieldReadoutBackward(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10]);
      },
      kHeads);
  return cases;
}

class LargeTensors : public ::testing::TestWithParam<Case> {
 protected:
  ~LargeTensors() override {
    emulation::RunLastBlocks(0);
    for (const Tensor& tensor : owned_) cuda_.Free(tensor.data);
  }

  Tensor Make(DType dtype, Shape shape) {
    Tensor tensor{nullptr, dtype, shape};
    tensor.data = cuda_.Allocate(tensor.bytes());
    owned_.push_back(tensor);
    return tensor;
  }
  static Tensor LastRows(const Tensor& tensor) {
    return tensor.Rows(tensor.shape[0] - kTokens, tensor.shape[0]);
  }
  Tensor Random(DType dtype, Shape shape) {
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    const double most = dtype == DType::kInt32 ? 7 : 1;
    for (float& value : values) value = static_cast<float>(most * random_.Uniform(drawn_++));
    const Tensor tensor = Make(dtype, shape);
    if (dtype == DType::kInt32) {
      const std::vector<int32_t> indices(values.begin(), values.end());
      cuda_.CopyFromHost(indices.data(), tensor);
      return tensor;
    }
    if (dtype == kFloat) {
      cuda_.CopyFromHost(values.data(), tensor);
      return tensor;
    }
    std::vector<__nv_bfloat16> rounded;
    for (const float value : values) rounded.push_back(__float2bfloat16_rn(value));
    cuda_.CopyFromHost(rounded.data(), tensor);
    return tensor;
  }
  std::vector<uint8_t> Bytes(const Tensor& tensor) {
    std::vector<uint8_t> bytes(tensor.bytes());
    cuda_.CopyToHost(tensor, bytes.data());
    return bytes;
  }

  const uint64_t seed_ = FreshSeed();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  const RandomStream random_{seed_, "values"};
  uint64_t drawn_ = 0;
  CudaBackend cuda_{0};
  Tensors owned_;
};

TEST_P(LargeTensors, LastRowsAreThoseOfTheRowsAlone) {
  const Case& test = GetParam();
  int64_t widest = 1;
  for (const Operand& operand : test.operands) {
    if (operand.rows) widest = std::max(widest, operand.row.elements());
  }
  const int64_t batch = kElements / widest / kTokens + 3;
  Tensors large, small;
  for (const Operand& operand : test.operands) {
    const Tensor tensor =
        Random(operand.dtype, operand.rows ? Shape{kTokens, operand.row.elements()} : operand.row);
    small.push_back(tensor);
    if (!operand.rows) {
      large.push_back(tensor);
      continue;
    }
    large.push_back(Make(operand.dtype, {batch * kTokens, tensor.shape[1]}));
    cuda_.Copy(tensor, LastRows(large.back()));
  }
  emulation::RunLastBlocks(test.columns);
  test.run(cuda_, batch, large);
  cuda_.Synchronize();
  emulation::RunLastBlocks(0);
  test.run(cuda_, 1, small);
  for (size_t i = 0; i < small.size(); ++i) {
    if (!test.operands[i].rows) continue;
    EXPECT_EQ(Bytes(LastRows(large[i])), Bytes(small[i])) << "operand " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Operations, LargeTensors, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace wavefield
