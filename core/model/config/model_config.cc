#include "core/model/config/model_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/check.h"
#include "core/base/suggest.h"

namespace wavefield {
namespace {

constexpr int64_t kMaxWidth = 65536;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxVocabulary = 4 << 20;

// Parameters of one layer in matrices, and in vectors.
int64_t LayerMatrixParameters(const ModelConfig& c) {
  return 4 * c.d_model * c.d_model + c.d_model * c.d_model + 3 * c.d_model * c.d_ff +
         c.n_heads * c.d_model;
}
int64_t LayerVectorParameters(const ModelConfig& c) {
  const int64_t norms = 2 * c.d_model;
  const int64_t conv = 3 * c.d_model * c.conv_width + 3 * c.d_model;
  const int64_t field = 3 * c.n_heads + c.n_heads * c.n_heads + c.d_model;
  return norms + conv + field;
}

}  // namespace

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

std::vector<FieldViolation> Validate(const ModelConfig& c, const std::string& prefix) {
  ViolationList violations(prefix);
  const auto one_of = [&](const std::string& field, const std::string& value,
                          const std::string& supported) {
    if (value != supported) {
      violations.Add(field,
                     fmt::format("is '{}'; supported: '{}'", value.substr(0, 64), supported));
    }
  };
  one_of("form", c.form, "modern");
  one_of("damping", c.damping, "selective");
  one_of("deposit", c.deposit, "outer");
  violations.Range<int64_t>("d_model", c.d_model, 1, kMaxWidth);
  violations.Range<int64_t>("n_layers", c.n_layers, 1, kMaxLayers);
  violations.Range<int64_t>("n_heads", c.n_heads, 1, std::max<int64_t>(1, c.d_model));
  violations.Range<int64_t>("d_ff", c.d_ff, 1, 4 * kMaxWidth);
  violations.Range<int64_t>("vocab_size", c.vocab_size, 64, kMaxVocabulary);
  violations.Range<int64_t>("conv_width", c.conv_width, 1, 32);
  if (c.n_heads > 0 && c.d_model % c.n_heads != 0) {
    violations.Add("n_heads",
                   fmt::format("is {}, which does not divide d_model {}; choose a divisor",
                               c.n_heads, c.d_model));
  }
  if (c.vocab_size % 64 != 0) {
    violations.Add("vocab_size", fmt::format("is {}; must be a multiple of 64, the next is {}",
                                             c.vocab_size, PadVocabulary(c.vocab_size)));
  }
  if (!c.attention_layers.empty()) {
    violations.Add("attention_layers", "attention layers are not supported; leave the list empty");
  }
  return violations.Take();
}

int64_t PadVocabulary(int64_t vocab_size) { return (vocab_size + 63) / 64 * 64; }

int64_t ParameterCount(const ModelConfig& c) {
  return c.vocab_size * c.d_model +
         c.n_layers * (LayerMatrixParameters(c) + LayerVectorParameters(c)) + c.d_model;
}

int64_t MatrixParameterCount(const ModelConfig& c) {
  return c.vocab_size * c.d_model + c.n_layers * LayerMatrixParameters(c);
}

double ModelFlopsPerToken(const ModelConfig& c) {
  return 6.0 * static_cast<double>(MatrixParameterCount(c));
}

}  // namespace wavefield
