#include "core/backend/matmul_rate.h"

#include <algorithm>
#include <chrono>

#include "core/backend/backend.h"

namespace wavefield {
namespace {

// Tells whether a product of kMatMulRateSize takes long, and does for a rate then.
constexpr int64_t kProbeSize = 512;
constexpr double kLong = 2;  // seconds
// Where it is over so soon, its launch counts, and not all of a GPU works for it.
constexpr double kShort = 1e-3;  // seconds
constexpr int kRuns = 3;

double Flops(int64_t size) { return 2.0 * static_cast<double>(size * size * size); }

// FLOP/s of the fastest of `runs` products of size³, after one to warm up.
double Measure(Backend& backend, DType type, int64_t size, int runs) {
  const auto make = [&] {
    Tensor matrix{nullptr, type, {size, size}};
    matrix.data = backend.Allocate(matrix.bytes());
    backend.Fill(matrix, 1.0f);
    return matrix;
  };
  const Tensor a = make(), b = make(), c = make();
  const auto run = [&] {
    backend.Synchronize();
    const auto start = std::chrono::steady_clock::now();
    backend.MatMul(Transpose::kNo, Transpose::kYes, a, b, 0.0f, c);
    backend.Synchronize();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  run();
  double best = run();
  for (int i = 1; i < runs; ++i) best = std::min(best, run());
  for (const Tensor& matrix : {a, b, c}) backend.Free(matrix.data);
  return Flops(size) / best;
}

}  // namespace

double MeasureMatMulRate(Backend& backend, DType type) {
  const double probe = Measure(backend, type, kProbeSize, 1);
  if (Flops(kMatMulRateSize) / probe > kLong) return probe;
  const double rate = Measure(backend, type, kMatMulRateSize, kRuns);
  if (Flops(kMatMulRateSize) / rate >= kShort) return rate;
  return Measure(backend, type, kLargeMatMulRateSize, kRuns);
}

}  // namespace wavefield
