"""Recording rules and alerts. Numbers come from thresholds.toml."""

import dataclasses

import thresholds

_RUNNING = 'on (training_job) wavefield_training_state{state="running"}'
_ACTIVE = 'wavefield_training_state{state=~"starting|running"}'
_LAST_STEP = "wavefield_training_last_step_timestamp_seconds"


@dataclasses.dataclass(frozen=True)
class Alert:
    """`expr` is true, with the labels of what is wrong, for as long as it is wrong.

    In `expr` and the texts, <name> is a threshold of the alert; {{ … }} is Prometheus' own template.
    """

    name: str
    severity: str  # critical: training is lost or stands still; warning: it will, or goes badly
    expr: str
    summary: str
    description: str
    dashboard: str  # uid, and its variables
    for_: str = ""

    def rule(self):
        return {"alert": self.name, "expr": self.expr, "for": str(self.for_),
                "labels": {"severity": self.severity},
                "annotations": {"summary": self.summary, "description": self.description,
                                "dashboard": f"/d/{self.dashboard}",
                                "runbook": f"dashboards/runbooks/{self.name}.md"}}


_ONE_JOB = "wavefield-job?var-training_job={{ $labels.training_job }}"
_ONE_WORKER = "wavefield-workers?var-worker={{ $labels.worker }}"

_ALERTS = (
    Alert("CoordinatorDown", "critical",
          'up{job="wavefield"} == 0 or absent(up{job="wavefield"})',
          "The coordinator does not answer",
          "Prometheus cannot scrape the coordinator{{ with $labels.instance }} at {{ . }}{{ end }}. Training"
          " goes on without it, but no job starts and no other alert can be known.",
          "wavefield-control-plane"),
    Alert("QueueStuck", "warning",
          'sum(wavefield_jobs{state="queued"}) > 0 and on ()'
          ' (sum(wavefield_worker_slots{state="free"}) > 0'
          " or (sum(wavefield_worker_slots) or vector(0)) == 0)",
          "Jobs wait although slots are free, or there is no slot at all",
          "Jobs that have been queued for <for_> while slots were free or no worker offered any: {{ $value }}.",
          "wavefield-fleet"),
    Alert("JobFailed", "critical",
          'wavefield_training_state{state="failed"} == 1',
          "{{ $labels.training_job }} failed",
          "{{ $labels.training_job }} failed for good and will not be restarted. It made step"
          ' {{ with printf "wavefield_training_step{training_job=\'%s\'}" $labels.training_job | query }}'
          "{{ . | first | value }}{{ else }}0{{ end }}.",
          _ONE_JOB),
    Alert("JobStalled", "critical",
          f"max by (training_job) ((time() - {_LAST_STEP} > <silence.seconds>"
          f" or on (training_job) <silence.seconds> * ({_ACTIVE} unless on (training_job) {_LAST_STEP}))"
          f" and on (training_job) {_ACTIVE} and on (training_job) ({_ACTIVE} offset <silence>))",
          "{{ $labels.training_job }} makes no steps",
          "{{ $labels.training_job }} is meant to train and has not finished a step for"
          " {{ $value | humanizeDuration }}.",
          _ONE_JOB),
    Alert("JobNoProgress", "warning",
          "avg_over_time(wavefield_training_loss[<window>])"
          f" >= avg_over_time(wavefield_training_loss[<window>] offset <window>) and {_RUNNING}",
          "{{ $labels.training_job }} does not get better",
          "The mean training loss of {{ $labels.training_job }} over the last <window> is"
          ' {{ $value | printf "%.4f" }}, no better than over the <window> before.',
          _ONE_JOB),
    Alert("LossNotFinite", "critical",
          "increase(wavefield_training_non_finite_steps_total[<window>]) > 0",
          "{{ $labels.training_job }} has steps that are not finite",
          "Steps of {{ $labels.training_job }} in the last <window> whose loss or gradient norm was not a"
          ' finite number: about {{ $value | printf "%.0f" }}.',
          _ONE_JOB),
    Alert("LossDiverging", "critical",
          "min_over_time(wavefield_training_loss[<recent>]) - min_over_time(wavefield_training_loss[<window>])"
          f" > <nats> and {_RUNNING}",
          "The loss of {{ $labels.training_job }} diverges",
          "The best loss of {{ $labels.training_job }} in the last <recent> lies"
          ' {{ $value | printf "%.2f" }} nats above its best in the last <window>.',
          _ONE_JOB),
    Alert("RestartLoop", "critical",
          "increase(wavefield_training_attempts_total[<window>]) >= <attempts>",
          "{{ $labels.training_job }} is restarted again and again",
          "Attempts that {{ $labels.training_job }} began in the last <window>, after its first: about"
          ' {{ $value | printf "%.0f" }}.',
          _ONE_JOB),
    Alert("GoodputLow", "warning",
          f"training_job:wavefield_goodput:ratio < <ratio> and {_RUNNING}",
          "{{ $labels.training_job }} wastes its slots",
          "Only {{ $value | humanizePercentage }} of the recent slot-time of {{ $labels.training_job }} went"
          " into steps done for the first time.",
          _ONE_JOB),
    Alert("CheckpointTooOld", "warning",
          'wavefield_training_state{state="running"} unless on (training_job)'
          " (time() - wavefield_training_checkpoint_timestamp_seconds < <age.seconds>)",
          "{{ $labels.training_job }} trains without checkpoints",
          "{{ $labels.training_job }} has been running for <for_> and has no checkpoint younger than <age>. Its"
          ' newest is {{ with printf "time() - wavefield_training_checkpoint_timestamp_seconds'
          '{training_job=\'%s\'}" $labels.training_job | query }}{{ . | first | value | humanizeDuration }} old'
          "{{ else }}none{{ end }}.",
          "wavefield-checkpoints?var-training_job={{ $labels.training_job }}"),
    Alert("CheckpointFailing", "critical",
          "increase(wavefield_training_checkpoint_failures_total[<window>]) > 0"
          " or increase(wavefield_training_checkpoint_verification_failures_total[<window>]) > 0",
          "Checkpoints of {{ $labels.training_job }} fail",
          "Checkpoints of {{ $labels.training_job }} in the last <window> that could not be written, or did not"
          ' verify at a restart: about {{ $value | printf "%.0f" }}.',
          "wavefield-checkpoints?var-training_job={{ $labels.training_job }}"),
    Alert("WorkerLost", "warning",
          "wavefield_worker_up == 0",
          "Worker {{ $labels.worker }} is lost",
          "The lease of {{ $labels.worker }} ran out: it sends no heartbeats. Its jobs start again elsewhere.",
          _ONE_WORKER),
    Alert("SpoolGrowing", "warning",
          "delta(wavefield_worker_spool_depth[<window>]) > 0 and wavefield_worker_spool_depth > <depth>",
          "Worker {{ $labels.worker }} cannot get rid of its events",
          "The spool of {{ $labels.worker }} grew by"
          ' {{ $value | printf "%.0f" }} events in the last <window>, to'
          ' {{ with printf "wavefield_worker_spool_depth{worker=\'%s\'}" $labels.worker | query }}'
          "{{ . | first | value }}{{ end }}.",
          _ONE_WORKER),
    Alert("DiskNearlyFull", "warning",
          "wavefield_disk_free_bytes / wavefield_disk_size_bytes < <free_ratio>"
          " or wavefield_worker_disk_free_bytes / wavefield_worker_disk_size_bytes < <free_ratio>",
          "The disk of {{ if $labels.worker }}worker {{ $labels.worker }}{{ else }}the coordinator's"
          " {{ $labels.directory }} directory{{ end }} is nearly full",
          "{{ $value | humanizePercentage }} of it are free. When it is full, checkpoints fail and what is"
          " reported is lost.",
          "{{ if $labels.worker }}" + _ONE_WORKER + "{{ else }}wavefield-checkpoints{{ end }}"),
    Alert("GpuThrottled", "warning",
          "avg_over_time(wavefield_gpu_throttled[<window>]) > <share>",
          "GPU {{ $labels.gpu }} of {{ $labels.worker }} is slowed down",
          "The driver slowed GPU {{ $labels.gpu }} of {{ $labels.worker }} down for"
          " {{ $value | humanizePercentage }} of the last <window>, for heat or the power supply's brake.",
          _ONE_WORKER),
    Alert("GpuXid", "critical",
          "wavefield_gpu_last_xid > 0",
          "GPU {{ $labels.gpu }} of {{ $labels.worker }} reported Xid {{ $value }}",
          "The driver reported critical error {{ $value }} (Xid) of GPU {{ $labels.gpu }} of"
          " {{ $labels.worker }} since the worker was started.",
          _ONE_WORKER),
)

_RECORDED = {
    "wavefield-jobs": (
        ("training_job:wavefield_tokens:rate",
         "sum by (training_job) (rate(wavefield_training_tokens_total[<tokens>]))"),
        ("training_job:wavefield_goodput:ratio",
         'sum by (training_job) (rate(wavefield_goodput_slot_seconds_total{bucket="useful_steps"}[<goodput>]))'
         " / (sum by (training_job) (rate(wavefield_goodput_slot_seconds_total[<goodput>])) > 0)"),
        ("training_job:wavefield_time_left:seconds",
         "(wavefield_training_max_steps - wavefield_training_step)"
         " / (deriv(wavefield_training_step[<pace>]) > 0)"),
    ),
    "wavefield-fleet": (
        ("fleet:wavefield_tokens:rate", "sum(rate(wavefield_training_tokens_total[<tokens>]))"),
        ("fleet:wavefield_goodput:ratio",
         'sum(rate(wavefield_goodput_slot_seconds_total{bucket="useful_steps"}[<goodput>]))'
         " / (sum(rate(wavefield_goodput_slot_seconds_total[<goodput>])) > 0)"),
        ("fleet:wavefield_slots:used_ratio",
         'sum(wavefield_worker_slots{state="used"}) / (sum(wavefield_worker_slots) > 0)'),
    ),
}


def _fill(text, values):
    for name, value in vars(values).items():
        text = text.replace(f"<{name}>", str(value))
        if isinstance(value, thresholds.Duration):
            text = text.replace(f"<{name}.seconds>", str(value.seconds))
    return text


def alerts(time_scale=1.0):
    """Every alert with its thresholds filled in."""
    values = thresholds.load(time_scale)
    return [dataclasses.replace(alert, expr=_fill(alert.expr, values[alert.name]),
                                description=_fill(alert.description, values[alert.name]),
                                for_=values[alert.name].for_)
            for alert in _ALERTS]


def recorded_names():
    return [name for rules in _RECORDED.values() for name, _ in rules]


def recording_groups(time_scale=1.0):
    values = thresholds.load(time_scale)["recorded"]
    return [{"name": group, "rules": [{"record": name, "expr": _fill(expr, values)} for name, expr in rules]}
            for group, rules in _RECORDED.items()]


def alert_groups(time_scale=1.0):
    return [{"name": "wavefield-alerts", "rules": [alert.rule() for alert in alerts(time_scale)]}]
