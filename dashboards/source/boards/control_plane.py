"""The coordinator itself: calls, store, scheduler, process."""

from panels import Dashboard, Query, graph, number, red_above, timeline

_UNARY = '{method!~".*Watch.*"}'


def _quantiles(metric, *, by="", selector="", legend=""):
    labels = f"le, {by}" if by else "le"
    return [Query(f"histogram_quantile({quantile}, sum by ({labels})"
                  f" (rate({metric}_bucket{selector}[$__rate_interval])))", f"{legend}p{quantile * 100:.0f}")
            for quantile in (0.5, 0.99)]


NOW = (
    number("Up", "none", 'max(up{job="wavefield"})', thresholds=((float("-inf"), "red"), (1, "green")),
           description="1 while Prometheus can scrape the coordinator."),
    number("Version", "none", "max by (version) (wavefield_build_info)", "{{version}}", show_name=True,
           description="Of the coordinator."),
    number("Running for", "dtdurations", 'time() - process_start_time_seconds{job="wavefield"}',
           description="Since the coordinator's process was started."),
    number("Open watches", "none", "wavefield_watches", description="Of jobs and assignments."),
    number("Series now", "short", "wavefield_metrics_series", description="Of jobs, workers and layers."),
    number("Values left out", "none", "wavefield_metrics_series_dropped_total", thresholds=red_above(1, 1000),
           description="Because there were as many series as `--metrics-max-series` allows."),
)

CALLS = (
    graph("Calls by method", "reqps",
          "sum by (method) (rate(wavefield_rpc_duration_seconds_count[$__rate_interval]))", "{{method}}",
          stack=True, width=12, description="RPCs that ended, per second."),
    graph("Calls that failed", "reqps",
          'sum by (method, code) (rate(wavefield_rpc_duration_seconds_count{code!="OK"}[$__rate_interval]))'
          " or on () (0 * sum(rate(wavefield_rpc_duration_seconds_count[$__rate_interval])))",
          "{{method}} {{code}}", width=12,
          description="By method and code. A watch that its client leaves is CANCELLED."),
    graph("Latency of calls", "s", _quantiles("wavefield_rpc_duration_seconds", selector=_UNARY),
          description="Without watches, whose duration is their whole life."),
    graph("Latency by method", "s",
          "histogram_quantile(0.99, sum by (le, method) "
          f"(rate(wavefield_rpc_duration_seconds_bucket{_UNARY}[$__rate_interval])))", "{{method}}",
          description="99th percentile."),
    graph("Calls without a valid token", "reqps",
          "rate(wavefield_rpc_unauthenticated_total[$__rate_interval])", "refused",
          description="Someone with an old token, or no business here."),
)

INSIDE = (
    graph("Commits of the store", "s", _quantiles("wavefield_store_commit_duration_seconds"),
          description="The disk included. Every acknowledged call waits for one."),
    graph("Commits per second", "ops",
          "rate(wavefield_store_commit_duration_seconds_count[$__rate_interval])", "commits",
          description="One commit takes everything that waits."),
    graph("Scheduler's pass", "s", _quantiles("wavefield_scheduler_pass_duration_seconds"),
          description="One pass over the queue."),
    graph("CPU", "percentunit", 'rate(process_cpu_seconds_total{job="wavefield"}[$__rate_interval])',
          "of one CPU", description="Time of the coordinator's process."),
    graph("Memory", "bytes", 'process_resident_memory_bytes{job="wavefield"}', "resident",
          description="Of the coordinator's process."),
    graph("Open files", "none", 'process_open_fds{job="wavefield"}', "file descriptors",
          description="Of the coordinator's process: connections, files."),
    graph("Duration of a scrape", "s", 'scrape_duration_seconds{job="wavefield"}', "scrape",
          description="As Prometheus measures it."),
    graph("Samples of a scrape", "short", 'scrape_samples_scraped{job="wavefield"}', "samples",
          description="How many values the coordinator serves."),
    graph("Series", "short", "wavefield_metrics_series", "shown",
          description="Of jobs, workers and layers; the rest is a fixed number."),
    timeline("Reachable", 'up{job="wavefield"}', "coordinator", height=4,
             thresholds=((float("-inf"), "red"), (1, "green")), description="Green while it answers Prometheus."),
)

BOARD = Dashboard("wavefield-control-plane", "Wavefield / Control plane", __doc__,
                  rows=(("Now", NOW), ("Calls", CALLS), ("Inside", INSIDE)))
