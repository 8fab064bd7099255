"""What would be lost, what saving costs, and whether it still fits on the disk."""

from panels import JOB, Dashboard, Query, bars, graph, number, red_above, red_below, table
from thresholds import THRESHOLDS

_AGE = THRESHOLDS["CheckpointTooOld"].age.seconds
_DISK = THRESHOLDS["DiskNearlyFull"].free_ratio
_SAVES = "rate(wavefield_checkpoint_save_duration_seconds_bucket[$__range])"


def _jobs(title, unit, expr, description, **options):
    return graph(title, unit, expr, "{{training_job}}", description=description, **options)


NOW = (
    number("Oldest", "s", f"max((time() - wavefield_training_checkpoint_timestamp_seconds{{{JOB}}}) and"
           ' on (training_job) wavefield_training_state{state=~"starting|running"} or vector(0))', width=6,
           thresholds=red_above(_AGE / 2, _AGE),
           description="Age of the newest checkpoint, of the job that trains and would lose most."),
    number("Failures so far", "none", f"sum(wavefield_training_checkpoint_failures_total{{{JOB}}})", width=6,
           thresholds=red_above(1, 3), description="Checkpoints that were due and could not be written."),
    number("Verification failures", "none",
           f"sum(wavefield_training_checkpoint_verification_failures_total{{{JOB}}})", width=6,
           thresholds=red_above(1, 2), description="Checkpoints that a restart refused."),
    number("Free storage", "percentunit",
           'wavefield_disk_free_bytes{directory="storage"} / wavefield_disk_size_bytes{directory="storage"}',
           width=6, maximum=1, thresholds=red_below(_DISK, 2 * _DISK),
           description="Of the storage root's file system, as the coordinator sees it."),
)

JOBS = (
    table("Newest checkpoints", "training_job", [
        Query(f"max by (training_job) (wavefield_training_checkpoint_step{{{JOB}}})", "step"),
        Query(f"max by (training_job) (time() - wavefield_training_checkpoint_timestamp_seconds{{{JOB}}})",
              "age", unit="dtdurations"),
        Query(f"max by (training_job) (wavefield_training_step{{{JOB}}})"
              f" - max by (training_job) (wavefield_training_checkpoint_step{{{JOB}}})", "steps since"),
        Query(f"max by (training_job) (wavefield_training_checkpoint_size_bytes{{{JOB}}})", "size",
              unit="bytes"),
        Query(f"max by (training_job) (wavefield_training_checkpoint_stall_seconds{{{JOB}}})", "stall",
              unit="s"),
        Query(f"max by (training_job) (wavefield_training_checkpoints_total{{{JOB}}})", "committed")],
        height=7, description="Of each job. `wavefield checkpoints list` has all of them."),
    _jobs("Age", "s", f"time() - wavefield_training_checkpoint_timestamp_seconds{{{JOB}}}",
          "A sawtooth that falls to 0 at each checkpoint.", thresholds=red_above(_AGE / 2, _AGE)),
    _jobs("Stall", "s", f"wavefield_training_checkpoint_stall_seconds{{{JOB}}}",
          "How long the step loop waited for the last save."),
    _jobs("Size", "bytes", f"wavefield_training_checkpoint_size_bytes{{{JOB}}}", "Of the newest checkpoint."),
    _jobs("Committed", "none", f"increase(wavefield_training_checkpoints_total{{{JOB}}}[$__rate_interval])",
          "Checkpoints in each interval."),
    _jobs("Failures", "none",
          f"increase(wavefield_training_checkpoint_failures_total{{{JOB}}}[$__rate_interval])"
          f" + increase(wavefield_training_checkpoint_verification_failures_total{{{JOB}}}[$__rate_interval])",
          "Not written, or refused at a restart, in each interval."),
    bars("Share of time spent waiting for saves", "percentunit",
         f'sum by (training_job) (wavefield_goodput_slot_seconds_total{{{JOB}, bucket="checkpoint_stall"}})'
         f" / sum by (training_job) (wavefield_goodput_slot_seconds_total{{{JOB}}})", "{{training_job}}",
         description="Of the slot-time that the job has held."),
)

STORAGE = (
    graph("Time of a save", "s", [
        Query(f"histogram_quantile(0.5, sum by (le) ({_SAVES}))", "p50"),
        Query(f"histogram_quantile(0.95, sum by (le) ({_SAVES}))", "p95")],
        description="Of all jobs, over the shown time: how long step loops waited."),
    graph("Free space", "bytes", "wavefield_disk_free_bytes", "{{directory}}",
          description="On the coordinator's file systems."),
    graph("Free space, share", "percentunit", "wavefield_disk_free_bytes / wavefield_disk_size_bytes",
          "{{directory}}", maximum=1, thresholds=red_below(_DISK, 2 * _DISK),
          description="`storage`: the storage root; `state`: the coordinator's data directory."),
)

BOARD = Dashboard("wavefield-checkpoints", "Wavefield / Checkpoints", __doc__, jobs="many",
                  rows=(("Now", NOW), ("Jobs", JOBS), ("Storage", STORAGE)))
