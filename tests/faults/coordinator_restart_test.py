"""Training outlives the coordinator, and nothing survives its owner."""

import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "integration"))
from cluster import ClusterTest, processes_mentioning, trainer_pids, wait_for  # noqa: E402


class CoordinatorRestart(ClusterTest):

    def test_a_killed_coordinator_finds_the_job_running_and_its_history_whole(self):
        self.prepare("words", 400)
        self.submit("long", dataset="words", resources__world_size=2, training__max_steps=250,
                    training__sequence_length=256, training__batch_size=32)
        wait_for("step 5", lambda: self.last_step("long") >= 5)
        before = trainer_pids("long")
        self.coordinator.kill(signal.SIGKILL)
        type(self).start_coordinator(self.address)
        wait_for("a step after the restart", lambda: self.last_step("long") >= 12)
        self.assertEqual(trainer_pids("long"), before)

        ended = self.wait_for_end("long")
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual(int(ended["restarts"]), 0)
        self.assertEqual(int(ended["attempt"]), 1)
        steps = [int(s["step"]) for s in self.cli_json("metrics", "long")["steps"]]
        self.assertEqual(steps, list(range(1, 251)))

    def test_killing_the_worker_leaves_no_trainer(self):
        self.prepare("more", 400)
        self.submit("orphan", dataset="more", resources__world_size=2, training__max_steps=100000,
                    training__sequence_length=256, training__batch_size=32)
        wait_for("step 2", lambda: self.last_step("orphan") >= 2)
        self.worker.kill(signal.SIGKILL)
        wait_for("the trainers' end", lambda: not processes_mentioning(self.directory / "worker/tasks"), 10)
        type(self).start_worker()
        wait_for("a second attempt", lambda: int(self.job("orphan")["attempt"]) == 2 and
                 self.last_step("orphan") >= 1)
        self.run_cli("cancel", "orphan", "--wait")
        self.assertIn("CANCELLED", self.job("orphan")["state"])
        self.assertEqual(trainer_pids("orphan"), {})

    def test_a_worker_that_is_shut_down_saves_first_and_costs_no_restart(self):
        self.prepare("calm", 400)
        self.submit("drained", dataset="calm", resources__world_size=2, training__max_steps=250,
                    training__sequence_length=256, training__batch_size=32)
        wait_for("step 5", lambda: self.last_step("drained") >= 5)
        self.worker.kill(signal.SIGTERM)
        waiting = self.job("drained")
        self.assertIn("QUEUED", waiting["state"], self.logs())
        saved = int(waiting["last_step"]["step"])
        newest = self.cli_json("checkpoints", "list", "drained")["checkpoints"][0]
        self.assertEqual(int(newest["step"]), saved)
        type(self).start_worker()
        ended = self.wait_for_end("drained")
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual(int(ended["restarts"]), 0)
        steps = [int(s["step"]) for s in self.cli_json("metrics", "drained")["steps"]]
        self.assertEqual(steps, list(range(1, 251)))  # no step was done twice


if __name__ == "__main__":
    unittest.main(verbosity=2)
