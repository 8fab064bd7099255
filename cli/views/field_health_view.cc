#include "cli/views/field_health_view.h"

#include <fmt/format.h>

#include "cli/views/format.h"
#include "cli/views/table.h"

namespace wavefield {
namespace {

constexpr int kDigits = 4;

std::string Real(double value) { return FormatSignificant(value, kDigits); }

}  // namespace

std::string FormatFieldHealth(const v1::FieldHealth& health) {
  Table layers({{"LAYER", Align::kRight},
                {"RESIDUAL RMS", Align::kRight},
                {"MIXER RMS", Align::kRight},
                {"GRADIENT RMS", Align::kRight},
                {"UPDATE RATIO", Align::kRight}});
  // TAU: the time constant 1/λ, in tokens.
  Table heads({{"LAYER", Align::kRight},
               {"HEAD", Align::kRight},
               {"TAU P10", Align::kRight},
               {"TAU P50", Align::kRight},
               {"TAU P90", Align::kRight},
               {"FREQUENCY", Align::kRight},
               {"PHASE", Align::kRight},
               {"COUPLING ENTROPY", Align::kRight}});
  bool waves = false;
  for (int i = 0; i < health.layers_size(); ++i) {
    const v1::LayerHealth& layer = health.layers(i);
    layers.AddRow({std::to_string(i), Real(layer.residual_rms()), Real(layer.mixer_rms()),
                   layer.has_gradient_rms() ? Real(layer.gradient_rms()) : "-",
                   layer.has_update_ratio() ? Real(layer.update_ratio()) : "-"});
    for (int h = 0; h < layer.heads_size(); ++h) {
      const v1::HeadHealth& head = layer.heads(h);
      waves = true;
      heads.AddRow({std::to_string(i), std::to_string(h), Real(head.time_constant_p10()),
                    Real(head.time_constant_p50()), Real(head.time_constant_p90()),
                    Real(head.frequency()), Real(head.phase()), Real(head.coupling_entropy())});
    }
  }
  std::string text = fmt::format("step {}, attempt {}, {}\n", FormatInteger(health.step()),
                                 health.attempt(), FormatTime(health.time()));
  text += "\n" + layers.ToString();
  if (waves) text += "\n" + heads.ToString();
  return text;
}

}  // namespace wavefield
