"""A run that was paused and resumed equals one that was not, byte for byte; nothing of it is done twice."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "integration"))
from cluster import ClusterTest, trainer_pids, wait_for  # noqa: E402

STEPS = 24


class Pause(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 400)

    def train(self, name, world_size):
        self.submit(name, dataset="words", resources__world_size=world_size, training__max_steps=STEPS,
                    training__sequence_length=256, training__batch_size=32, training__micro_batch_size=4,
                    checkpoint__every_steps=1000, evaluation__every_steps=10)

    def pause(self, name):
        self.run_cli("pause", name)
        return wait_for(f"{name} to pause", lambda: (lambda job: job if "PAUSED" in job["state"] else None)(
            self.job(name)))

    def paused_equals_straight(self, world_size):
        straight, paused = f"straight-{world_size}", f"paused-{world_size}"
        self.train(straight, world_size)
        self.assertIn("SUCCEEDED", self.wait_for_end(straight)["state"], self.logs())

        self.train(paused, world_size)
        for step in (3, 10):
            wait_for(f"step {step}", lambda: self.last_step(paused) >= step)
            job = self.pause(paused)
            self.assertEqual(trainer_pids(paused), {})
            self.assertFalse(job.get("placements"), job)
            self.run_cli("resume", paused)
        ended = self.wait_for_end(paused)
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual((int(ended["attempt"]), int(ended.get("restarts", 0))), (3, 0), self.logs())

        expected = self.checkpoint_files(straight, STEPS)
        actual = self.checkpoint_files(paused, STEPS)
        self.assertEqual(len(expected), 2 * world_size)
        self.assertEqual(expected.keys(), actual.keys())
        for name, content in expected.items():
            self.assertEqual(content, actual[name], f"{name} differs")

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
