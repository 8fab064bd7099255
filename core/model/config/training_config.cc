#include "core/model/config/training_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/base/json_numbers.h"
#include "core/model/mixers/mixer.h"

namespace wavefield {
namespace {

constexpr std::pair<const char*, Propagation> kWays[] = {{"recurrence", Propagation::kRecurrence},
                                                         {"chunked", Propagation::kChunked},
                                                         {"fft", Propagation::kFft},
                                                         {"direct", Propagation::kDirect}};

// 0 ≤ value < 1.
void BelowOne(ViolationList& violations, const std::string& field, double value) {
  if (!(value >= 0 && value < 1)) {
    violations.Add(field, fmt::format("is {}; allowed: 0 to below 1", value));
  }
}

// 0 < value ≤ high.
void Positive(ViolationList& violations, const std::string& field, double value, double high) {
  if (!(value > 0 && value <= high)) {
    violations.Add(field, fmt::format("is {}; allowed: above 0, at most {}", value, high));
  }
}

void ValidateRecipe(const TrainingConfig& c, ViolationList& v) {
  v.OneOf("training.precision", c.precision, {"fp32", "bf16"});
  v.OneOf("training.propagation", c.propagation,
          {"auto", "recurrence", "chunked", "fft", "direct"});
  v.OneOf("training.recompute", c.recompute, {"none", "mixer", "block"});
  v.Range<int64_t>("training.sequence_chunk", c.sequence_chunk, 0, int64_t{1} << 24);
  v.Range<double>("training.dropout", c.dropout, 0, 0.95);
  BelowOne(v, "training.label_smoothing", c.label_smoothing);
  v.Range<double>("training.z_loss", c.z_loss, 0, 1);
  BelowOne(v, "training.ema_decay", c.ema_decay);
}

void ValidateSchedule(const TrainingConfig& c, ViolationList& v) {
  v.OneOf("training.schedule.kind", c.schedule, {"constant", "cosine", "linear", "wsd"});
  if (c.max_steps == 0 &&
      (c.schedule == "cosine" || c.schedule == "linear" || c.schedule == "wsd")) {
    v.Add("training.schedule.kind",
          fmt::format("is '{}', which needs training.max_steps", c.schedule));
  }
  Positive(v, "training.schedule.learning_rate", c.learning_rate, 10);
  v.Range<int64_t>("training.schedule.warmup_steps", c.warmup_steps, 0, int64_t{1} << 40);
  v.Range<double>("training.schedule.final_ratio", c.final_ratio, 0, 1);
  Positive(v, "training.schedule.decay_ratio", c.decay_ratio, 1);
}

void ValidateOptimizer(const TrainingConfig& c, ViolationList& v) {
  v.OneOf("training.optimizer.kind", c.optimizer, {"adamw", "muon"});
  BelowOne(v, "training.optimizer.beta1", c.beta1);
  BelowOne(v, "training.optimizer.beta2", c.beta2);
  Positive(v, "training.optimizer.epsilon", c.epsilon, 1);
  v.Range<double>("training.optimizer.weight_decay", c.weight_decay, 0, 10);
  v.Range<double>("training.optimizer.clip_grad_norm", c.clip_grad_norm, 0, 1e6);
  Positive(v, "training.optimizer.muon_learning_rate", c.muon_learning_rate, 10);
  v.Range<double>("training.optimizer.mixer_lr_multiplier", c.mixer_lr_multiplier, 0, 1000);
  v.Range<double>("training.optimizer.embedding_lr_multiplier", c.embedding_lr_multiplier, 0, 1000);
}

// The value of a key that specs of earlier versions lack: then `value` stays.
template <typename T, typename Parse>
void Optional(const nlohmann::json& json, const char* key, Parse parse, T& value) {
  if (json.contains(key)) value = parse(json.at(key));
}

std::string TextFromJson(const nlohmann::json& value) { return value.get<std::string>(); }

}  // namespace

int64_t DefaultMicroBatchSize(int64_t batch_size, int64_t world_size) {
  const int64_t limit = std::min<int64_t>(4, batch_size / std::max<int64_t>(1, world_size));
  for (int64_t size = limit; size > 1; --size) {
    if (batch_size % size == 0) return size;
  }
  return 1;
}

void FillDefaults(TrainingConfig& c, int64_t world_size) {
  if (c.micro_batch_size == 0) c.micro_batch_size = DefaultMicroBatchSize(c.batch_size, world_size);
  if (c.schedule.empty()) c.schedule = c.max_steps > 0 ? "cosine" : "constant";
  if (c.warmup_steps < 0) {
    c.warmup_steps = c.max_steps > 0 ? std::min<int64_t>(100, c.max_steps / 10) : 100;
  }
}

std::vector<FieldViolation> Validate(const TrainingConfig& c, int64_t world_size) {
  ViolationList v;
  v.Range<int64_t>("training.sequence_length", c.sequence_length, 1, int64_t{1} << 24);
  v.Range<int64_t>("training.batch_size", c.batch_size, 1, 1 << 20);
  v.Range<int64_t>("training.micro_batch_size", c.micro_batch_size, 1, 1 << 16);
  v.Range<int64_t>("training.max_steps", c.max_steps, 0, int64_t{1} << 40);
  v.Range<double>("training.max_minutes", c.max_minutes, 0, 525600.0 * 10);
  if (c.max_steps == 0 && c.max_minutes == 0) {
    v.Add("training.max_steps", "is not set, nor is training.max_minutes; set at least one");
  }
  if (c.micro_batch_size > 0 && c.batch_size > 0) {
    if (c.batch_size % c.micro_batch_size != 0) {
      v.Add("training.micro_batch_size",
            fmt::format("is {}, which does not divide training.batch_size {}", c.micro_batch_size,
                        c.batch_size));
    } else if (c.batch_size / c.micro_batch_size < world_size) {
      v.Add(
          "training.batch_size",
          fmt::format("is {} in micro-batches of {}: {} of them for {} ranks; raise batch_size to "
                      "at least {} or lower micro_batch_size",
                      c.batch_size, c.micro_batch_size, c.batch_size / c.micro_batch_size,
                      world_size, c.micro_batch_size * world_size));
    }
  }
  ValidateRecipe(c, v);
  ValidateSchedule(c, v);
  ValidateOptimizer(c, v);
  v.Range<int64_t>("checkpoint.every_steps", c.checkpoint_every_steps, 0, int64_t{1} << 40);
  v.Range<double>("checkpoint.every_minutes", c.checkpoint_every_minutes, 0, 525600.0);
  v.Range<int64_t>("checkpoint.keep_last", c.keep_last, 1, 10000);
  v.Range<int64_t>("evaluation.every_steps", c.evaluate_every_steps, 0, int64_t{1} << 40);
  v.Range<int64_t>("evaluation.max_tokens", c.evaluate_max_tokens, 0, int64_t{1} << 40);
  return v.Take();
}

std::vector<FieldViolation> ValidateTogether(const TrainingConfig& c, const ModelConfig& model) {
  ViolationList v;
  if (c.propagation != "auto") {
    std::vector<std::string> allowed = {"auto"};
    for (const Propagation way : FindMixer(model.form)->Ways(model)) allowed.push_back(NameOf(way));
    v.OneOf("training.propagation", c.propagation, allowed);
  }
  if (c.propagation == "fft" && c.sequence_chunk > 0) {
    v.Add("training.sequence_chunk",
          fmt::format("is {} with training.propagation 'fft', which carries no state from piece to "
                      "piece; leave sequence_chunk out, or use 'recurrence'",
                      c.sequence_chunk));
  }
  return v.Take();
}

std::vector<FieldViolation> ValidateDevice(const TrainingConfig& c, const std::string& device) {
  ViolationList v;
  if (c.precision == "bf16" && device != "cuda") {
    v.Add("training.precision", "is 'bf16', allowed with device 'cuda' only; use 'fp32'");
  }
  return v.Take();
}

bool WritesCheckpointsBehind(const TrainingConfig& config) {
  return config.checkpoint_every_steps > 0 || config.checkpoint_every_minutes > 0;
}

std::string NameOf(Propagation way) {
  for (const auto& [name, value] : kWays) {
    if (value == way) return name;
  }
  CheckFailed("a way of propagation", __FILE__, __LINE__, std::to_string(static_cast<int>(way)));
}

ExecutionOptions ExecutionOf(const TrainingConfig& c) {
  ExecutionOptions options;
  for (const auto& [name, way] : kWays) {
    if (c.propagation == name) options.propagation = way;
  }
  options.recompute = c.recompute == "mixer"   ? Recompute::kMixer
                      : c.recompute == "block" ? Recompute::kBlock
                                               : Recompute::kNone;
  options.activations = c.precision == "bf16" ? DType::kBFloat16 : DType::kFloat32;
  options.sequence_chunk = c.sequence_chunk;
  options.dropout = static_cast<float>(c.dropout);
  options.loss = {.label_smoothing = static_cast<float>(c.label_smoothing),
                  .z_loss = static_cast<float>(c.z_loss)};
  return options;
}

absl::StatusOr<TrainingConfig> TrainingConfigFromSpec(const nlohmann::json& spec) {
  TrainingConfig c;
  try {
    const auto& t = spec.at("training");
    c.sequence_length = IntegerFromJson(t.at("sequence_length"));
    c.batch_size = IntegerFromJson(t.at("batch_size"));
    c.micro_batch_size = IntegerFromJson(t.at("micro_batch_size"));
    c.max_steps = IntegerFromJson(t.at("max_steps"));
    c.max_minutes = NumberFromJson(t.at("max_minutes"));
    c.seed = UnsignedFromJson(t.at("seed"));
    Optional(t, "precision", TextFromJson, c.precision);
    Optional(t, "propagation", TextFromJson, c.propagation);
    Optional(t, "recompute", TextFromJson, c.recompute);
    Optional(t, "sequence_chunk", IntegerFromJson, c.sequence_chunk);
    Optional(t, "dropout", NumberFromJson, c.dropout);
    Optional(t, "label_smoothing", NumberFromJson, c.label_smoothing);
    Optional(t, "z_loss", NumberFromJson, c.z_loss);
    Optional(t, "ema_decay", NumberFromJson, c.ema_decay);
    const auto& s = t.at("schedule");
    c.schedule = s.at("kind").get<std::string>();
    c.learning_rate = NumberFromJson(s.at("learning_rate"));
    c.warmup_steps = IntegerFromJson(s.at("warmup_steps"));
    c.final_ratio = NumberFromJson(s.at("final_ratio"));
    Optional(s, "decay_ratio", NumberFromJson, c.decay_ratio);
    const auto& o = t.at("optimizer");
    Optional(o, "kind", TextFromJson, c.optimizer);
    Optional(o, "muon_learning_rate", NumberFromJson, c.muon_learning_rate);
    Optional(o, "mixer_lr_multiplier", NumberFromJson, c.mixer_lr_multiplier);
    Optional(o, "embedding_lr_multiplier", NumberFromJson, c.embedding_lr_multiplier);
    c.beta1 = NumberFromJson(o.at("beta1"));
    c.beta2 = NumberFromJson(o.at("beta2"));
    c.epsilon = NumberFromJson(o.at("epsilon"));
    c.weight_decay = NumberFromJson(o.at("weight_decay"));
    c.clip_grad_norm = NumberFromJson(o.at("clip_grad_norm"));
    const auto& k = spec.at("checkpoint");
    c.checkpoint_every_steps = IntegerFromJson(k.at("every_steps"));
    c.checkpoint_every_minutes = NumberFromJson(k.at("every_minutes"));
    c.keep_last = IntegerFromJson(k.at("keep_last"));
    const auto& e = spec.at("evaluation");
    c.evaluate_every_steps = IntegerFromJson(e.at("every_steps"));
    c.evaluate_max_tokens = IntegerFromJson(e.at("max_tokens"));
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(
        fmt::format("the job's spec is incomplete: {}", error.what()));
  }
  return c;
}

}  // namespace wavefield
