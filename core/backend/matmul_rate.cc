#include <algorithm>
#include <chrono>

#include "core/backend/backend.h"

namespace wavefield {

double MeasureMatMulRate(Backend& backend) {
  constexpr int64_t kSize = 2048;
  constexpr int kRuns = 3;
  const Shape shape{kSize, kSize};
  const auto make = [&] {
    Tensor x{nullptr, DType::kFloat32, shape};
    x.data = backend.Allocate(x.bytes());
    backend.Fill(x, 1.0f);
    return x;
  };
  const Tensor a = make(), b = make(), c = make();
  const auto run = [&] {
    const auto start = std::chrono::steady_clock::now();
    backend.MatMul(Transpose::kNo, Transpose::kYes, a, b, 0.0f, c);
    float last;  // a device has finished once its result can be read
    backend.CopyToHost(
        Tensor{static_cast<char*>(c.data) + c.bytes() - sizeof(last), DType::kFloat32, {1}}, &last);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  run();  // warm-up
  double best = run();
  for (int i = 1; i < kRuns; ++i) best = std::min(best, run());
  for (const Tensor& x : {a, b, c}) backend.Free(x.data);
  return 2.0 * kSize * kSize * kSize / best;
}

}  // namespace wavefield
