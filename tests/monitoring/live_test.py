"""The dashboards and alerts on a real Prometheus and Alertmanager, started by deploy/monitor.sh, beside a real
cluster that trains, loses a worker, and then its coordinator. Times of rules and configuration are a sixtieth."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "integration"))
from alert_receiver import AlertReceiver  # noqa: E402
from cluster import BIN, ClusterTest, Daemon, trainer_pids, wait_for  # noqa: E402
from dashboard_queries import Dashboard  # noqa: E402
from ports import fixed_ports  # noqa: E402
from prometheus_api import Prometheus, get_text, write_configuration  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCALE = 60
GPU_METRIC = "wavefield_gpu_"


class Monitoring(ClusterTest):

    @classmethod
    def setUpClass(cls):
        api, http, *cls.monitor_ports = map(str, fixed_ports(4))
        cls.address, cls.http = f"127.0.0.1:{api}", f"127.0.0.1:{http}"
        cls.coordinator_flags = ("--lease-seconds", 5, "--heartbeat-seconds", 0.5)
        super().setUpClass()
        cls._start_monitoring()
        cls.start_second_worker()
        cls.addClassCleanup(cls._stop_second_worker)

    @classmethod
    def start_coordinator(cls, _=None):
        cls.coordinator = Daemon(
            cls.directory / "coordinator.log", "wavefield-coordinator", "--data-dir", cls.directory / "coordinator",
            "--storage-root", cls.directory / "storage", "--listen", cls.address, "--http-listen", cls.http,
            *cls.coordinator_flags)

    slots = 1  # so that two ranks need both workers

    @classmethod
    def start_second_worker(cls):
        """A worker on a host whose NVIDIA driver is a stand-in."""
        cls.set_gpus(hot=False, xid=0)
        before = dict(os.environ)
        os.environ["WAVEFIELD_EMULATED_NVML"] = str(cls.directory / "nvml.json")
        os.environ["LD_LIBRARY_PATH"] = str(BIN.parent / "lib/emulated-driver")
        try:
            cls.second = Daemon(
                cls.directory / "worker2.log", "wavefield-worker", "--coordinator", cls.address, "--data-dir",
                cls.directory / "worker2", "--storage-root", cls.directory / "storage", "--slots", 1, "--name", "w2")
        finally:
            os.environ.clear()
            os.environ.update(before)

    @classmethod
    def set_gpus(cls, hot, xid):
        gpu = {"name": "Stand-in", "capability": 90, "memory": 16 << 30, "used": 3 << 30, "utilization": 70,
               "temperature": 95 if hot else 60, "power": 250000, "ecc": 0, "xid": xid,
               "throttle_reasons": 0x40 if hot else 0}
        new = cls.directory / "nvml.json.new"
        new.write_text(json.dumps({"driver": "580.65.06", "cuda": 13020,
                                   "gpus": [dict(gpu, uuid=f"GPU-{name}") for name in "ab"]}))
        new.rename(cls.directory / "nvml.json")

    @classmethod
    def _start_monitoring(cls):
        cls.receiver = AlertReceiver()
        cls.addClassCleanup(cls.receiver.stop)
        write_configuration(ROOT / "deploy/prometheus", cls.directory / "config", SCALE, cls.receiver.url)
        subprocess.run([sys.executable, "-B", ROOT / "dashboards/source/generate.py", "--time-scale", str(1 / SCALE),
                        "--output", cls.directory / "scaled"], check=True)
        cls.monitor_log = open(cls.directory / "monitor.log", "w")
        cls.monitor = subprocess.Popen(
            ["bash", ROOT / "deploy/monitor.sh", "--coordinator", cls.http, "--data-dir", cls.directory / "monitoring",
             "--prometheus-port", cls.monitor_ports[0], "--alertmanager-port", cls.monitor_ports[1],
             "--config", cls.directory / "config", "--rules", cls.directory / "scaled/prometheus"],
            stdout=subprocess.PIPE, stderr=cls.monitor_log, text=True)
        cls.addClassCleanup(cls._stop_monitoring)
        line = cls.monitor.stdout.readline()
        if not line.startswith("ready "):
            raise AssertionError(f"monitor.sh did not start:\n{cls.logs()}")
        cls.prometheus = Prometheus(line.split()[1])
        cls.start = time.time()

    @classmethod
    def _stop_monitoring(cls):
        cls.monitor.send_signal(signal.SIGINT)
        code = cls.monitor.wait(timeout=30)
        cls.monitor.stdout.close()
        cls.monitor_log.close()
        if code != 130:
            raise AssertionError(f"monitor.sh ended with {code}, not as after Ctrl-C")

    @classmethod
    def _stop_second_worker(cls):
        if cls.second.process.poll() is None:
            cls.second.kill(signal.SIGTERM)

    def wait_until_delivered(self, kind, *alerts, seconds=60):
        told = getattr(self.receiver, kind)
        try:
            wait_for(f"{kind}: {', '.join(alerts)}", lambda: set(alerts) <= set(told), seconds)
        except AssertionError as error:
            states = {rule["name"]: rule["state"] for rule in self.prometheus.rules("alerting")}
            raise AssertionError(f"{error}; Prometheus: {states}; the receiver knows {sorted(told)}") from None

    def train(self, name, ranks, steps):
        self.submit(name, dataset="words", resources__world_size=ranks, training__max_steps=steps,
                    training__sequence_length=256, training__batch_size=16, training__micro_batch_size=4,
                    training__ema_decay=0.9, evaluation__every_steps=20, evaluation__max_tokens=512,
                    checkpoint__every_steps=20)

    def has_begun(self, name, attempt):
        job = self.job(name)
        return "RUNNING" in job["state"] and int(job["attempt"]) >= attempt

    def stage(self, text):
        print(f"{time.time() - self.start:5.0f} s  {text}", flush=True)

    def test_what_is_drawn_has_data_and_what_breaks_is_told(self):
        self.stage("trains a job on one rank")
        self.prepare("words", 200)
        self.train("alone", 1, 60)
        self.assertIn("SUCCEEDED", self.wait_for_end("alone")["state"])
        self.assertNotEqual(self.run_cli("job", "nobody", check=False).returncode, 0)  # an RPC that fails

        self.stage("trains a job on both workers")
        self.train("pair", 2, 1_000_000)
        wait_for("step 25 of pair", lambda: self.last_step("pair") >= 25)
        wait_for("a scrape of it", lambda: (self.prometheus.now(
            'wavefield_training_step{training_job="pair"}') or 0) >= 25)
        self.check_scrape()

        self.stage("the driver tells of an error and of heat; then the worker dies, and its rank with it")
        self.set_gpus(hot=True, xid=79)
        self.wait_until_delivered("firing", "GpuXid", "GpuThrottled")
        trainers = trainer_pids("pair")
        self.second.kill(signal.SIGKILL)
        self.wait_until_delivered("firing", "WorkerLost")
        self.assertEqual({alert["labels"]["worker"] for alert in self.receiver.firing["WorkerLost"]}, {"w2"})
        wait_for("the end of the trainers", lambda: not any(
            pathlib.Path(f"/proc/{pid}").exists() for pid in trainers.values()))

        self.stage("the worker is back")
        self.start_second_worker()
        self.wait_until_delivered("resolved", "WorkerLost", "GpuXid", "GpuThrottled", seconds=90)
        wait_for("the second attempt", lambda: self.has_begun("pair", 2))
        step = self.last_step("pair")
        wait_for("new steps", lambda: self.last_step("pair") >= step + 25)

        self.stage("the coordinator dies and is back")
        self.coordinator.kill()
        self.wait_until_delivered("firing", "CoordinatorDown")
        self.start_coordinator()
        self.wait_until_delivered("resolved", "CoordinatorDown")
        step = self.last_step("pair")
        wait_for("new steps", lambda: self.last_step("pair") >= step + 25)
        self.check_scrape()

        self.stage("asks Prometheus what the dashboards ask")
        self.end = time.time()
        self.check_that_nothing_is_told_from_something()
        table = [*self.check_dashboards(), *self.check_rules()]
        print("\n".join(table), flush=True)
        (BIN.parent / "monitoring-table.txt").write_text("\n".join(table) + "\n")

    def check_scrape(self):
        promtool = shutil.which("promtool") or ROOT / "build/prometheus/usr/bin/promtool"
        checked = subprocess.run([promtool, "check", "metrics"], input=get_text(f"http://{self.http}/metrics"),
                                 text=True, capture_output=True)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))

    def samples(self, expr):
        return self.prometheus.finite_samples(expr, self.start, self.end)

    def check_that_nothing_is_told_from_something(self):
        self.assertGreater(self.samples("wavefield_training_loss"), 0)
        self.assertEqual(self.samples("wavefield_training_lost"), 0)
        self.assertEqual(self.samples("0 * wavefield_training_loss / 0"), 0)  # not numbers

    def check_dashboards(self):
        """Every query of every panel has data; the rows of the table that tell of it."""
        files = sorted((ROOT / "dashboards/grafana").glob("*.json"))
        self.assertEqual(len(files), 7)
        rows, empty, stand_in = [f"{'dashboard':28} panels  with data  queries"], [], []
        totals = [0, 0, 0]
        for path in files:
            dashboard = Dashboard(path, self.prometheus, self.start, self.end, {"training_job": "pair"})
            queries = list(dashboard.queries())
            without = [query for query in queries if self.samples(query.expr) == 0]
            empty += without + [query for query in dashboard.annotations() if self.samples(query.expr) == 0]
            stand_in += {f"{dashboard.title} / {query.panel}": None for query in queries if GPU_METRIC in query.expr}
            panels = {query.panel_id for query in queries}
            counts = [len(panels), len(panels - {query.panel_id for query in without}), len(queries)]
            totals = [a + b for a, b in zip(totals, counts)]
            rows.append("{:28} {:6} {:10} {:8}".format(dashboard.title, *counts))
        rows.append("{:28} {:6} {:10} {:8}".format("all", *totals))
        rows.append(f"fed by the stand-in driver: {', '.join(stand_in)}")
        self.assertEqual([], empty, "\n".join(["without data:", *(
            f"  {query.dashboard} / {query.panel}: {query.expr}" for query in empty)]))
        return rows

    def check_rules(self):
        """Every rule can be evaluated and reads series that exist; what did not fire here, promtool has tested."""
        for rule in self.prometheus.rules("recording"):
            self.assertEqual(rule["health"], "ok", rule)
            self.assertGreater(self.samples(rule["name"]), 0, rule["name"])
        names = set(self.prometheus.label_values("__name__", ['{__name__=~".+"}'], self.start, self.end))
        alerts = self.prometheus.rules("alerting")
        for alert in alerts:
            self.assertEqual(alert["health"], "ok", alert)
            self.samples(alert["query"])  # raises where it is refused
            unknown = set(re.findall(r"(?<![\w:])(?:\w+:)?(?:wavefield|process)_[\w:]+", alert["query"])) - names
            self.assertEqual(set(), unknown, f"{alert['name']} reads series that nobody exports: {alert['query']}")
        all_alerts = {alert["name"] for alert in alerts}
        fired = {name for name in all_alerts
                 if self.samples(f'ALERTS{{alertname="{name}",alertstate="firing"}}')}
        for told in (alert for alerts in self.receiver.firing.values() for alert in alerts):
            self.assertNotIn("error expanding", json.dumps(told))
            self.assertTrue((ROOT / told["annotations"]["runbook"]).is_file(), told)
        rules_test = yaml.safe_load(pathlib.Path(__file__).with_name("rules_test.yml").read_text())
        tested = {check["alertname"] for test in rules_test["tests"] for check in test.get("alert_rule_test", [])
                  if check["exp_alerts"]}
        self.assertEqual(set(), all_alerts - fired - tested, "neither fired here nor tested by promtool")
        return ["", f"{'alert':22} fired  delivered  resolved",
                *(f"{name:22} {self.mark(name in fired):5}  {self.mark(name in self.receiver.firing):9}  "
                  f"{self.mark(name in self.receiver.resolved)}" for name in sorted(fired)),
                f"by promtool test rules alone: {', '.join(sorted(all_alerts - fired)) or 'none'}"]

    @staticmethod
    def mark(value):
        return "yes" if value else "no"


if __name__ == "__main__":
    unittest.main(verbosity=2)
