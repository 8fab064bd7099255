"""Jobs side by side. `wavefield compare` says what makes a comparison unfair."""

from panels import GOODPUT, JOB, Dashboard, Query, graph, table


def _lines(title, unit, metric, description, **options):
    return graph(title, unit, f"{metric}{{{JOB}}}", "{{training_job}}", description=description, **options)


RESULTS = (
    table("Now", "training_job", [
        Query(f"max by (training_job, dataset, device, precision, ranks) (wavefield_training_info{{{JOB}}})"),
        Query(f"max by (training_job) (wavefield_training_step{{{JOB}}})", "step"),
        Query(f"max by (training_job) (wavefield_training_tokens_total{{{JOB}}})", "tokens", unit="short"),
        Query(f"max by (training_job) (wavefield_training_loss{{{JOB}}})", "loss"),
        Query(f"max by (training_job) (wavefield_training_evaluation_loss{{{JOB}}})", "evaluation loss"),
        Query(f"max by (training_job) (wavefield_training_evaluation_bpb{{{JOB}}})",
              "bits per byte"),
        Query(f"max by (training_job) (wavefield_training_evaluation_accuracy{{{JOB}}})", "accuracy",
              unit="percentunit"),
        Query(f"max by (training_job) (training_job:wavefield_tokens:rate{{{JOB}}})", "speed",
              unit="si:tok/s")],
        height=7, description="The chosen jobs. Losses compare between equal datasets and tokenizers only."),
)

LEARNING = (
    _lines("Loss", "none", "wavefield_training_loss", "Training loss, nats per token.", width=12, height=10),
    _lines("Evaluation loss", "none", "wavefield_training_evaluation_loss",
           "On held-out text, nats per token.", width=12, height=10),
    _lines("Evaluation perplexity", "none", "wavefield_training_evaluation_perplexity",
           "On held-out text, on a logarithmic axis.", log=True),
    _lines("Evaluation bits per byte", "none", "wavefield_training_evaluation_bpb",
           "Comparable between tokenizers."),
    _lines("Evaluation accuracy", "percentunit", "wavefield_training_evaluation_accuracy",
           "Share of positions whose most probable token was the target."),
    _lines("Gradient norm", "none", "wavefield_training_grad_norm",
           "Before clipping, on a logarithmic axis.", log=True),
    _lines("Learning rate", "sci", "wavefield_training_learning_rate", "What the schedule gave the last step."),
    _lines("Tokens", "short", "wavefield_training_tokens_total", "Target tokens trained on."),
)

COST = (
    _lines("Tokens per second", "si:tok/s", "wavefield_training_tokens_per_second", "Of the last step."),
    graph("Step time", "s",
          "histogram_quantile(0.5, sum by (training_job, le) "
          f"(rate(wavefield_training_step_duration_seconds_bucket{{{JOB}}}[$__rate_interval])))",
          "{{training_job}}", description="Median of the duration of steps."),
    _lines("Utilization", "percentunit", "wavefield_training_matmul_rate_ratio",
           "Model FLOP/s over the measured rate of a matrix product."),
    _lines("Goodput", "percentunit", "training_job:wavefield_goodput:ratio",
           GOODPUT, maximum=1),
    graph("Slot-time", "s",
          f"sum by (training_job) (wavefield_goodput_slot_seconds_total{{{JOB}}})", "{{training_job}}",
          description="Slot-time that the job has held: what it cost so far."),
    _lines("Attempts", "none", "wavefield_training_attempts_total", "Attempts begun."),
)

BOARD = Dashboard("wavefield-compare", "Wavefield / Compare jobs", __doc__, jobs="many",
                  rows=(("Results", RESULTS), ("Learning", LEARNING), ("Cost", COST)))
