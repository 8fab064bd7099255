"""What the layers of one job do, as seen at its evaluations. `wavefield metrics --health` has each head."""

from panels import JOB, Dashboard, bars, graph


def _layers(title, unit, metric, description, **options):
    return graph(title, unit, f"{metric}{{{JOB}}}", "layer {{layer}}", description=description, width=12,
                 **options)


def _time_constants(quantile):
    return f'wavefield_field_time_constant_tokens{{{JOB}, token_quantile="{quantile}"}}'


WAVES = (
    graph("Time constants, median", "si:tok", _time_constants("0.5"), "layer {{layer}}", log=True, width=12,
          description="1/λ over tokens: after so many a wave has fallen to 1/e. Median over tokens and heads."),
    graph("Time constants, spread", "none", f"{_time_constants('0.9')} / ignoring (token_quantile)"
          f" {_time_constants('0.1')}", "layer {{layer}}", log=True, width=12,
          description="0.9 quantile over 0.1 quantile. Near 1 the damping does not depend on content."),
    _layers("Frequency", "suffix: rad/tok", "wavefield_field_frequency_radians",
            "|ω| per token. All near 0: the waves do not oscillate any more."),
    _layers("Coupling entropy", "suffix: nats", "wavefield_field_coupling_entropy_nats",
            "0: each head hears one head; ln(heads): it hears all alike."),
)

SIGNAL = (
    _layers("Residual stream", "none", "wavefield_field_residual_rms",
            "RMS after the layer. It should grow slowly with depth and settle with time.", log=True),
    _layers("What the mixer adds", "none", "wavefield_field_mixer_rms",
            "RMS of the mixer's output. Near 0: the layer's field does nothing.", log=True),
    _layers("Gradient", "none", "wavefield_field_gradient_rms",
            "RMS of the gradient of the layer's weights. Layers apart by powers of ten: look at depth.",
            log=True),
    _layers("Update over weights", "none", "wavefield_field_update_ratio",
            "Around 0.001 is usual. Far above, the learning rate is too high for the layer.", log=True),
)

LAST = (
    bars("Time constants now", "si:tok", _time_constants("0.5"), "layer {{layer}}",
         description="At the last evaluation."),
    bars("Coupling entropy now", "suffix: nats", f"wavefield_field_coupling_entropy_nats{{{JOB}}}",
         "layer {{layer}}", description="At the last evaluation."),
    bars("Update over weights now", "none", f"wavefield_field_update_ratio{{{JOB}}}", "layer {{layer}}",
         description="At the last evaluation."),
)

BOARD = Dashboard("wavefield-field-health", "Wavefield / Field health", __doc__, jobs="one",
                  rows=(("Waves", WAVES), ("Signal", SIGNAL), ("At the last evaluation", LAST)))
