#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/spec_arguments.h"
#include "cli/views/format.h"
#include "cli/views/model_summary.h"
#include "cli/views/table.h"
#include "core/base/status_macros.h"
#include "core/model/accounting.h"
#include "core/model/config/training_config.h"

namespace wavefield {
namespace {

struct Flags {
  SpecArguments spec;
  int64_t vocab_size = 0;
  int threads = 1;
  bool json = false;
};

// What memory depends on beside the model.
absl::StatusOr<TrainingConfig> ResolveTraining(const v1::JobSpec& spec, const ModelConfig& config) {
  TrainingConfig training;
  const v1::TrainingSpec& given = spec.training();
  const int64_t world_size = spec.resources().has_world_size() ? spec.resources().world_size() : 1;
  if (given.has_sequence_length()) training.sequence_length = given.sequence_length();
  if (given.has_batch_size()) training.batch_size = given.batch_size();
  if (given.has_micro_batch_size()) training.micro_batch_size = given.micro_batch_size();
  if (training.sequence_length < 1 || training.batch_size < 1 || training.micro_batch_size < 0 ||
      world_size < 1 || world_size > training.batch_size) {
    return absl::InvalidArgumentError(fmt::format(
        "sequence_length {}, batch_size {}, micro_batch_size {}, world_size {}: all must be "
        "positive, and "
        "world_size at most batch_size",
        training.sequence_length, training.batch_size, training.micro_batch_size, world_size));
  }
  training.max_steps = 1;  // of no consequence to memory
  FillDefaults(training, world_size);
  if (given.has_propagation()) training.propagation = given.propagation();
  if (given.has_recompute()) training.recompute = given.recompute();
  if (given.has_sequence_chunk()) training.sequence_chunk = given.sequence_chunk();
  if (given.has_dropout()) training.dropout = given.dropout();
  if (given.has_ema_decay()) training.ema_decay = given.ema_decay();
  std::vector<FieldViolation> violations = Validate(training, world_size);
  if (violations.empty()) violations = ValidateTogether(training, config);
  for (const FieldViolation& violation : violations) {
    return absl::InvalidArgumentError(fmt::format("{} {}", violation.field, violation.description));
  }
  return training;
}

std::string ShapeText(const TensorGroup& group) {
  return fmt::format("[{}]", fmt::join(group.shape, ", "));
}

std::string SummaryJson(const ModelConfig& config, const TrainingConfig& batch,
                        const MemoryEstimate& memory) {
  nlohmann::json tensors = nlohmann::json::array();
  for (const TensorGroup& group : ListTensors(config)) {
    tensors.push_back({{"name", group.name}, {"shape", group.shape}, {"count", group.count}});
  }
  const nlohmann::json summary = {{"config", ToJson(config)},
                                  {"parameter_count", ParameterCount(config)},
                                  {"matrix_parameter_count", MatrixParameterCount(config)},
                                  {"flops_per_token", ModelFlopsPerToken(config)},
                                  {"micro_batch_size", batch.micro_batch_size},
                                  {"sequence_length", batch.sequence_length},
                                  {"memory_estimate_bytes",
                                   {{"parameters", memory.parameters},
                                    {"gradients", memory.gradients},
                                    {"optimizer", memory.optimizer},
                                    {"snapshot", memory.snapshot},
                                    {"activations", memory.activations},
                                    {"workspace", memory.workspace},
                                    {"total", memory.total()}}},
                                  {"tensors", tensors}};
  return summary.dump(2) + "\n";
}

std::string FormText(const ModelConfig& config) {
  std::string text = config.form;
  if (config.form == "modern") {
    text += fmt::format(", {} damping, {} deposit", config.damping, config.deposit);
  }
  if (!config.attention_layers.empty()) {
    text += fmt::format(", attention in layers {}", fmt::join(config.attention_layers, ", "));
  }
  return text;
}

std::string SummaryText(const ModelConfig& config, const TrainingConfig& batch,
                        const MemoryEstimate& memory) {
  const auto bytes = [](int64_t value) { return FormatBytes(static_cast<double>(value)); };
  std::string text =
      FormatFields({{"form", FormText(config)},
                    {"width", fmt::format("{}: {} heads of {}", config.d_model, config.n_heads,
                                          config.head_dim())},
                    {"layers", FormatInteger(config.n_layers)},
                    {"feed-forward", FormatInteger(config.d_ff)},
                    {"vocabulary", FormatInteger(config.vocab_size)},
                    {"parameters", FormatInteger(ParameterCount(config))},
                    {"  in matrices", FormatInteger(MatrixParameterCount(config))},
                    {"training FLOPs/token", FormatCompact(ModelFlopsPerToken(config))},
                    {"memory per rank",
                     fmt::format("{} (estimate, {} windows of {} tokens)", bytes(memory.total()),
                                 batch.micro_batch_size, FormatInteger(batch.sequence_length))},
                    {"  parameters", bytes(memory.parameters)},
                    {"  gradients", bytes(memory.gradients)},
                    {"  optimizer", bytes(memory.optimizer)},
                    {"  checkpoint copies", bytes(memory.snapshot)},
                    {"  activations", bytes(memory.activations)},
                    {"  workspace", bytes(memory.workspace)}});
  Table table({{"TENSOR"}, {"SHAPE"}, {"TIMES", Align::kRight}, {"PARAMETERS", Align::kRight}});
  for (const TensorGroup& group : ListTensors(config)) {
    table.AddRow({group.name, ShapeText(group), FormatInteger(group.count),
                  FormatInteger(group.elements())});
  }
  return text + "\n" + table.ToString();
}

absl::StatusOr<int> Run(const Flags& flags) {
  WF_ASSIGN_OR_RETURN(const v1::JobSpec spec, BuildSpec(flags.spec));
  if (!spec.has_model()) {
    return absl::InvalidArgumentError(
        "name a model: --preset ('wavefield model presets' lists them), a SPEC.json, or --set "
        "model.d_model=…");
  }
  WF_ASSIGN_OR_RETURN(const ModelConfig config, ResolveModel(spec.model(), flags.vocab_size));
  WF_ASSIGN_OR_RETURN(const TrainingConfig batch, ResolveTraining(spec, config));
  const MemoryEstimate memory = EstimateMemory(config, batch, flags.threads);
  std::printf("%s",
              (flags.json ? SummaryJson(config, batch, memory) : SummaryText(config, batch, memory))
                  .c_str());
  return kExitSuccess;
}

}  // namespace

void AddModelDescribeCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("describe", "Count a model's parameters, FLOPs and memory");
  AddSpecFlags(*command, flags->spec);
  command
      ->add_option("--vocab-size", flags->vocab_size,
                   "of the tokenizer; the model's is padded to 64s")
      ->check(CLI::Range(1, 1 << 22));
  command->add_option("--threads", flags->threads, "of a rank, for the memory estimate")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", flags->json, "print JSON");
  context.OnCommand(command, [flags] { return Run(*flags); });
}

}  // namespace wavefield
