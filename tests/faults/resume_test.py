"""A run that was killed and resumed equals one that was not, byte for byte."""

import os
import pathlib
import signal
import time
import unittest

from exact_runs import ExactRuns

from cluster import trainer_pids, wait_for

STEPS = 100
SETTINGS = {"checkpoint__every_steps": 20}


class Resume(ExactRuns):

    def kill_equals_straight(self, world_size, victim):
        straight, killed = f"straight-{world_size}", f"killed-{world_size}"
        self.train_to_the_end(straight, world_size, STEPS, **SETTINGS)

        self.train(killed, world_size, STEPS, **SETTINGS)
        wait_for("step 22", lambda: self.last_step(killed) >= 22)
        os.kill(trainer_pids(killed)[victim], signal.SIGKILL)
        ended = self.wait_for_end(killed)
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual(int(ended["restarts"]), 1, self.logs())

        self.assert_equal_checkpoints(straight, killed, STEPS, world_size)

        # The second attempt did again what the first had done after its newest checkpoint; the history says so.
        done = {1: set(), 2: set()}
        for step in self.cli_json("metrics", killed)["steps"]:
            done[int(step["attempt"])].add(int(step["step"]))
        self.assertEqual(done[1] | done[2], set(range(1, STEPS + 1)))
        went_on_after = min(done[2]) - 1
        self.assertIn(went_on_after, range(20, STEPS, 20))
        self.assertEqual(done[2], set(range(went_on_after + 1, STEPS + 1)))

    def test_one_rank(self):
        self.kill_equals_straight(1, 0)

    def test_two_ranks(self):
        self.kill_equals_straight(2, 1)

    def test_no_survivor_waits_out_a_timeout(self):
        """Rank 0 is stopped in the middle of a step and rank 1 waits for it; then rank 0 dies."""
        self.train("survivor", 2, STEPS, **SETTINGS)
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
