"""What one does with jobs, from submit to delete, through the command line and against the real programs."""

import os
import signal
import unittest

from cluster import ClusterTest, trainer_pids, wait_for

SHORT = {"dataset": "words", "training__sequence_length": 32, "training__batch_size": 4}


class JobVerbs(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 60)

    @classmethod
    def submit_job(cls, name, *flags, steps=3, **settings):
        return cls.submit(name, *flags, training__max_steps=steps, **{**SHORT, **settings})

    @classmethod
    def submit_long(cls, name, ranks=1, *flags):
        cls.submit_job(name, *flags, steps=1000000, resources__world_size=ranks, restart__max_restarts=0,
                       training__schedule__kind="constant")
        cls.wait_for_steps(name, 5)

    @classmethod
    def wait_for_state(cls, name, state):
        wait_for(f"{name} to be {state}", lambda: cls.job(name)["state"] == f"JOB_STATE_{state}")

    @classmethod
    def wait_for_steps(cls, name, steps):
        wait_for(f"step {steps} of {name}", lambda: cls.last_step(name) >= steps)

    def explain(self, name):
        return self.cli_json("explain", name)

    def test_a_day_with_jobs(self):
        # A job over all slots; one that waits for slots, two that wait for the first one's end.
        self.submit_long("long", 2, "--set", "labels.team=tide")
        self.submit_job("waiting")
        self.submit_job("later", "--after", "long:end", training__schedule__kind="constant")
        self.submit_job("never", "--after", "long")
        held = self.explain("waiting")
        self.assertEqual(held["blockers"][0]["kind"], "SLOTS_HELD", held)
        self.assertIn("jobs/long", held["blockers"][0]["resources"])
        self.assertIn("long", self.run_cli("explain", "waiting").stdout)
        self.assertEqual(self.explain("later")["blockers"][0]["kind"], "DEPENDENCY")
        self.assertIn("waiting", self.run_cli("queue", "--output", "names").stdout.split())

        # A pause makes room; what was changed meanwhile is there afterwards; no step is missing or done twice.
        self.run_cli("pause", "long")
        self.wait_for_state("long", "PAUSED")
        self.assertIn("SUCCEEDED", self.wait_for_end("waiting")["state"])
        self.assertEqual(self.explain("long")["blockers"][0]["kind"], "PAUSED")
        paused_at = self.last_step("long")
        self.run_cli("update", "long", "--label", "team-", "--label", "tide=high", "--priority", "7")
        self.assertEqual(self.job("long")["spec"]["labels"], {"tide": "high"})
        self.run_cli("resume", "long")
        self.wait_for_steps("long", paused_at + 5)
        steps = [int(step["step"]) for step in self.cli_json("metrics", "long")["steps"]]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))

        # Cancelled by what it is like, after a look.
        shown = self.run_cli("cancel", "--filter", "labels.tide=high AND priority>6", "--dry-run").stdout
        self.assertIn("long", shown)
        self.assertEqual(self.run_cli("cancel", "--filter", "labels.tide=high", check=False).returncode, 2)
        self.run_cli("cancel", "--filter", "labels.tide=high", "--yes", "--wait")
        self.assertIn("CANCELLED", self.job("long")["state"])
        self.assertIn("SUCCEEDED", self.wait_for_end("later")["state"])
        self.assertIn("FAILED", self.wait_for_end("never")["state"])
        self.assertEqual(self.explain("never")["root_cause"]["kind"], "DEPENDENCY_FAILED")

        # An array from a grid, from the weights of another job.
        self.submit("sweep", "--init-from", "long", "--grid", "training.max_steps=2,3", **SHORT)
        self.assertEqual(self.run_cli("jobs", "--filter", "labels.array=sweep", "--order-by", "name",
                                      "--output", "names").stdout.split(), ["sweep-0", "sweep-1"])
        for name, steps in (("sweep-0", 2), ("sweep-1", 3)):
            job = self.wait_for_end(name)
            self.assertIn("SUCCEEDED", job["state"])
            self.assertEqual(int(job["last_step"]["step"]), steps)
            self.assertTrue(job["spec"]["init_from"].startswith("jobs/long/checkpoints/"), job["spec"])

        # One that has used its budget up goes on once it is given a larger one.
        self.assertEqual(self.run_cli("resume", "later", check=False).returncode, 1)
        self.run_cli("update", "later", "--max-steps", "6")
        self.run_cli("resume", "later")
        self.wait_for_steps("later", 6)
        self.assertIn("SUCCEEDED", self.wait_for_end("later")["state"])

        # Nothing goes without a yes; then it is gone for good.
        self.assertEqual(self.run_cli("delete", "waiting", check=False).returncode, 2)
        self.assertIn("waiting", self.run_cli("delete", "waiting", "--dry-run").stdout)
        self.run_cli("delete", "waiting", "--yes")
        self.assertEqual(self.run_cli("job", "waiting", check=False).returncode, 3)

    def test_a_killed_rank_is_explained(self):
        self.submit_long("victim")
        pid = wait_for("its process", lambda: trainer_pids("victim")).popitem()[1]
        os.kill(pid, signal.SIGKILL)
        self.assertIn("FAILED", self.wait_for_end("victim")["state"])
        cause = self.explain("victim")["root_cause"]
        self.assertEqual((cause["kind"], cause["signal"], cause["worker"]), ("KILLED", 9, "workers/w1"), cause)
        page = self.run_cli("explain", "victim").stdout
        for expected in ("signal 9 (SIGKILL)", "rank 0 on w1", "what to do"):
            self.assertIn(expected, page)

    def test_a_drained_worker_gets_nothing_until_it_is_back(self):
        self.submit_long("moved")
        self.run_cli("workers", "drain", "w1", "--note", "new disk", "--wait")
        self.wait_for_state("moved", "QUEUED")
        self.assertIn("draining: new disk", self.run_cli("workers").stdout)
        self.assertEqual(self.explain("moved")["blockers"][0]["kind"], "WORKER_CORDONED")
        steps = self.last_step("moved")
        self.run_cli("workers", "uncordon", "w1")
        self.wait_for_steps("moved", steps + 3)
        self.assertEqual(self.job("moved")["restarts"], 0)
        self.run_cli("cancel", "moved", "--wait")


if __name__ == "__main__":
    unittest.main()
