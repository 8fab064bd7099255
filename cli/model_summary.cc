#include "cli/model_summary.h"

#include "core/base/status_macros.h"
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

std::vector<TensorGroup> ListTensors(const ModelConfig& c) {
  const int64_t D = c.d_model, F = c.d_ff, H = c.n_heads, L = c.n_layers;
  return {{"embedding.weight", {c.vocab_size, D}},
          {"layers.*.norm1.weight", {D}, L},
          {"layers.*.mixer.qkvg.weight", {4 * D, D}, L},
          {"layers.*.mixer.conv.weight", {3 * D, c.conv_width}, L},
          {"layers.*.mixer.conv.bias", {3 * D}, L},
          {"layers.*.mixer.damping.weight", {H, D}, L},
          {"layers.*.mixer.damping.bias", {H}, L},
          {"layers.*.mixer.frequency", {H}, L},
          {"layers.*.mixer.phase", {H}, L},
          {"layers.*.mixer.coupling", {H, H}, L},
          {"layers.*.mixer.head_norm.weight", {D}, L},
          {"layers.*.mixer.out.weight", {D, D}, L},
          {"layers.*.norm2.weight", {D}, L},
          {"layers.*.ffn.gate.weight", {F, D}, L},
          {"layers.*.ffn.up.weight", {F, D}, L},
          {"layers.*.ffn.down.weight", {D, F}, L},
          {"norm.weight", {D}}};
}

}  // namespace wavefield
