#include "tests/core/backend/guarded_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace wavefield::testing {
namespace {
constexpr uint32_t kGuard = 0xDEADBEEF;
constexpr size_t kGuardWords = 16;
}  // namespace

uint64_t FreshSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

Tensor GuardedTensors::Make(Shape shape, DType dtype) {
  const auto elements = static_cast<size_t>(shape.elements());
  auto block = std::make_unique<Block>();
  block->words.assign(elements + 2 * kGuardWords, kGuard);
  block->end = kGuardWords + elements;
  Tensor tensor{block->words.data() + kGuardWords, dtype, shape};
  blocks_.push_back(std::move(block));
  return tensor;
}

Tensor GuardedTensors::Uniform(Shape shape, double low, double high, uint64_t seed) {
  std::mt19937_64 random(RandomStream(seed, "tensors").Bits(blocks_.size()));
  const Tensor tensor = Make(shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double share = static_cast<double>(random() >> 11) * 0x1p-53;
    tensor.f32()[i] = static_cast<float>(low + (high - low) * share);
  }
  return tensor;
}

Tensor GuardedTensors::Copy(const Tensor& tensor) {
  const Tensor copy = Make(tensor.shape, tensor.dtype);
  std::memcpy(copy.data, tensor.data, tensor.bytes());
  return copy;
}

bool GuardedTensors::Intact() const {
  const auto is_guard = [](uint32_t word) { return word == kGuard; };
  return std::all_of(blocks_.begin(), blocks_.end(), [&](const auto& block) {
    return std::all_of(block->words.begin(), block->words.begin() + kGuardWords, is_guard) &&
           std::all_of(block->words.begin() + block->end, block->words.end(), is_guard);
  });
}

std::vector<float> Values(const Tensor& tensor) {
  return {tensor.f32(), tensor.f32() + tensor.elements()};
}

bool SameBits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data, b.data, a.bytes()) == 0;
}

double RelativeDifference(const Tensor& a, const Tensor& b, double scale) {
  double squares = 0.0;
  for (int64_t i = 0; i < b.elements(); ++i) {
    if (!std::isnan(b.f32()[i])) squares += static_cast<double>(b.f32()[i]) * b.f32()[i];
  }
  const double rms = std::sqrt(squares / static_cast<double>(std::max<int64_t>(b.elements(), 1)));
  double worst = 0.0;
  for (int64_t i = 0; i < b.elements(); ++i) {
    const double x = a.f32()[i], y = b.f32()[i];
    if (std::isnan(x) != std::isnan(y)) return std::numeric_limits<double>::infinity();
    if (x == y || std::isnan(x)) continue;
    worst = std::max(worst, std::fabs(x - y) / (std::fabs(y) + rms + scale));
  }
  return worst;
}

}  // namespace wavefield::testing
