#include "core/model/config/training_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/json_numbers.h"

namespace wavefield {
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
  if (c.schedule != "constant" && c.schedule != "cosine") {
    v.Add("training.schedule.kind",
          fmt::format("is '{}'; allowed: 'constant', 'cosine'", c.schedule.substr(0, 64)));
  }
  if (c.schedule == "cosine" && c.max_steps == 0) {
    v.Add("training.schedule.kind", "is 'cosine', which needs training.max_steps");
  }
  if (!(c.learning_rate > 0 && c.learning_rate <= 10)) {
    v.Add("training.schedule.learning_rate",
          fmt::format("is {}; allowed: above 0, at most 10", c.learning_rate));
  }
  v.Range<int64_t>("training.schedule.warmup_steps", c.warmup_steps, 0, int64_t{1} << 40);
  v.Range<double>("training.schedule.final_ratio", c.final_ratio, 0, 1);
  const auto beta = [&](const std::string& field, double value) {
    if (!(value >= 0 && value < 1)) {
      v.Add(field, fmt::format("is {}; allowed: 0 to below 1", value));
    }
  };
  beta("training.optimizer.beta1", c.beta1);
  beta("training.optimizer.beta2", c.beta2);
  if (!(c.epsilon > 0 && c.epsilon <= 1)) {
    v.Add("training.optimizer.epsilon",
          fmt::format("is {}; allowed: above 0, at most 1", c.epsilon));
  }
  v.Range<double>("training.optimizer.weight_decay", c.weight_decay, 0, 10);
  v.Range<double>("training.optimizer.clip_grad_norm", c.clip_grad_norm, 0, 1e6);
  v.Range<int64_t>("checkpoint.every_steps", c.checkpoint_every_steps, 0, int64_t{1} << 40);
  v.Range<double>("checkpoint.every_minutes", c.checkpoint_every_minutes, 0, 525600.0);
  v.Range<int64_t>("checkpoint.keep_last", c.keep_last, 1, 1000000);
  v.Range<int64_t>("evaluation.every_steps", c.evaluate_every_steps, 0, int64_t{1} << 40);
  v.Range<int64_t>("evaluation.max_tokens", c.evaluate_max_tokens, 0, int64_t{1} << 40);
  return v.Take();
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
    const auto& s = t.at("schedule");
    c.schedule = s.at("kind").get<std::string>();
    c.learning_rate = NumberFromJson(s.at("learning_rate"));
    c.warmup_steps = IntegerFromJson(s.at("warmup_steps"));
    c.final_ratio = NumberFromJson(s.at("final_ratio"));
    const auto& o = t.at("optimizer");
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
