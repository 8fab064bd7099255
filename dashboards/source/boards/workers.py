"""Hosts and their GPUs."""

from panels import WORKER, Dashboard, Query, graph, number, red_above, red_below, table, timeline
from thresholds import THRESHOLDS

_DISK = THRESHOLDS["DiskNearlyFull"].free_ratio


def _hosts(title, unit, expr, description, **options):
    return graph(title, unit, expr, "{{worker}}", description=description, **options)


def _gpus(title, unit, metric, description, **options):
    return graph(title, unit, f"wavefield_gpu_{metric}{{{WORKER}}}", "{{worker}} GPU {{gpu}}",
                 description=description, needs="gpu", **options)


NOW = (
    number("Up", "none", f"sum(wavefield_worker_up{{{WORKER}}})", width=6,
           description="Workers whose lease holds."),
    number("Lost", "none", f"count(wavefield_worker_up{{{WORKER}}} == 0) or vector(0)", width=6,
           thresholds=red_above(1, 2), description="Workers whose lease ran out without an orderly end."),
    number("Slots held now", "none", f"sum(wavefield_worker_used_slots{{{WORKER}}})", width=6,
           description="By ranks of jobs."),
    number("Events in spools", "none", f"sum(wavefield_worker_spool_depth{{{WORKER}}})", width=6,
           thresholds=red_above(100, THRESHOLDS["SpoolGrowing"].depth),
           description="That wait on workers' disks for the coordinator."),
)

HOSTS = (
    timeline("Lease", f"wavefield_worker_up{{{WORKER}}}", "{{worker}}",
             thresholds=((float("-inf"), "red"), (1, "green")), description="Green while it holds."),
    _hosts("Slots held", "none", f"wavefield_worker_used_slots{{{WORKER}}}", "By ranks of jobs.", stack=True),
    _hosts("Age of the heartbeat", "s", f"wavefield_worker_heartbeat_age_seconds{{{WORKER}}}",
           "A worker beats every 2 s, and is lost after 10 s unless the coordinator was told otherwise."),
    _hosts("Clock difference", "s", f"wavefield_worker_clock_difference_seconds{{{WORKER}}}",
           "Its clock minus the coordinator's. Shown, and used for nothing."),
    _hosts("CPU", "percentunit", f"wavefield_worker_cpu_utilization_ratio{{{WORKER}}}",
           "Of all CPUs of the host.", maximum=1),
    _hosts("Memory", "percentunit",
           f"wavefield_worker_memory_used_bytes{{{WORKER}}} / wavefield_worker_memory_bytes{{{WORKER}}}",
           "Of the host, without what the kernel can give back at once.", maximum=1),
    _hosts("Free disk", "percentunit",
           f"wavefield_worker_disk_free_bytes{{{WORKER}}} / wavefield_worker_disk_size_bytes{{{WORKER}}}",
           "Of the file system of the worker's data directory.", maximum=1,
           thresholds=red_below(_DISK, 2 * _DISK)),
    _hosts("Spool, events", "none", f"wavefield_worker_spool_depth{{{WORKER}}}",
           "Events that wait for the coordinator."),
    _hosts("Spool, bytes", "bytes", f"wavefield_worker_spool_bytes{{{WORKER}}}",
           "Of the spool's files; up to 4 MiB stay when nothing waits."),
    graph("Leases that ran out", "none", "increase(wavefield_workers_lost_total[$__rate_interval])", "lost",
          description="Without an orderly end. Of all workers, in each interval."),
)

GPUS = (
    table("GPUs", "gpu", [
        Query(f"max by (worker, gpu, model) (wavefield_gpu_info{{{WORKER}}})"),
        Query(f"max by (worker, gpu) (wavefield_gpu_available{{{WORKER}}})", "available"),
        Query(f"max by (worker, gpu) (wavefield_gpu_memory_bytes{{{WORKER}}})", "memory", unit="bytes"),
        Query(f"max by (worker, gpu) (wavefield_gpu_uncorrected_ecc_errors{{{WORKER}}})", "ECC errors"),
        Query(f"max by (worker, gpu) (wavefield_gpu_last_xid{{{WORKER}}})", "last Xid")],
        needs="gpu", height=7, description="Available: ranks can be given to it. Xid 0: no critical error."),
    _gpus("Utilization", "percentunit", "utilization_ratio", "Share of time in which a kernel ran.", maximum=1),
    graph("GPU memory", "percentunit",
          f"wavefield_gpu_memory_used_bytes{{{WORKER}}} / wavefield_gpu_memory_bytes{{{WORKER}}}",
          "{{worker}} GPU {{gpu}}", maximum=1, needs="gpu", description="In use, by all processes."),
    _gpus("Power", "watt", "power_watts", "That the board draws."),
    _gpus("Temperature", "celsius", "temperature_celsius", "Of the chip."),
    _gpus("Throttled", "none", "throttled",
          "1 while the driver slows the clock down for heat or the power supply's brake.", maximum=1),
    _gpus("Uncorrected ECC errors", "none", "uncorrected_ecc_errors",
          "Memory errors since the driver was loaded."),
)

BOARD = Dashboard("wavefield-workers", "Wavefield / Workers and GPUs", __doc__, workers=True,
                  rows=(("Now", NOW), ("Hosts", HOSTS), ("GPUs", GPUS)))
