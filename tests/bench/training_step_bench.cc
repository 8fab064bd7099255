// How fast whole training steps run, what they need, and the mixing of tokens alone.
//
//   training_step_bench [--preset wave-field-30m] [--tokens 1024] [--batch 1] [--threads 2]
//                       [--steps 3] [--recompute none|mixer|block] [--sequence-chunk 0]
//                       [--device cpu|cuda] [--precision fp32|bf16] [--propagation auto|…]
//
// One process, one shape: peak memory is that of the process, or what the GPU had less free. Prints
// one line of a table (--header prints its head; --json an object instead):
//   tokens/s, ms of forward, backward and optimizer (median step, after one that warms up);
//   ratio: model FLOP/s over the rate of a matrix product measured in the same process;
//   mixing %: the propagation of all layers alone, forward and backward, as a share of the step;
//   x floor: the same over the time that memory needs for the bytes that must move (4·D floats per
//   token and layer forward, 7·D backward), at the rate of a copy in the same process;
//   peak GiB: resident, at most; estimate: what `model describe` says, over that peak.
// tests/bench/family.sh and memory.sh make the tables of RESULTS.md with it.

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

#include "core/base/clock.h"
#include "core/base/command_line.h"
#include "core/model/accounting.h"
#include "core/model/model.h"
#include "core/optim/optimizer.h"
#include "nlohmann/json.hpp"
#include "tests/support/random_inputs.h"
#include "worker/trainer/device.h"

namespace wavefield {
namespace {

double Seconds() { return absl::ToDoubleSeconds(Clock::Real().Monotonic()); }

struct Timing {
  double forward, backward, optimize;
  double total() const { return forward + backward + optimize; }
};

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
    const auto now = [&] {
      model.backend().Synchronize();
      return Seconds();
    };
    model.ZeroGradients();
    const double start = now();
    model.Forward(batch, ids);
    const double forward = now();
    model.Backward(targets, 1.0f / static_cast<float>(batch * tokens));
    const double backward = now();
    optimizer.Step(step + 1, model.gradients(), model.parameters());
    const double optimize = now();
    // Where one step is all that is asked for, the first one is it.
    if (step > 0 || steps == 0) {
      timings.push_back({forward - start, backward - forward, optimize - backward});
    }
  }
  return Median(timings);
}

double Best(Backend& backend, const std::function<void()>& run) {
  double best = 1e30;
  run();
  for (int i = 0; i < 3; ++i) {
    backend.Synchronize();
    const double start = Seconds();
    run();
    backend.Synchronize();
    best = std::min(best, Seconds() - start);
  }
  return best;
}

// Seconds of one layer's propagation, forward and backward, at a window of B·T tokens.
double TimeMixing(Backend& backend, const ModelConfig& c, const ExecutionOptions& options,
                  int64_t batch, int64_t tokens) {
  Arena arena(backend);
  std::mt19937 random(1);
  const auto make = [&](Shape shape, float low, float high) {
    const Tensor tensor = arena.Allocate(shape);
    std::uniform_real_distribution<float> values(low, high);
    std::vector<float> host(static_cast<size_t>(tensor.elements()));
    for (float& value : host) value = values(random);
    backend.CopyFromHost(host.data(), tensor);
    return tensor;
  };
  // What is in them does not change how long anything takes.
  const auto activation = [&](Shape shape) {
    const Tensor tensor = arena.Allocate(shape, options.activations);
    backend.Fill(tensor, 0.5f);
    return tensor;
  };
  const int64_t n = batch * tokens, d = c.d_model, h = c.n_heads;
  const Tensor qkv = activation({n, 3 * d}), y = activation({n, d}), dy = activation({n, d}),
               dqkv = activation({n, 3 * d});
  if (c.form == "attention") {
    const Tensor log_sum = make({n, h}, 0, 1);
    return Best(backend, [&] {
      backend.AttentionForward(batch, h, 0, qkv, {}, y, log_sum);
      backend.AttentionBackward(batch, h, 0, qkv, {}, y, log_sum, dy, {}, dqkv);
    });
  }
  const bool selective = c.damping == "selective";
  const Tensor damping = make({selective ? n : 1, h}, 0.001f, 0.5f),
               ddamping = make(damping.shape, 0, 1), frequency = make({h}, 0.01f, 0.3f),
               phase = make({h}, 0, 1), gradient = make({h}, 0, 1);
  const bool outer = c.deposit == "outer";
  const auto way =
      options.propagation.value_or(outer ? Propagation::kChunked : Propagation::kRecurrence);
  return Best(backend, [&] {
    if (outer) {
      backend.FieldOuterForward(way, batch, qkv, damping, frequency, phase, {}, y);
      backend.FieldOuterBackward(way, batch, qkv, damping, frequency, phase, {}, dy, {}, dqkv,
                                 ddamping, gradient, gradient);
    } else {
      backend.FieldElementwiseForward(way, batch, qkv, damping, frequency, phase, {}, y);
      backend.FieldElementwiseBackward(way, batch, qkv, damping, frequency, phase, {}, dy, {}, dqkv,
                                       ddamping, gradient, gradient);
    }
  });
}

// Bytes per second that a copy of a buffer larger than any cache moves, read and write.
double CopyRate(Backend& backend) {
  Arena arena(backend);
  const Tensor a = arena.Allocate({1 << 26}), b = arena.Allocate({1 << 26});
  backend.Fill(a, 1);
  const double seconds = Best(backend, [&] { backend.Axpby(1, a, 1, b); });
  return 3.0 * static_cast<double>(a.bytes()) / seconds;
}

double ResidentPeak() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

// Bytes free on the GPU; 0 for the CPU.
int64_t FreeDeviceMemory(const Device& device) {
  if (device.cuda == nullptr) return 0;
  const auto described = device.cuda->describe(0);
  return described.ok() ? described->free_memory : 0;
}

int Main(int argc, char** argv) {
  CommandLine command_line("training_step_bench", "Speed and memory of whole training steps.");
  std::string preset = "wave-field-30m";
  TrainingConfig training;
  training.sequence_length = 1024;
  training.micro_batch_size = 1;
  int threads = 2, steps = 3;
  bool header = false, memory_only = false, json = false;
  std::string device_name = "cpu";
  CLI::App& app = command_line.app();
  app.add_option("--preset", preset, "the model")->capture_default_str();
  app.add_option("--tokens", training.sequence_length, "window length T")->capture_default_str();
  app.add_option("--batch", training.micro_batch_size, "windows B")->capture_default_str();
  app.add_option("--threads", threads, "threads")->capture_default_str();
  app.add_option("--steps", steps, "timed steps after one that warms up; 0: one step alone")
      ->capture_default_str();
  app.add_option("--recompute", training.recompute, "none, mixer or block")->capture_default_str();
  app.add_option("--sequence-chunk", training.sequence_chunk, "tokens of a piece, 0: the window")
      ->capture_default_str();
  app.add_option("--device", device_name, "cpu or cuda")->capture_default_str();
  app.add_option("--precision", training.precision, "fp32 or bf16")->capture_default_str();
  app.add_option("--propagation", training.propagation, "auto, recurrence, chunked or fft")
      ->capture_default_str();
  app.add_flag("--json", json, "print an object instead of a line");
  app.add_flag("--header", header, "print the table's head first");
  app.add_flag("--memory-only", memory_only, "leave out the mixing alone and the copy");
  return command_line.Run(argc, argv, [&] {
    const auto config = FindPreset(preset);
    if (!config.ok()) {
      std::fprintf(stderr, "%s\n", config.status().ToString().c_str());
      return 2;
    }
    training.batch_size = training.micro_batch_size;
    training.max_steps = 1000;
    training.checkpoint_every_minutes = 0;  // writes none
    FillDefaults(training, 1);
    const auto violations = Validate(training, 1);
    if (!violations.empty()) {
      std::fprintf(stderr, "%s %s\n", violations[0].field.c_str(),
                   violations[0].description.c_str());
      return 2;
    }
    auto device = OpenDevice(device_name, threads);
    if (!device.ok()) {
      std::fprintf(stderr, "%s\n", device.status().ToString().c_str());
      return 2;
    }
    Backend& backend = *device->backend;
    const int64_t batch = training.micro_batch_size, tokens = training.sequence_length;
    const ExecutionOptions options = ExecutionOf(training);
    const int64_t free_before = FreeDeviceMemory(*device);
    const double rate = MeasureMatMulRate(backend, options.activations);
    const MemoryEstimate estimate = EstimateMemory(*config, training, threads, device_name);
    Timing t{};
    double peak = 0;
    {
      Model model(backend, *config, options);
      model.arena().Reserve(static_cast<size_t>(estimate.activations));
      backend.ReserveWorkspace(static_cast<size_t>(estimate.reserved));
      model.Initialize(1);
      Optimizer optimizer(backend, model.layout(), training);
      t = TimeSteps(model, optimizer, batch, tokens, steps);
      peak = device->cuda == nullptr ? ResidentPeak()
                                     : static_cast<double>(free_before - FreeDeviceMemory(*device));
    }
    double mixing = 0, floor = 1;
    if (!memory_only) {
      const auto layers = static_cast<double>(config->n_layers);
      mixing = layers * TimeMixing(backend, *config, options, batch, tokens);
      floor = layers * 11.0 * static_cast<double>(SizeOf(options.activations)) *
              static_cast<double>(batch * tokens * config->d_model) / CopyRate(backend);
    }
    const double tokens_per_second = static_cast<double>(batch * tokens) / t.total();
    const double model_flops = tokens_per_second * ModelFlopsPerToken(*config);
    if (json) {
      std::printf("%s\n", nlohmann::json{{"preset", preset},
                                         {"device", backend.fingerprint()},
                                         {"precision", training.precision},
                                         {"propagation", training.propagation},
                                         {"tokens", tokens},
                                         {"batch", batch},
                                         {"tokens_per_second", tokens_per_second},
                                         {"model_flops_per_second", model_flops},
                                         {"forward_ms", t.forward * 1e3},
                                         {"backward_ms", t.backward * 1e3},
                                         {"optimizer_ms", t.optimize * 1e3},
                                         {"mixing_ms", mixing * 1e3},
                                         {"matmul_rate_ratio", model_flops / rate},
                                         {"peak_bytes", peak},
                                         {"estimated_bytes", estimate.total()}}
                              .dump()
                              .c_str());
      return 0;
    }
    if (header) {
      std::printf("%-22s %8s %3s %10s %10s %10s %9s %6s %9s %8s %9s %9s\n", "preset", "T", "B",
                  "tokens/s", "forward ms", "backward", "optimize", "ratio", "mixing %", "x floor",
                  "peak GiB", "estimate");
    }
    std::printf("%-22s %8lld %3lld %10.0f %10.1f %10.1f %9.1f %6.3f %9.1f %8.1f %9.2f %9.3f\n",
                preset.c_str(), static_cast<long long>(tokens), static_cast<long long>(batch),
                tokens_per_second, t.forward * 1e3, t.backward * 1e3, t.optimize * 1e3,
                model_flops / rate, 100 * mixing / t.total(), mixing / floor, peak / (1 << 30),
                static_cast<double>(estimate.total()) / peak);
    return 0;
  });
}

}  // namespace
}  // namespace wavefield

int main(int argc, char** argv) { return wavefield::Main(argc, argv); }
