"""A job of high priority takes the slots of a running one, which loses nothing but time."""

import unittest

from cluster import ClusterTest, wait_for


class Preemption(ClusterTest):

    def test_the_job_that_makes_room_goes_on_from_its_last_step(self):
        self.prepare("words", 60)
        common = dict(dataset="words", training__sequence_length=32, training__batch_size=4,
                      resources__world_size=2, restart__max_restarts=0)
        self.submit("low", training__max_steps=1000000, training__schedule__kind="constant", **common)
        wait_for("five steps of low", lambda: self.last_step("low") >= 5)
        self.submit("high", training__max_steps=3, priority=100, **common)
        self.assertIn("SUCCEEDED", self.wait_for_end("high")["state"])
        wait_for("low to train again", lambda: int((self.job("low")["last_step"]).get("attempt", 0)) == 2)
        low = self.job("low")
        self.assertEqual(low["restarts"], 0, "it costs no restart")
        self.assertIn("makes room for jobs/high", low["warnings"][0])
        steps = [(int(point["step"]), point["attempt"]) for point in self.cli_json("metrics", "low")["steps"]]
        self.assertEqual([step for step, _ in steps], list(range(1, len(steps) + 1)),
                         "each step was done once")
        self.assertEqual({attempt for _, attempt in steps}, {1, 2})
        self.run_cli("cancel", "low")
        self.assertIn("CANCELLED", self.wait_for_end("low")["state"])


if __name__ == "__main__":
    unittest.main()
