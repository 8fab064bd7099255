// How fast whole training steps run, and the share of the machine's matrix-product rate they reach.
//
//   training_step_bench [--preset wave-field-30m] [--tokens 1024 --tokens 16384] [--batch 1]
//                       [--threads 2] [--steps 5]
//
// Prints, for each T: tokens/s (median over the steps), milliseconds by phase, matmul_rate_ratio
// (model FLOPs per second over the rate of a 2048³ product measured in the same process), and the
// ratio of tokens/s to the first T's.

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include "core/base/clock.h"
#include "core/base/command_line.h"
#include "core/model/accounting.h"
#include "core/model/model.h"
#include "core/optim/optimizer.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

struct Timing {
  double forward, backward, optimize;
  double total() const { return forward + backward + optimize; }
};

double Seconds() { return absl::ToDoubleSeconds(Clock::Real().Monotonic()); }

Timing Median(std::vector<Timing> timings) {
  std::sort(timings.begin(), timings.end(),
            [](const Timing& a, const Timing& b) { return a.total() < b.total(); });
  return timings[timings.size() / 2];
}

Timing TimeSteps(Model& model, Optimizer& optimizer, int64_t batch, int64_t tokens, int steps) {
  std::mt19937_64 random(1);
  const auto ids = testing::RandomIds(random, batch * tokens, model.config().vocab_size);
  const auto targets = testing::RandomIds(random, batch * tokens, model.config().vocab_size);
  std::vector<Timing> timings;
  for (int step = 0; step <= steps; ++step) {
    model.ZeroGradients();
    const double start = Seconds();
    model.Forward(batch, ids);
    const double forward = Seconds();
    model.Backward(targets, 1.0f / static_cast<float>(batch * tokens));
    const double backward = Seconds();
    optimizer.Step(step + 1, model.gradients(), model.parameters());
    const double optimize = Seconds();
    if (step > 0) timings.push_back({forward - start, backward - forward, optimize - backward});
  }
  return Median(timings);
}

int Main(int argc, char** argv) {
  CommandLine command_line("training_step_bench", "Speed of whole training steps.");
  std::string preset = "wave-field-30m";
  std::vector<int64_t> lengths = {1024, 16384};
  int64_t batch = 1;
  int threads = 2, steps = 5;
  CLI::App& app = command_line.app();
  app.add_option("--preset", preset, "the model")->capture_default_str();
  app.add_option("--tokens", lengths, "window lengths T")->capture_default_str();
  app.add_option("--batch", batch, "windows B")->capture_default_str();
  app.add_option("--threads", threads, "threads")->capture_default_str();
  app.add_option("--steps", steps, "timed steps, after one that warms up")->capture_default_str();
  return command_line.Run(argc, argv, [&] {
    const auto config = FindPreset(preset);
    if (!config.ok()) {
      std::fprintf(stderr, "%s\n", config.status().ToString().c_str());
      return 2;
    }
    const auto backend = MakeCpuBackend(threads);
    const double rate = MeasureMatMulRate(*backend);
    std::printf("%s, %d threads, %s, 2048^3 product: %.0f GFLOP/s\n", preset.c_str(), threads,
                backend->fingerprint().c_str(), rate / 1e9);
    std::printf("%8s %4s %10s %10s %10s %10s %18s %8s %10s\n", "T", "B", "tokens/s", "forward ms",
                "backward", "optimize", "matmul_rate_ratio", "vs first", "peak GiB");
    double first = 0;
    for (const int64_t tokens : lengths) {
      Model model(*backend, *config);
      model.Initialize(1);
      TrainingConfig training;
      training.max_steps = 1000;
      FillDefaults(training, 1);
      Optimizer optimizer(*backend, model.layout(), training);
      const Timing t = TimeSteps(model, optimizer, batch, tokens, steps);
      const double tokens_per_second = static_cast<double>(batch * tokens) / t.total();
      if (first == 0) first = tokens_per_second;
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      std::printf("%8lld %4lld %10.0f %10.1f %10.1f %10.1f %18.3f %8.2f %10.2f\n",
                  static_cast<long long>(tokens), static_cast<long long>(batch), tokens_per_second,
                  t.forward * 1e3, t.backward * 1e3, t.optimize * 1e3,
                  tokens_per_second * ModelFlopsPerToken(*config) / rate, tokens_per_second / first,
                  static_cast<double>(usage.ru_maxrss) / (1 << 20));
    }
    return 0;
  });
}

}  // namespace
}  // namespace wavefield

int main(int argc, char** argv) { return wavefield::Main(argc, argv); }
