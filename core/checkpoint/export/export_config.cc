#include "core/checkpoint/export/export_config.h"

#include <fmt/format.h>

#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/json_numbers.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/writer.h"
#include "core/model/config/model_config.h"
#include "core/model/config/training_config.h"

namespace wavefield {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "wavefield-export";

absl::StatusOr<TrainingConfig> CheckedTraining(const json& spec, const ModelConfig& model) {
  WF_ASSIGN_OR_RETURN(const TrainingConfig training, TrainingConfigFromSpec(spec));
  for (const auto& violations : {Validate(training, 1), ValidateTogether(training, model)}) {
    if (violations.empty()) continue;
    return absl::InvalidArgumentError(
        fmt::format("{} {}", violations[0].field, violations[0].description));
  }
  return training;
}

// The preset that the job's specification names, or "".
std::string PresetOf(const json& spec) {
  const auto preset = json::json_pointer("/model/preset");
  return spec.contains(preset) && spec.at(preset).is_string() ? spec.at(preset).get<std::string>()
                                                              : "";
}

// What `parse` makes of a key's value; what it throws names the key.
template <typename Parse>
auto Field(const json& object, const char* key, const Parse& parse) {
  try {
    return parse(object.at(key));
  } catch (const std::exception& error) {
    throw std::invalid_argument(fmt::format("'{}': {}", key, error.what()));
  }
}

uint64_t Whole(const json& value) {
  if (!value.is_number_unsigned()) {
    throw std::invalid_argument(
        fmt::format("{} is not a whole number", value.dump().substr(0, 40)));
  }
  return value.get<uint64_t>();
}

json Number(const json& value) { return NumberToJson(NumberFromJson(value)); }

std::string Text(const json& value) { return value.get<std::string>(); }

json Object(const json& value) {
  if (!value.is_object()) throw std::invalid_argument("it is not an object");
  return value;
}

// Throws std::exception naming the key.
CheckpointManifest ReadFields(const json& config) {
  CheckpointManifest manifest;
  manifest.model_config = Field(config, "model", Object);
  manifest.training_spec = Field(config, "training", Object);
  manifest.step = Field(config, "step", Whole);
  manifest.batch_index = manifest.step;
  manifest.tokens = Field(config, "tokens", Whole);
  manifest.metrics = {{"loss", Field(config, "loss", Number)}};
  if (config.contains("evaluation_loss")) {
    manifest.metrics["evaluation_loss"] = Field(config, "evaluation_loss", Number);
    manifest.metrics["evaluation_step"] = Field(config, "evaluation_step", Whole);
  }
  manifest.dataset = Field(config, "dataset", Text);
  manifest.dataset_content_hash = Field(config, "dataset_content_hash", Text);
  const json source = Field(config, "source", Object);
  manifest.job = Field(source, "job", Text);
  manifest.epoch = Field(source, "epoch", Whole);
  manifest.seed = Field(source, "seed", Whole);
  manifest.created = absl::Now();
  return manifest;
}

}  // namespace

absl::StatusOr<std::string> FormatExportConfig(const CheckpointManifest& manifest,
                                               const TokenizerDescription& tokenizer,
                                               ExportedWeights weights) {
  WF_ASSIGN_OR_RETURN(const ModelConfig model, ModelConfigFromJson(manifest.model_config));
  WF_ASSIGN_OR_RETURN(const TrainingConfig training,
                      CheckedTraining(manifest.training_spec, model));
  nlohmann::ordered_json config;
  config["format"] = kFormat;
  config["format_version"] = kExportFormatVersion;
  config["model"] = ToJson(model);
  config["preset"] = PresetOf(manifest.training_spec);
  config["weights"] = weights == ExportedWeights::kTrained ? "trained" : "moving_average";
  config["sequence_length"] = training.sequence_length;
  config["tokenizer"] = {{"kind", tokenizer.kind},
                         {"vocab_size", tokenizer.vocab_size},
                         {"separator_id", tokenizer.separator_id},
                         {"sha256", manifest.tokenizer_hash}};
  config["step"] = manifest.step;
  config["tokens"] = manifest.tokens;
  for (const char* metric : {"loss", "evaluation_loss", "evaluation_step"}) {
    if (manifest.metrics.contains(metric)) config[metric] = manifest.metrics.at(metric);
  }
  config["dataset"] = manifest.dataset;
  config["dataset_content_hash"] = manifest.dataset_content_hash;
  config["source"] = {
      {"job", manifest.job},
      {"checkpoint", CheckpointDirectoryName({manifest.step, manifest.epoch})},
      {"epoch", manifest.epoch},
      {"seed", manifest.seed},
      {"created", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", manifest.created, absl::UTCTimeZone())}};
  config["training"] = manifest.training_spec;
  return config.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<CheckpointManifest> ParseExportConfig(std::string_view text) {
  const json config = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return absl::InvalidArgumentError("it is not a JSON object");
  if (config.value("format", json()) != kFormat) {
    return absl::InvalidArgumentError(fmt::format(
        "'format' is not '{}': it was not written by `wavefield checkpoints export`", kFormat));
  }
  const json version = config.value("format_version", json());
  if (!version.is_number_unsigned()) {
    return absl::InvalidArgumentError("'format_version' is not a whole number");
  }
  if (version > kExportFormatVersion) {
    return absl::FailedPreconditionError(
        fmt::format("it has format version {}; this program knows up to {}: use a newer one",
                    version.dump(), kExportFormatVersion));
  }
  CheckpointManifest manifest;
  try {
    manifest = ReadFields(config);
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
  WF_ASSIGN_OR_RETURN(const ModelConfig model, ModelConfigFromJson(manifest.model_config));
  const auto training = CheckedTraining(manifest.training_spec, model);
  if (!training.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("'training': ", training.status().message()));
  }
  return manifest;
}

}  // namespace wavefield
