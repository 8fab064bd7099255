"""A run that was paused and resumed equals one that was not, byte for byte; nothing of it is done twice."""

import json
import unittest

from exact_runs import ExactRuns

from cluster import trainer_pids, wait_for

STEPS = 120
SETTINGS = {"checkpoint__every_steps": 1000, "evaluation__every_steps": 30}


class Pause(ExactRuns):

    def pause(self, name):
        self.run_cli("pause", name)
        return wait_for(f"{name} to pause", lambda: (lambda job: job if "PAUSED" in job["state"] else None)(
            self.job(name)))

    def paused_equals_straight(self, world_size):
        straight, paused = f"straight-{world_size}", f"paused-{world_size}"
        self.train_to_the_end(straight, world_size, STEPS, **SETTINGS)

        self.train(paused, world_size, STEPS, **SETTINGS)
        for step in (3, 10):
            wait_for(f"step {step}", lambda: self.last_step(paused) >= step)
            job = self.pause(paused)
            self.assertEqual(trainer_pids(paused), {})
            self.assertFalse(job.get("placements"), job)
            self.run_cli("resume", paused)
        ended = self.wait_for_end(paused)
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual((int(ended["attempt"]), int(ended.get("restarts", 0))), (3, 0), self.logs())

        self.assert_equal_checkpoints(straight, paused, STEPS, world_size)
        histories = [self.cli_json("metrics", name) for name in (straight, paused)]
        for key in ("loss", "grad_norm", "batch_digest"):
            values = [[(int(s["step"]), json.dumps(s[key])) for s in history["steps"]] for history in histories]
            self.assertEqual(*values, key)
        self.assertEqual(*[[(int(e["step"]), e["loss"]) for e in history["evaluations"]] for history in histories])
        self.assertEqual(int(ended["goodput"].get("redone_steps", 0)), 0, ended["goodput"])

    def test_one_rank(self):
        self.paused_equals_straight(1)

    def test_two_ranks(self):
        self.paused_equals_straight(2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
