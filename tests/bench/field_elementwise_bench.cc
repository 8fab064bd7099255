// The elementwise field alone: nanoseconds per token by recurrence and by FFT, forward and
// backward, against the time that memory needs for the bytes that must move.
//
//   field_elementwise_bench [--width 512] [--heads 8] [--batch 1] [--threads 2]
//                           [--tokens 1024 --tokens 16384] [--selective] [--fft]
//
// The floor is 12 bytes per token and channel forward (k, v read, field written) and 20 backward
// (k, v, dfield read, dk, dv written), at the rate at which b += a runs over two large buffers in
// the same process. What fits in the cache can be faster than the floor.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

#include "core/backend/backend.h"
#include "core/base/clock.h"
#include "core/base/command_line.h"

namespace wavefield {
namespace {

// The best of several runs, in seconds.
double Time(const std::function<void()>& run) {
  const auto now = [] { return absl::ToDoubleSeconds(Clock::Real().Monotonic()); };
  double best = 1e30;
  run();
  for (int i = 0; i < 5; ++i) {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  }
  return best;
}

// Tensors that live as long as this.
class Inputs {
 public:
  explicit Inputs(Backend& backend) : backend_(backend) {}
  ~Inputs() {
    for (void* block : blocks_) backend_.Free(block);
  }
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;

  Tensor Random(Shape shape, float low, float high) {
    Tensor tensor{backend_.Allocate(shape.elements() * sizeof(float)), DType::kFloat32, shape};
    blocks_.push_back(tensor.data);
    std::uniform_real_distribution<float> values(low, high);
    for (int64_t i = 0; i < tensor.elements(); ++i) tensor.f32()[i] = values(random_);
    return tensor;
  }

 private:
  Backend& backend_;
  std::vector<void*> blocks_;
  std::mt19937 random_{1};
};

// Bytes per second of b += a.
double MemoryRate(Backend& backend) {
  constexpr int64_t kFloats = 1 << 26;
  Inputs inputs(backend);
  const Tensor a = inputs.Random({kFloats}, 0, 1), b = inputs.Random({kFloats}, 0, 1);
  return 12.0 * kFloats / Time([&] { backend.Add(a, b); });
}

int Main(int argc, char** argv) {
  CommandLine command_line("field_elementwise_bench", "Speed of the elementwise field alone.");
  std::vector<int64_t> lengths = {1024, 16384, 65536};
  int64_t width = 512, heads = 8, batch = 1;
  int threads = 2;
  bool selective = false, fft = false;
  CLI::App& app = command_line.app();
  app.add_option("--width", width, "D")->capture_default_str();
  app.add_option("--heads", heads, "H")->capture_default_str();
  app.add_option("--batch", batch, "B")->capture_default_str();
  app.add_option("--threads", threads, "threads")->capture_default_str();
  app.add_option("--tokens", lengths, "T")->capture_default_str();
  app.add_flag("--selective", selective, "damping of each token");
  app.add_flag("--fft", fft, "by FFT too");
  return command_line.Run(argc, argv, [&] {
    const auto backend = MakeCpuBackend(threads);
    const double rate = MemoryRate(*backend);
    std::printf("D %lld, H %lld, B %lld, %d threads, %s, memory %.1f GB/s\n",
                static_cast<long long>(width), static_cast<long long>(heads),
                static_cast<long long>(batch), threads, backend->fingerprint().c_str(), rate / 1e9);
    std::printf("%8s %12s %12s %10s %12s %10s %12s\n", "T", "way", "forward ns", "floors",
                "backward ns", "floors", "both, us");
    for (const int64_t tokens : lengths) {
      const int64_t rows = batch * tokens;
      Inputs inputs(*backend);
      const Tensor qkv = inputs.Random({rows, 3 * width}, -1, 1);
      const Tensor damping = inputs.Random({selective ? rows : 1, heads}, 1e-3f, 0.5f);
      const Tensor frequency = inputs.Random({heads}, 0, 0.5f);
      const Tensor phase = inputs.Random({heads}, -1, 1);
      const Tensor field = inputs.Random({rows, width}, -1, 1);
      const Tensor dqkv = inputs.Random({rows, 3 * width}, 0, 0);
      const Tensor ddamping = inputs.Random(damping.shape, 0, 0);
      const Tensor dfrequency = inputs.Random({heads}, 0, 0);
      const Tensor dphase = inputs.Random({heads}, 0, 0);
      for (const Propagation way : {Propagation::kRecurrence, Propagation::kFft}) {
        if (way == Propagation::kFft && (selective || !fft)) continue;
        const double count = static_cast<double>(rows), channels = static_cast<double>(width);
        const double forward = Time([&] {
          backend->FieldElementwiseForward(way, batch, qkv, damping, frequency, phase, {}, field);
        });
        const double backward = Time([&] {
          backend->FieldElementwiseBackward(way, batch, qkv, damping, frequency, phase, {}, field,
                                            {}, dqkv, ddamping, dfrequency, dphase);
        });
        std::printf("%8lld %12s %12.0f %10.2f %12.0f %10.2f %12.2f\n",
                    static_cast<long long>(tokens), way == Propagation::kFft ? "FFT" : "recurrence",
                    forward / count * 1e9, forward / count * rate / (12 * channels),
                    backward / count * 1e9, backward / count * rate / (20 * channels),
                    (forward + backward) / count * 1e6);
      }
    }
    return 0;
  });
}

}  // namespace
}  // namespace wavefield

int main(int argc, char** argv) { return wavefield::Main(argc, argv); }
