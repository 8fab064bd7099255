// wavefield-trainer: one rank of a training job, or evaluation and generation of a checkpoint.

#include <cstdio>
#include <string>

#include "absl/time/clock.h"
#include "core/backend/backend.h"
#include "core/base/command_line.h"
#include "core/base/file.h"
#include "core/base/logging.h"
#include "worker/trainer/audit.h"
#include "worker/trainer/bigram_baseline.h"
#include "worker/trainer/cuda_module.h"
#include "worker/trainer/events.h"
#include "worker/trainer/inference.h"
#include "worker/trainer/run_task.h"

namespace wavefield {
namespace {

void PrintLine(const nlohmann::json& message) {
  std::printf("%s\n",
              message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

int Report(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "wavefield-trainer: %s\n", status.ToString().c_str());
  return kExitError;
}

// For the worker, which offers the GPUs that fit.
void PrintCudaModule() {
  const auto module = LoadCudaModule();
  if (!module.ok()) return PrintLine({{"error", std::string(module.status().message())}});
  PrintLine({{"cuda_version", (*module)->cuda_version},
             {"least_compute_capability", (*module)->least_compute_capability},
             {"nccl_version", (*module)->nccl_version}});
}

int Main(int argc, char** argv) {
  CommandLine command_line("wavefield-trainer",
                           "One rank of a training job; evaluation and generation of checkpoints.");
  CLI::App& app = command_line.app();
  std::string task_file, token_ids_file;
  LogOptions logging;
  HostOptions host;
  AuditTask audit;
  EvaluateTask evaluate;
  GenerateTask generate;
  app.require_subcommand(1);
  AddLogFlags(app, logging);
  const auto add_threads = [&](CLI::App* command) {
    command->add_option("--threads", host.threads, "threads of this rank")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
  };

  CLI::App* run =
      app.add_subcommand("run", "run a task for wavefield-worker (channel on descriptor 3)");
  run->add_option("--task", task_file, "the task, JSON")->required();
  run->add_option("--storage-root", host.storage_root, "the cluster's storage")->required();
  run->add_option("--address", host.address, "where other ranks reach this one")
      ->capture_default_str();
  add_threads(run);

  CLI::App* evaluation = app.add_subcommand("evaluate", "evaluate a checkpoint's directory");
  evaluation->add_option("checkpoint", evaluate.checkpoint, "its directory")->required();
  CLI::Option* dataset =
      evaluation->add_option("--dataset", evaluate.dataset, "a dataset's directory");
  evaluation->add_option("--token-ids", token_ids_file, "a JSON array of ids: one window")
      ->excludes(dataset);
  evaluation->add_option("--max-tokens", evaluate.max_tokens, "0: all held-out text")
      ->check(CLI::NonNegativeNumber);
  evaluation->add_option("--sequence-length", evaluate.sequence_length, "0: as trained")
      ->check(CLI::NonNegativeNumber);
  add_threads(evaluation);

  CLI::App* generation = app.add_subcommand("generate", "continue a prompt");
  generation->add_option("checkpoint", generate.checkpoint, "a checkpoint's directory")->required();
  generation->add_option("--prompt", generate.prompt, "the text to continue");
  generation->add_option("--max-tokens", generate.max_tokens, "tokens to write")->required();
  generation->add_option("--temperature", generate.temperature, "0: always the most likely token");
  generation->add_option("--seed", generate.seed, "of the sampling");
  add_threads(generation);

  CLI::App* causality = app.add_subcommand("audit", "look for logits that depend on later tokens");
  causality->add_option("checkpoint", audit.checkpoint, "a checkpoint's directory")->required();
  causality->add_option("--dataset", audit.dataset,
                        "a dataset's directory; without it, random ids");
  causality->add_option("--windows", audit.windows, "of held-out text; 0: 4")
      ->check(CLI::Range(0, kMaxAuditWindows));
  causality->add_option("--sequence-length", audit.sequence_length, "0: as trained, at most 512")
      ->check(CLI::Range(0, kMaxAuditLength));
  causality->add_option("--changes", audit.changes_per_window, "tokens of each window; 0: 8")
      ->check(CLI::Range(0, kMaxAuditChanges));
  causality->add_option("--seed", audit.seed, "of which tokens are changed, and to what");
  add_threads(causality);

  CLI::App* baseline = app.add_subcommand(
      "baseline",
      "evaluate a smoothed bigram model of the tokens that a checkpoint was trained on");
  baseline->add_option("checkpoint", evaluate.checkpoint, "a checkpoint's directory")->required();
  baseline->add_option("--dataset", evaluate.dataset, "its dataset's directory")->required();
  baseline->add_option("--max-tokens", evaluate.max_tokens, "0: all held-out text")
      ->check(CLI::NonNegativeNumber);

  CLI::App* rate = app.add_subcommand("rate", "measure the rate of matrix products");
  add_threads(rate);

  CLI::App* cuda =
      app.add_subcommand("cuda", "tell what the CUDA module beside this program asks of a GPU");

  return command_line.Run(argc, argv, [&] {
    StartLogging("trainer", logging);
    if (run->parsed()) return RunTask(task_file, host);
    if (causality->parsed()) return Report(Audit(audit, host.threads, PrintLine));
    if (generation->parsed()) return Report(Generate(generate, host.threads, PrintLine));
    if (baseline->parsed()) {
      const auto metrics =
          EvaluateBigramBaseline(evaluate.checkpoint, evaluate.dataset, evaluate.max_tokens);
      if (!metrics.ok()) return Report(metrics.status());
      PrintLine({{"evaluation", EvaluationJson(*metrics, 0, 0, absl::Now())}, {"done", true}});
      return kExitOk;
    }
    if (rate->parsed()) {
      const auto backend = MakeCpuBackend(host.threads);
      PrintLine({{"matmul_rate", MeasureMatMulRate(*backend, DType::kFloat32)}});
      return kExitOk;
    }
    if (cuda->parsed()) {
      PrintCudaModule();
      return kExitOk;
    }
    if (!token_ids_file.empty()) {
      const auto text = ReadFile(token_ids_file, 64 << 20);
      if (!text.ok()) return Report(text.status());
      try {
        nlohmann::json::parse(*text).get_to(evaluate.token_ids);
      } catch (const nlohmann::json::exception& error) {
        return Report(absl::InvalidArgumentError(token_ids_file + ": " + error.what()));
      }
    } else if (evaluate.dataset.empty()) {
      return Report(absl::InvalidArgumentError("give --dataset or --token-ids"));
    }
    return Report(Evaluate(evaluate, host.threads, PrintLine));
  });
}

}  // namespace
}  // namespace wavefield

int main(int argc, char** argv) { return wavefield::Main(argc, argv); }
