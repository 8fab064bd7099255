"""A run that was killed and resumed equals one that was not, byte for byte."""

import os
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "integration"))
from cluster import ClusterTest, trainer_pids, wait_for  # noqa: E402

STEPS = 40


class Resume(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 400)

    def train(self, name, world_size):
        self.submit(name, dataset="words", resources__world_size=world_size, training__max_steps=STEPS,
                    training__sequence_length=256, training__batch_size=32, training__micro_batch_size=4,
                    checkpoint__every_steps=20)

    def kill_equals_straight(self, world_size, victim):
        straight, killed = f"straight-{world_size}", f"killed-{world_size}"
        self.train(straight, world_size)
        self.assertIn("SUCCEEDED", self.wait_for_end(straight)["state"], self.logs())

        self.train(killed, world_size)
        wait_for("step 22", lambda: self.last_step(killed) >= 22)
        os.kill(trainer_pids(killed)[victim], signal.SIGKILL)
        ended = self.wait_for_end(killed)
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual(int(ended["restarts"]), 1, self.logs())

        expected = self.checkpoint_files(straight, STEPS)
        actual = self.checkpoint_files(killed, STEPS)
        self.assertEqual(len(expected), 2 * world_size)
        self.assertEqual(expected.keys(), actual.keys())
        for name, content in expected.items():
            self.assertEqual(content, actual[name], f"{name} differs")

        # The second attempt did steps 21 … 40 again; the history says so.
        steps = self.cli_json("metrics", killed)["steps"]
        self.assertEqual({int(s["step"]) for s in steps}, set(range(1, STEPS + 1)))
        self.assertEqual({int(s["attempt"]) for s in steps if int(s["step"]) > 30}, {2})

    def test_one_rank(self):
        self.kill_equals_straight(1, 0)

    def test_two_ranks(self):
        self.kill_equals_straight(2, 1)

    def test_no_survivor_waits_out_a_timeout(self):
        """Rank 0 is stopped in the middle of a step and rank 1 waits for it; then rank 0 dies."""
        self.train("survivor", 2)
        wait_for("step 3", lambda: self.last_step("survivor") >= 3)
        ranks = trainer_pids("survivor")
        os.kill(ranks[0], signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(ranks[0], signal.SIGKILL)
        killed = time.monotonic()
        wait_for("the survivor's end", lambda: not pathlib.Path(f"/proc/{ranks[1]}").exists(), 30)
        waited = time.monotonic() - killed
        print(f"the survivor ended after {waited:.2f} s", flush=True)
        self.assertLess(waited, 10, self.logs())
        self.assertIn("SUCCEEDED", self.wait_for_end("survivor")["state"], self.logs())


if __name__ == "__main__":
    unittest.main(verbosity=2)
