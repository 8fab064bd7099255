// How fast attention is next to the bare matrix products it is made of.
//
//   attention_bench [--tokens 1024 --tokens 4096 --tokens 16384] [--heads 8] [--head-width 64]
//                   [--threads 1] [--seconds 4]
//
// Prints, for each T at B = 1: the time of AttentionForward and of forward + backward, and that of
// oneDNN's sgemm for the same FLOPs. Counted are products of the T(T+1)/2 pairs s ≤ t alone, 2·d
// FLOPs each: q·k and weights·v forward (2); backward q·k again, dy·v, and those of dq, dk and dv
// (5). Softmax is not counted, nor what blocks across the diagonal compute in vain. sgemm's
// time is that of the same mix of products at 1024 × 1024 × d (T where T is less), one head after
// the other, scaled to that count. Times are the least of several repetitions, which take turns.
//
// Then generation: the time of one token's attention to a history of T rows, and that of reading
// the history's bytes once (memchr).

#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "core/backend/backend.h"
#include "core/backend/cpu/serial_gemm.h"
#include "core/base/clock.h"
#include "core/base/command_line.h"
#include "core/base/rng.h"

namespace wavefield {
namespace {

double Seconds() { return absl::ToDoubleSeconds(Clock::Real().Monotonic()); }

// The least time of each, over repetitions that take turns for `seconds` in all, at least three.
std::vector<double> LeastTimes(const std::vector<std::function<void()>>& bodies, double seconds) {
  std::vector<double> least(bodies.size(), std::numeric_limits<double>::infinity());
  const double begin = Seconds();
  for (int repetition = 0; repetition < 3 || Seconds() - begin < seconds; ++repetition) {
    for (size_t i = 0; i < bodies.size(); ++i) {
      const double start = Seconds();
      bodies[i]();
      least[i] = std::min(least[i], Seconds() - start);
    }
  }
  return least;
}

class DeviceTensors {
 public:
  explicit DeviceTensors(Backend& backend) : backend_(backend) {}
  ~DeviceTensors() {
    for (void* data : memory_) backend_.Free(data);
  }
  Tensor Random(Shape shape) {
    const RandomStream stream(1, std::to_string(memory_.size()));
    const Tensor tensor{backend_.Allocate(static_cast<size_t>(shape.elements()) * sizeof(float)),
                        DType::kFloat32, shape};
    memory_.push_back(tensor.data);
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      tensor.f32()[i] = static_cast<float>(2 * stream.Uniform(i) - 1);
    }
    return tensor;
  }

 private:
  Backend& backend_;
  std::vector<void*> memory_;
};

struct Sizes {
  int64_t tokens, heads, head_width;
  int64_t width() const { return heads * head_width; }
  // Of one product over the pairs s ≤ t of all heads.
  double flops() const {
    const auto pairs = static_cast<double>(tokens) * static_cast<double>(tokens + 1) / 2;
    return 2.0 * static_cast<double>(width()) * pairs;
  }
};

void TimeTraining(Backend& backend, const Sizes& size, double seconds) {
  DeviceTensors memory(backend);
  const int64_t tokens = size.tokens, width = size.width(), d = size.head_width;
  const Tensor qkv = memory.Random({tokens, 3 * width}), dqkv = memory.Random({tokens, 3 * width});
  const Tensor y = memory.Random({tokens, width}), dy = memory.Random({tokens, width});
  const Tensor log_sum = memory.Random({tokens, size.heads});
  const auto forward = [&] { backend.AttentionForward(1, size.heads, 0, qkv, {}, y, log_sum); };
  const auto both = [&] {
    forward();
    backend.AttentionBackward(1, size.heads, 0, qkv, {}, y, log_sum, dy, {}, dqkv);
  };

  const int64_t n = std::min<int64_t>(tokens, 1024);
  const Tensor tall = memory.Random({n, d}), other = memory.Random({n, d});
  const Tensor square = memory.Random({n, n}), out = memory.Random({n, d});
  const auto narrow = [&](char transpose) {  // weights · v, or their transpose
    SerialGemm(transpose, 'N', n, d, n, square.f32(), n, tall.f32(), d, 0.0f, out.f32(), d);
  };
  const auto wide = [&] {  // q · k
    SerialGemm('N', 'T', n, n, d, tall.f32(), d, other.f32(), d, 0.0f, square.f32(), n);
  };
  const auto forward_products = [&] {
    wide();
    narrow('N');
  };
  const auto all_products = [&] {
    forward_products();
    wide();
    wide();
    narrow('N');
    narrow('T');
    narrow('T');
  };
  const auto times = LeastTimes({forward, both, forward_products, all_products}, seconds);
  // The products run on one thread; attention shares its work among all.
  const double square_flops = 2.0 * static_cast<double>(n) * static_cast<double>(n * d);
  const double scale = size.flops() / square_flops / backend.threads();
  const auto print = [&](const char* what, double time, double products, int count) {
    std::printf("%8lld  %-18s %10.2f ms %8.1f GFLOP/s   sgemm %10.2f ms   ratio %5.2f\n",
                static_cast<long long>(tokens), what, time * 1e3, count * size.flops() / time / 1e9,
                products * scale * 1e3, time / (products * scale));
  };
  print("forward", times[0], times[2], 2);
  print("forward + backward", times[1], times[3], 7);
}

void TimeGeneration(Backend& backend, const Sizes& size, double seconds) {
  DeviceTensors memory(backend);
  const Tensor history = memory.Random({1, size.tokens, 2 * size.width()});
  const Tensor qkv = memory.Random({1, 3 * size.width()}), y = memory.Random({1, size.width()});
  const Tensor log_sum = memory.Random({1, size.heads});
  const Tensor copy = memory.Random(history.shape);
  std::memset(copy.data, 0, copy.bytes());
  bool found = false;
  const auto times = LeastTimes(
      {[&] { backend.AttentionForward(1, size.heads, size.tokens - 1, qkv, history, y, log_sum); },
       [&] { found |= std::memchr(copy.data, 1, copy.bytes()) != nullptr; }},
      seconds);
  WF_CHECK(!found);
  std::printf("%8lld  %-18s %10.3f ms %8.1f GB/s      read  %10.3f ms   ratio %5.2f\n",
              static_cast<long long>(size.tokens), "one token", times[0] * 1e3,
              static_cast<double>(history.bytes()) / times[0] / 1e9, times[1] * 1e3,
              times[0] / times[1]);
}

int Main(int argc, char** argv) {
  CommandLine command_line("attention_bench", "Speed of attention next to bare matrix products.");
  std::vector<int64_t> lengths = {1024, 4096, 16384};
  int64_t heads = 8, head_width = 64;
  int threads = 1;
  double seconds = 4;
  CLI::App& app = command_line.app();
  app.add_option("--tokens", lengths, "sequence lengths T")->capture_default_str();
  app.add_option("--heads", heads, "heads H")->capture_default_str();
  app.add_option("--head-width", head_width, "head width d")->capture_default_str();
  app.add_option("--threads", threads, "threads")->capture_default_str();
  app.add_option("--seconds", seconds, "time for each line, at least three repetitions")
      ->capture_default_str();
  return command_line.Run(argc, argv, [&] {
    const auto backend = MakeCpuBackend(threads);
    omp_set_num_threads(1);  // for the bare products
    std::printf("B 1, H %lld, d %lld, %d threads, %s\n", static_cast<long long>(heads),
                static_cast<long long>(head_width), threads, backend->fingerprint().c_str());
    for (const int64_t tokens : lengths) {
      TimeTraining(*backend, {tokens, heads, head_width}, seconds);
    }
    for (const int64_t tokens : lengths) {
      TimeGeneration(*backend, {tokens, heads, head_width}, seconds / 4);
    }
    return 0;
  });
}

}  // namespace
}  // namespace wavefield

int main(int argc, char** argv) { return wavefield::Main(argc, argv); }
