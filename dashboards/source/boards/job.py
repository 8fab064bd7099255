"""One job: does it learn, how fast, and where do its hours go?"""

from panels import GOODPUT, JOB, Dashboard, Query, bars, graph, number, red_above, red_below, timeline
from thresholds import THRESHOLDS

STATE = "wavefield_training_state"

NOW = (
    number("State", "none", f"max by (state) ({STATE}{{{JOB}}})", "{{state}}", show_name=True,
           description="The state that the job is in."),
    number("Progress", "percentunit",
           f"wavefield_training_step{{{JOB}}} / wavefield_training_max_steps{{{JOB}}}", maximum=1,
           description="Steps done of the steps of the budget. Empty where time alone bounds the job."),
    number("Time left", "dtdurations", f"training_job:wavefield_time_left:seconds{{{JOB}}}",
           description=f"At the pace of the last {THRESHOLDS['recorded'].pace}. Empty while no step is done."),
    number("Loss now", "none", f"wavefield_training_loss{{{JOB}}}",
           description="Of the last step, on its batch, in nats per token."),
    number("Evaluation loss now", "none", f"wavefield_training_evaluation_loss{{{JOB}}}",
           description="Of the last evaluation on held-out text, in nats per token."),
    number("Goodput", "percentunit", f"training_job:wavefield_goodput:ratio{{{JOB}}}", maximum=1,
           thresholds=red_below(THRESHOLDS["GoodputLow"].ratio, 0.8),
           description=GOODPUT),
    number("Since the last step", "s", f"time() - wavefield_training_last_step_timestamp_seconds{{{JOB}}}",
           thresholds=red_above(60, THRESHOLDS["JobStalled"].silence.seconds),
           description="By the coordinator's clock. Goes on growing after the job's end."),
    number("Age of the checkpoint", "s",
           f"time() - wavefield_training_checkpoint_timestamp_seconds{{{JOB}}}",
           thresholds=red_above(1800, THRESHOLDS["CheckpointTooOld"].age.seconds),
           description="What training would be lost if the job died now."),
    number("Attempts", "none", f"wavefield_training_attempts_total{{{JOB}}}",
           thresholds=red_above(2, 4), description="Attempts begun: 1 is a run without interruption."),
    number("Loss spikes", "none", f"wavefield_training_loss_spikes_total{{{JOB}}}",
           thresholds=red_above(1, 10),
           description="Steps whose loss lay more than 6 standard deviations above its recent mean."),
    number("Non-finite steps", "none", f"wavefield_training_non_finite_steps_total{{{JOB}}}",
           thresholds=red_above(1, 2), description="Steps whose loss or gradient norm was not finite."),
    number("Ranks", "none", f"count by (ranks, device, precision, dataset) (wavefield_training_info{{{JOB}}})",
           "{{ranks}} × {{device}}, {{precision}}, {{dataset}}", show_name=True,
           description="Ranks, their device, the precision of their arithmetic, and the dataset."),
)

LEARNING = (
    graph("Loss", "none", [
        Query(f"wavefield_training_loss{{{JOB}}}", "training"),
        Query(f"wavefield_training_evaluation_loss{{{JOB}}}", "evaluation")],
        width=12, height=10, description="Nats per token: of the last step on its batch, and on held-out text."),
    graph("Perplexity", "none", [
        Query(f"wavefield_training_perplexity{{{JOB}}}", "training"),
        Query(f"wavefield_training_evaluation_perplexity{{{JOB}}}", "evaluation")],
        width=12, height=10, log=True, description="exp(loss), on a logarithmic axis."),
    graph("Accuracy", "percentunit", [
        Query(f"wavefield_training_accuracy{{{JOB}}}", "training"),
        Query(f"wavefield_training_evaluation_accuracy{{{JOB}}}", "evaluation")],
        description="Share of positions whose most probable token was the target."),
    graph("Bits per byte", "none", f"wavefield_training_evaluation_bpb{{{JOB}}}", "evaluation",
          description="Of held-out text. Comparable between tokenizers, which loss is not."),
    graph("Moving average of the weights", "none", [
        Query(f"wavefield_training_evaluation_loss{{{JOB}}}", "weights"),
        Query(f"wavefield_training_evaluation_ema_loss{{{JOB}}}", "their moving average", needs="ema")],
        description="Evaluation loss of the weights and of their moving average, where the job keeps one."),
    graph("Gradient norm", "none", f"wavefield_training_grad_norm{{{JOB}}}", "before clipping", log=True,
          description="Before clipping, on a logarithmic axis. A steady rise comes before a divergence."),
    graph("Learning rate", "sci", f"wavefield_training_learning_rate{{{JOB}}}", "learning rate",
          description="What the schedule gave the last step."),
    graph("Spikes and non-finite steps", "none", [
        Query(f"increase(wavefield_training_loss_spikes_total{{{JOB}}}[$__rate_interval])", "loss spikes"),
        Query(f"increase(wavefield_training_non_finite_steps_total{{{JOB}}}[$__rate_interval])", "non-finite")],
        description="Steps that should not look as they do, in each interval."),
)

SPEED = (
    graph("Tokens per second", "si:tok/s", [
        Query(f"wavefield_training_tokens_per_second{{{JOB}}}", "in the last step"),
        Query(f"rate(wavefield_training_tokens_total{{{JOB}}}[$__rate_interval])", "over all time")],
        description="Inside a step, and over all time: the gap is evaluation, checkpoints and restarts."),
    graph("Step time", "s", [
        Query("histogram_quantile(0.5, sum by (le) "
              f"(rate(wavefield_training_step_duration_seconds_bucket{{{JOB}}}[$__rate_interval])))", "p50"),
        Query("histogram_quantile(0.95, sum by (le) "
              f"(rate(wavefield_training_step_duration_seconds_bucket{{{JOB}}}[$__rate_interval])))", "p95")],
        description="Median and 95th percentile of the duration of steps, as fine as the histogram's buckets."),
    graph("Time of a step by phase", "s",
          f"sum by (phase) (rate(wavefield_training_phase_seconds_total{{{JOB}}}[$__rate_interval]))"
          " / on () group_left ()"
          f" sum(rate(wavefield_training_step_duration_seconds_count{{{JOB}}}[$__rate_interval]))",
          "{{phase}}", stack=True,
          description="What a mean step consists of. Much `data` or `communicate`: the ranks wait."),
    graph("Utilization", "percentunit", f"wavefield_training_matmul_rate_ratio{{{JOB}}}",
          "model FLOP/s over the rate of a matrix product",
          description="Floating-point operations of the model over the measured rate of a matrix product."),
    graph("Rank skew", "s", f"wavefield_training_rank_skew_seconds{{{JOB}}}", "slowest minus fastest",
          description="In the last step. `wavefield metrics JOB --json` names the slowest rank."),
    graph("Pauses between steps", "s", [
        Query(f"wavefield_training_checkpoint_stall_seconds{{{JOB}}}", "wait for the last save"),
        Query(f"wavefield_training_evaluation_duration_seconds{{{JOB}}}", "last evaluation")],
        description="How long the step loop waited for the last save, and the last evaluation took."),
)

HOURS = (
    graph("Slots by what they do", "none",
          f"sum by (bucket) (rate(wavefield_goodput_slot_seconds_total{{{JOB}}}[$__rate_interval]))",
          "{{bucket}}", stack=True, width=12, height=9,
          description="Slot-seconds per second: how many slots the job holds, and what for."),
    bars("The job's ledger", "s", f"sum by (bucket) (wavefield_goodput_slot_seconds_total{{{JOB}}})",
         "{{bucket}}", width=6, height=9,
         description="Slot-time of the whole job; each slot-second is in one bucket (`wavefield goodput`)."),
    graph("Restarts", "none",
          f"sum by (reason) (wavefield_training_restarts_total{{{JOB}}})"
          f" or on () (0 * sum(wavefield_training_attempts_total{{{JOB}}}))", "{{reason}}", width=6, height=9,
          description="Attempts that failed and were followed by another, by cause."),
    timeline("States", f"max by (state) ({STATE}{{{JOB}}})", "{{state}}",
             description="A band while the job is in the state."),
)

BOARD = Dashboard(
    "wavefield-job", "Wavefield / Job", __doc__, jobs="one",
    rows=(("Now", NOW), ("Learning", LEARNING), ("Speed", SPEED), ("Where the time goes", HOURS)))
