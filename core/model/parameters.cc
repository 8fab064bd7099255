#include "core/model/parameters.h"

#include <fmt/format.h>

namespace wavefield {

ParameterLayout::ParameterLayout(const ModelConfig& c) {
  Add("embedding.weight", {c.vocab_size, c.d_model}, true);
  for (int64_t i = 0; i < c.n_layers; ++i) {
    const std::string layer = fmt::format("layers.{}.", i);
    Add(layer + "norm1.weight", {c.d_model}, false);
    Add(layer + "mixer.qkvg.weight", {4 * c.d_model, c.d_model}, true);
    Add(layer + "mixer.conv.weight", {3 * c.d_model, c.conv_width}, false);
    Add(layer + "mixer.conv.bias", {3 * c.d_model}, false);
    Add(layer + "mixer.damping.weight", {c.n_heads, c.d_model}, false);
    Add(layer + "mixer.damping.bias", {c.n_heads}, false);
    Add(layer + "mixer.frequency", {c.n_heads}, false);
    Add(layer + "mixer.phase", {c.n_heads}, false);
    Add(layer + "mixer.coupling", {c.n_heads, c.n_heads}, false);
    Add(layer + "mixer.head_norm.weight", {c.d_model}, false);
    Add(layer + "mixer.out.weight", {c.d_model, c.d_model}, true);
    Add(layer + "norm2.weight", {c.d_model}, false);
    // gate and up are neighbours: one [2F, D] matrix to the matrix product.
    Add(layer + "ffn.gate.weight", {c.d_ff, c.d_model}, true);
    Add(layer + "ffn.up.weight", {c.d_ff, c.d_model}, true);
    Add(layer + "ffn.down.weight", {c.d_model, c.d_ff}, true);
  }
  Add("norm.weight", {c.d_model}, false);
  WF_CHECK(elements_ == ParameterCount(c));
}

void ParameterLayout::Add(std::string name, Shape shape, bool decays) {
  parameters_.push_back({std::move(name), shape, elements_, decays});
  elements_ += shape.elements();
}

Tensor ParameterLayout::View(Tensor flat, const ParameterInfo& info) const {
  WF_CHECK(flat.elements() == elements_);
  return {flat.f32() + info.offset, flat.dtype, info.shape};
}

Tensor ParameterLayout::View(Tensor flat, const std::string& name) const {
  for (const ParameterInfo& info : parameters_) {
    if (info.name == name) return View(flat, info);
  }
  CheckFailed("parameter exists", __FILE__, __LINE__, name);
}

}  // namespace wavefield
