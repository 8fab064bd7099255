#include "core/model/config/model_config.h"

#include <fmt/format.h>

#include "core/base/suggest.h"

namespace wavefield {
nlohmann::json ToJson(const ModelConfig& c) {
  return {{"form", c.form},
          {"d_model", c.d_model},
          {"n_layers", c.n_layers},
          {"n_heads", c.n_heads},
          {"d_ff", c.d_ff},
          {"vocab_size", c.vocab_size},
          {"conv_width", c.conv_width},
          {"damping", c.damping},
          {"deposit", c.deposit},
          {"attention_layers", c.attention_layers}};
}

absl::StatusOr<ModelConfig> ModelConfigFromJson(const nlohmann::json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("the model config is not a JSON object");
  const nlohmann::json known = ToJson(ModelConfig());
  std::vector<std::string> keys;
  for (const auto& [key, value] : known.items()) keys.push_back(key);
  for (const auto& [key, value] : json.items()) {
    if (!known.contains(key)) {
      return absl::InvalidArgumentError(fmt::format("unknown key '{}' in the model config; {}",
                                                    key.substr(0, 64), SuggestNearest(key, keys)));
    }
  }
  ModelConfig c;
  try {
    json.at("form").get_to(c.form);
    json.at("d_model").get_to(c.d_model);
    json.at("n_layers").get_to(c.n_layers);
    json.at("n_heads").get_to(c.n_heads);
    json.at("d_ff").get_to(c.d_ff);
    json.at("vocab_size").get_to(c.vocab_size);
    json.at("conv_width").get_to(c.conv_width);
    json.at("damping").get_to(c.damping);
    json.at("deposit").get_to(c.deposit);
    json.at("attention_layers").get_to(c.attention_layers);
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(fmt::format("the model config: {}", error.what()));
  }
  if (const auto violations = Validate(c, ""); !violations.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("the model config: {} {}", violations[0].field, violations[0].description));
  }
  return c;
}

int64_t PadVocabulary(int64_t vocab_size) { return (vocab_size + 63) / 64 * 64; }

}  // namespace wavefield
