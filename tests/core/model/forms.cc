#include "tests/core/model/forms.h"

#include <ostream>

namespace wavefield::testing {
namespace {

ModelConfig Shape(int64_t heads, int64_t head_dim) {
  ModelConfig config;
  config.d_model = heads * head_dim;
  config.n_layers = 2;
  config.n_heads = heads;
  config.d_ff = 24;
  config.vocab_size = 64;
  return config;
}

const char* NameOf(Propagation way) {
  switch (way) {
    case Propagation::kDirect:
      return "direct";
    case Propagation::kRecurrence:
      return "recurrence";
    case Propagation::kChunked:
      return "chunked";
    case Propagation::kFft:
      return "fft";
  }
  return "";
}

}  // namespace

std::vector<Form> Forms(int64_t heads, int64_t head_dim) {
  std::vector<Form> forms;
  for (const char* damping : {"selective", "static"}) {
    for (const char* deposit : {"outer", "elementwise"}) {
      ModelConfig config = Shape(heads, head_dim);
      config.damping = damping;
      config.deposit = deposit;
      forms.push_back({std::string(damping) + "_" + deposit, config, {}});
    }
  }
  ModelConfig attention = Shape(heads, head_dim);
  attention.form = "attention";
  forms.push_back({"attention", attention, {}});
  ModelConfig hybrid = Shape(heads, head_dim);
  hybrid.attention_layers = {1};
  forms.push_back({"hybrid", hybrid, {}});
  return forms;
}

std::vector<Form> FormsAndWays(int64_t heads, int64_t head_dim) {
  std::vector<Form> all;
  for (const Form& form : Forms(heads, head_dim)) {
    const auto ways = FindMixer(form.config.form)->Ways(form.config);
    if (ways.empty()) all.push_back(form);
    for (const Propagation way : ways) {
      all.push_back({form.name + "_" + NameOf(way), form.config, {.propagation = way}});
    }
  }
  return all;
}

void Perturb(Model& model, std::mt19937_64& random) {
  std::normal_distribution<float> normal(0, 1);
  for (const ParameterInfo& info : model.layout().parameters()) {
    const Tensor t = model.layout().View(model.parameters(), info);
    const float deviation = info.group == ParameterGroup::kMatrix ? 0.15f : 0.2f;
    for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] += normal(random) * deviation;
    // What comes before the features' ReLU stays away from its kink, on either side of it.
    const bool of_relu = info.name.ends_with("psi_q.1.bias") || info.name.ends_with("psi_k.1.bias");
    for (int64_t i = 0; i < t.elements() && of_relu; ++i) t.f32()[i] += i % 2 == 0 ? 4.0f : -4.0f;
  }
}

void PrintTo(const Form& form, std::ostream* out) { *out << form.name; }

}  // namespace wavefield::testing
