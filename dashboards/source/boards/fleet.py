"""All jobs and workers: what runs, what waits, what is used."""

from panels import GOODPUT, Dashboard, Query, graph, number, red_above, red_below, table
from thresholds import THRESHOLDS

NOW = (
    number("Running jobs", "none", 'sum(wavefield_jobs{state=~"starting|running|stopping"})',
           description="Jobs that hold slots."),
    number("Queued jobs", "none", 'sum(wavefield_jobs{state="queued"})', description="Jobs that wait for slots."),
    number("Slots in use", "percentunit", "fleet:wavefield_slots:used_ratio", maximum=1,
           description="Of the slots of ready workers."),
    number("Goodput", "percentunit", "fleet:wavefield_goodput:ratio", maximum=1,
           thresholds=red_below(THRESHOLDS["GoodputLow"].ratio, 0.8),
           description=GOODPUT),
    number("Tokens per second", "si:tok/s", "fleet:wavefield_tokens:rate",
           description=f"That all jobs together were trained on over the last {THRESHOLDS['recorded'].tokens}."),
    number("Alerts", "none", 'count(ALERTS{alertstate="firing"}) or vector(0)', thresholds=red_above(1, 3),
           description="That fire now."),
)

JOBS = (
    table("Jobs", "training_job", [
        Query("max by (training_job, dataset, device, precision, ranks) (wavefield_training_info)"),
        Query("max by (training_job, state) (wavefield_training_state)"),
        Query("max by (training_job) (wavefield_training_step)", "step"),
        Query("max by (training_job) (wavefield_training_loss)", "loss"),
        Query("max by (training_job) (training_job:wavefield_tokens:rate)", "tokens", unit="si:tok/s"),
        Query("max by (training_job) (training_job:wavefield_goodput:ratio)", "goodput", unit="percentunit"),
        Query("max by (training_job) (training_job:wavefield_time_left:seconds)", "time left",
              unit="dtdurations"),
        Query("max by (training_job) (wavefield_training_attempts_total)", "attempts")],
        description="The jobs whose series are shown: from the first attempt until an hour after the end."),
    graph("Jobs by state", "none", "sum by (state) (wavefield_jobs)", "{{state}}", stack=True,
          description="All jobs that the coordinator knows."),
    graph("Why jobs are as they are", "none", 'sum by (state, reason) (wavefield_jobs)',
          "{{state}} {{reason}}", description="Jobs by state and reason."),
    graph("Wait in the queue", "s", [
        Query("histogram_quantile(0.5, sum by (le) (rate(wavefield_job_queue_wait_seconds_bucket[$__range])))",
              "p50"),
        Query("histogram_quantile(0.95, sum by (le) (rate(wavefield_job_queue_wait_seconds_bucket[$__range])))",
              "p95")],
        description="Of the attempts that began in the shown time: from the wish to run to the start."),
)

TRAINING = (
    graph("Loss of running jobs", "none",
          'wavefield_training_loss and on (training_job) wavefield_training_state{state="running"}',
          "{{training_job}}", width=12, description="Nats per token, of the last step."),
    graph("Tokens per second by job", "si:tok/s", "training_job:wavefield_tokens:rate", "{{training_job}}",
          stack=True, width=12, description=f"Over the last {THRESHOLDS['recorded'].tokens}."),
    graph("Slots by what they do", "none",
          "sum by (bucket) (rate(wavefield_goodput_slot_seconds_total[$__rate_interval]))", "{{bucket}}",
          stack=True, width=12, description="Slots that jobs hold, and what for."),
    graph("Goodput by job", "percentunit", "training_job:wavefield_goodput:ratio", "{{training_job}}",
          maximum=1, width=12, thresholds=red_below(THRESHOLDS["GoodputLow"].ratio, 0.8),
          description=GOODPUT),
)

CAPACITY = (
    graph("Workers", "none", "sum by (state) (wavefield_workers)", "{{state}}", stack=True,
          description="Workers by state."),
    graph("Slots", "none", "sum by (device, state) (wavefield_worker_slots)", "{{device}} {{state}}", stack=True,
          description="Slots of ready workers, by device."),
    graph("Restarts and lost workers", "none", [
        Query("sum by (reason) (increase(wavefield_training_restarts_total[$__rate_interval]))"
              " or on () 0 * sum(wavefield_training_attempts_total)", "restart {{reason}}"),
        Query("increase(wavefield_workers_lost_total[$__rate_interval])", "worker lost")],
        description="In each interval, by cause."),
)

BOARD = Dashboard("wavefield-fleet", "Wavefield / Fleet", __doc__,
                  rows=(("Now", NOW), ("Jobs", JOBS), ("Training", TRAINING), ("Capacity", CAPACITY)))
