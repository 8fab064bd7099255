#include "cli/views/model_summary.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/model/architecture.h"
#include "proto/rpc/status.h"

namespace wavefield {

absl::StatusOr<ModelConfig> ResolveModel(const v1::ModelSpec& spec, int64_t tokenizer_vocab_size) {
  ModelConfig config;
  if (!spec.preset().empty()) {
    WF_ASSIGN_OR_RETURN(config, FindPreset(spec.preset()));
  }
  if (tokenizer_vocab_size > 0) config.vocab_size = PadVocabulary(tokenizer_vocab_size);
  if (spec.has_form()) config.form = spec.form();
  if (spec.has_d_model()) config.d_model = spec.d_model();
  if (spec.has_n_layers()) config.n_layers = spec.n_layers();
  if (spec.has_n_heads()) config.n_heads = spec.n_heads();
  if (spec.has_d_ff()) config.d_ff = spec.d_ff();
  if (spec.has_vocab_size()) config.vocab_size = spec.vocab_size();
  if (spec.has_conv_width()) config.conv_width = spec.conv_width();
  if (spec.has_damping()) config.damping = spec.damping();
  if (spec.has_deposit()) config.deposit = spec.deposit();
  if (spec.attention_layers_size() > 0) {
    config.attention_layers.assign(spec.attention_layers().begin(), spec.attention_layers().end());
  }
  google::rpc::BadRequest violations;
  for (const FieldViolation& violation : Validate(config, "model.")) {
    auto* added = violations.add_field_violations();
    added->set_field(violation.field);
    added->set_description(violation.description);
  }
  if (violations.field_violations_size() == 0) return config;
  absl::Status status = absl::InvalidArgumentError("the model is not valid");
  AttachDetail(status, violations);
  return status;
}

int64_t TensorGroup::elements() const {
  int64_t elements = count;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

namespace {

// "layers.3.mixer.out.weight" → "layers.*.mixer.out.weight".
std::string Pattern(const std::string& name) {
  const size_t begin = name.find('.') + 1, end = name.find('.', begin);
  const bool numbered = begin > 0 && end != std::string::npos && begin < end &&
                        name.find_first_not_of("0123456789", begin) == end;
  return numbered ? name.substr(0, begin) + "*" + name.substr(end) : name;
}

}  // namespace

std::vector<TensorGroup> ListTensors(const ModelConfig& config) {
  std::vector<TensorGroup> groups;
  for (const ParameterDescription& parameter : DescribeParameters(config)) {
    TensorGroup group{.name = Pattern(parameter.name)};
    for (int i = 0; i < parameter.shape.rank(); ++i) group.shape.push_back(parameter.shape[i]);
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const TensorGroup& other) {
      return other.name == group.name && other.shape == group.shape;
    });
    if (same != groups.end()) {
      ++same->count;
    } else {
      groups.push_back(std::move(group));
    }
  }
  return groups;
}

}  // namespace wavefield
