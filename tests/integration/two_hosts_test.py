"""A cluster of several hosts with one storage root: a job over both, and hosts that cannot take part."""

import json
import signal
import subprocess
import unittest

import client_environment
import hosts

if __name__ == "__main__":
    client_environment.run_inside(__file__)  # first: it may have to install
    hosts.enter_network(__file__)

import wavefield
from cluster import BIN, ClusterTest, Daemon, wait_for


class TwoHosts(ClusterTest):

    coordinator_flags = ("--insecure",)

    @classmethod
    def setUpClass(cls):
        cls.gateway, cls.hosts = hosts.make_network(3)
        for host in cls.hosts:
            cls.addClassCleanup(host.close)
        cls.workers = []
        super().setUpClass()
        cls.prepare("words", 100)

    @classmethod
    def start_coordinator(cls, listen):
        super().start_coordinator(f"{cls.gateway}:0")

    @classmethod
    def start_worker(cls):
        cls.worker = cls.start_worker_on(0, "w1", "--slots", 2)
        cls.addClassCleanup(cls.end, cls.start_worker_on(1, "w2", "--slots", 1,
                                                         "--advertise-address", cls.hosts[1].address))

    @classmethod
    def start_worker_on(cls, host, name, *flags):
        return Daemon(cls.directory / f"{name}.log", "wavefield-worker", "--coordinator", cls.address, "--name", name,
                      "--data-dir", cls.directory / name, "--storage-root", cls.directory / "storage",
                      *flags, prefix=cls.hosts[host].prefix)

    @staticmethod
    def end(worker):
        if worker.process.poll() is None:
            worker.kill(signal.SIGTERM)

    def worker_names(self, job):
        return sorted({placement["worker"] for placement in self.job(job)["placements"]})

    def test_a_job_runs_over_both_hosts_and_its_checkpoint_comes_through_the_coordinator(self):
        self.submit("wide", dataset="words", training__max_steps=60, training__sequence_length=32,
                    training__batch_size=6, resources__world_size=3, checkpoint__every_steps=20)
        wait_for("ranks on both hosts", lambda: self.worker_names("wide") == ["workers/w1", "workers/w2"])
        self.assertRegex(self.wait_for_end("wide")["state"], "SUCCEEDED", self.logs())
        target = self.directory / "downloaded"
        self.run_cli("checkpoints", "download", "wide", "--output", target)
        manifest = json.loads((target / "manifest.json").read_text())
        self.assertEqual(manifest["world_size"], 3)
        self.assertEqual(manifest["step"], 60)
        shards = [file["name"] for file in manifest["files"] if file["name"].startswith("model-")]
        self.assertEqual(len([name for name in shards if name.endswith(".safetensors")]), 3)
        local = self.cli_json("evaluate", target, "--dataset", self.directory / "storage/datasets/words")
        self.assertAlmostEqual(local["loss"], self.cli_json("evaluate", "wide")["loss"], places=5)

    def test_the_python_client_sees_the_same_cluster(self):
        with wavefield.Client(self.address) as client:
            client.submit({"model": {"preset": "wave-field-test"}, "dataset": "words",
                           "training": {"max_steps": 60, "sequence_length": 32, "batch_size": 6},
                           "resources": {"world_size": 3}}, name="wide-python")
            wait_for("ranks on both hosts", lambda: {"workers/w1", "workers/w2"} == {
                placement.worker for placement in client.get("wide-python").placements})
            self.assertEqual(wavefield.state_of(client.wait("wide-python")), "SUCCEEDED", self.logs())
            target = self.directory / "downloaded-python"
            checkpoint = client.download("wide-python", target)
            self.assertEqual(checkpoint.step, 60)
            local = self.cli_json("evaluate", target, "--dataset", self.directory / "storage/datasets/words")
            self.assertAlmostEqual(local["loss"], client.evaluate("wide-python").loss, places=5)
            second, = (worker for worker in client.workers() if worker.name == "workers/w2")
            self.assertEqual(second.address, self.hosts[1].address)
            wait_for("a clock", lambda: next(worker for worker in client.workers()
                                             if worker.name == "workers/w2").HasField("clock_difference"))

    def test_workers_are_shown_with_their_addresses_and_clocks(self):
        workers = {worker["name"]: worker for worker in self.cli_json("workers")["workers"]}
        self.assertEqual(workers["workers/w2"]["address"], self.hosts[1].address)
        shown = wait_for("a clock", lambda: next(
            (worker.get("clock_difference") for worker in self.cli_json("workers")["workers"]
             if worker["name"] == "workers/w2"), None))
        self.assertLess(abs(float(shown.rstrip("s"))), 60)
        table = self.run_cli("workers").stdout
        self.assertIn(self.hosts[1].address, table)

    def test_a_worker_that_does_not_see_the_storage_gets_no_work_and_says_why(self):
        elsewhere = self.directory / "elsewhere"
        elsewhere.mkdir()
        log = self.directory / "w3.log"
        with open(log, "wb") as stream:
            worker = subprocess.Popen(
                [*self.hosts[2].prefix, BIN / "wavefield-worker", "--coordinator", self.address, "--name", "w3",
                 "--data-dir", self.directory / "w3", "--storage-root", elsewhere, "--slots", "1"],
                stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True)
        self.addCleanup(worker.wait)
        self.addCleanup(worker.terminate)
        wait_for("the reason", lambda: "--storage-root must be the coordinator's storage" in log.read_text())
        (elsewhere / "probe").write_text("of another cluster\n")
        wait_for("the other reason", lambda: "does not see the cluster's storage root" in log.read_text())
        self.assertNotIn("workers/w3", self.known_workers())
        # Mounted at last.
        (elsewhere / "probe").write_bytes((self.directory / "storage/probe").read_bytes())
        wait_for("the worker", lambda: "workers/w3" in self.known_workers())

    def known_workers(self):
        return [worker["name"] for worker in self.cli_json("workers")["workers"]]

    def test_an_address_that_the_host_does_not_have_is_named(self):
        worker = self.start_worker_on(2, "w4", "--slots", 4, "--advertise-address", "198.51.100.7")
        self.addCleanup(self.end, worker)
        self.submit("nowhere", dataset="words", training__max_steps=5, training__sequence_length=32,
                    resources__world_size=4, restart__max_restarts=0)
        job = self.wait_for_end("nowhere", 60)
        self.assertRegex(job["state"], "FAILED")
        self.assertIn("198.51.100.7", job["state_message"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
