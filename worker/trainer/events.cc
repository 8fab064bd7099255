#include "worker/trainer/events.h"

#include <cmath>

#include "core/base/json_numbers.h"

namespace wavefield {
namespace {

std::string Timestamp(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

}  // namespace

nlohmann::json StepJson(const StepReport& r, absl::Time now) {
  return {{"step", r.step},
          {"attempt", r.attempt},
          {"time", Timestamp(now)},
          {"loss", NumberToJson(r.loss)},
          {"perplexity", NumberToJson(std::exp(r.loss))},
          {"accuracy", r.accuracy},
          {"grad_norm", NumberToJson(r.grad_norm)},
          {"learning_rate", r.learning_rate},
          {"tokens", r.tokens},
          {"total_tokens", r.total_tokens},
          {"tokens_per_second", static_cast<double>(r.tokens) / r.step_seconds},
          {"step_seconds", r.step_seconds},
          {"phase_seconds",
           {{"data", r.phases.data},
            {"forward", r.phases.forward},
            {"backward", r.phases.backward},
            {"communicate", r.phases.communicate},
            {"optimize", r.phases.optimize},
            {"checkpoint", r.phases.checkpoint}}},
          {"rank_skew_seconds", r.rank_skew_seconds},
          {"slowest_rank", r.slowest_rank},
          {"matmul_rate_ratio", r.matmul_rate_ratio},
          {"trained_seconds", r.trained_seconds},
          {"batch_digest", std::to_string(r.batch_digest)}};
}

nlohmann::json EvaluationJson(const EvaluationMetrics& m, int64_t step, int attempt,
                              absl::Time now) {
  nlohmann::json result = {{"step", step},
                           {"attempt", attempt},
                           {"time", Timestamp(now)},
                           {"loss", NumberToJson(m.loss)},
                           {"perplexity", NumberToJson(m.perplexity)},
                           {"bits_per_byte", NumberToJson(m.bits_per_byte)},
                           {"accuracy", m.accuracy},
                           {"tokens", m.tokens},
                           {"text_bytes", m.text_bytes},
                           {"seconds", m.seconds}};
  if (m.ema_loss) result["ema_loss"] = NumberToJson(*m.ema_loss);
  return result;
}

nlohmann::json FieldHealthJson(std::span<const LayerHealth> layers,
                               std::span<const LayerUpdate> updates, int64_t step, int attempt,
                               absl::Time now) {
  nlohmann::json list = nlohmann::json::array();
  for (size_t i = 0; i < layers.size(); ++i) {
    nlohmann::json heads = nlohmann::json::array();
    for (const HeadHealth& head : layers[i].heads) {
      heads.push_back({{"time_constant_p10", NumberToJson(head.time_constant_p10)},
                       {"time_constant_p50", NumberToJson(head.time_constant_p50)},
                       {"time_constant_p90", NumberToJson(head.time_constant_p90)},
                       {"frequency", NumberToJson(head.frequency)},
                       {"phase", NumberToJson(head.phase)},
                       {"coupling_entropy", NumberToJson(head.coupling_entropy)}});
    }
    nlohmann::json layer = {{"heads", std::move(heads)},
                            {"residual_rms", NumberToJson(layers[i].residual_rms)},
                            {"mixer_rms", NumberToJson(layers[i].mixer_rms)}};
    if (!updates.empty()) {
      layer["gradient_rms"] = NumberToJson(updates[i].gradient_rms);
      layer["update_ratio"] = NumberToJson(updates[i].update_ratio);
    }
    list.push_back(std::move(layer));
  }
  return {
      {"step", step}, {"attempt", attempt}, {"time", Timestamp(now)}, {"layers", std::move(list)}};
}

}  // namespace wavefield
