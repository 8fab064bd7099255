"""Jobs with every setting of a training recipe (docs/training.md), from the spec to the checkpoint."""

import os
import signal
import unittest

from cluster import ClusterTest, trainer_pids, wait_for

STEPS = 140

EVERYTHING = {
    "training__optimizer__kind": "muon",
    "training__optimizer__mixer_lr_multiplier": 0.5,
    "training__optimizer__embedding_lr_multiplier": 2,
    "training__schedule__kind": "wsd",
    "training__dropout": 0.1,
    "training__label_smoothing": 0.05,
    "training__z_loss": 0.0001,
    "training__ema_decay": 0.95,
    "training__recompute": "block",
    "training__sequence_chunk": 100,
}


class Recipes(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 400)

    def train(self, name, steps=STEPS, **settings):
        self.submit(name, dataset="words", training__max_steps=steps, training__sequence_length=256,
                    training__batch_size=16, training__micro_batch_size=4, **settings)

    def end_well(self, name):
        ended = self.wait_for_end(name)
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        return ended

    def losses(self, name):
        return [float(step["loss"]) for step in self.cli_json("metrics", name)["steps"]]

    def test_a_killed_run_with_everything_equals_one_that_was_not(self):
        self.train("straight", checkpoint__every_steps=20, **EVERYTHING)
        self.end_well("straight")
        self.train("killed", checkpoint__every_steps=20, **EVERYTHING)
        wait_for("step 22", lambda: self.last_step("killed") >= 22)
        os.kill(trainer_pids("killed")[0], signal.SIGKILL)
        self.assertEqual(int(self.end_well("killed")["restarts"]), 1, self.logs())
        expected, actual = (self.checkpoint_files(name, STEPS) for name in ("straight", "killed"))
        self.assertEqual(len(expected), 2)
        self.assertEqual(expected, actual)
        self.assertTrue(any(b'"ema.embedding.weight"' in content for content in expected.values()))

    def test_it_learns_and_reports_the_average_beside_the_weights(self):
        self.train("learns", steps=80, evaluation__every_steps=40, **EVERYTHING)
        self.end_well("learns")
        history = self.cli_json("metrics", "learns")
        losses = [float(step["loss"]) for step in history["steps"]]
        self.assertLess(losses[-1], losses[0] - 0.5)
        self.assertEqual([int(e["step"]) for e in history["evaluations"]], [40, 80])
        for evaluation in history["evaluations"]:
            loss, average = float(evaluation["loss"]), float(evaluation["ema_loss"])
            self.assertNotEqual(loss, average)
            self.assertLess(abs(loss - average), 1)

    def test_without_an_average_none_is_reported(self):
        self.train("plain", steps=2)
        self.end_well("plain")
        for evaluation in self.cli_json("metrics", "plain")["evaluations"]:
            self.assertNotIn("ema_loss", evaluation)

    def test_ranks_recomputation_and_pieces_do_not_change_what_dropout_drops(self):
        recipe = {"training__dropout": 0.3, "steps": 5}
        self.train("one", **recipe)
        self.train("two", resources__world_size=2, **recipe)
        self.train("pieces", training__recompute="block", training__sequence_chunk=100, **recipe)
        self.train("none", steps=5)
        for name in ("one", "two", "pieces", "none"):
            self.end_well(name)
        one = self.losses("one")

        def furthest(name):
            return max(abs(a - b) for a, b in zip(one, self.losses(name), strict=True))

        # Rounding alone tells the three apart, about 1e-9. Without dropout, or with other positions dropped, the
        # losses part as the weights do: by about 1e-2 after five steps, however little at the first.
        dropped = furthest("none")
        for name in ("two", "pieces"):
            self.assertLess(1000 * furthest(name), dropped, name)

    def test_a_recipe_that_cannot_be_is_refused_by_field(self):
        refused = self.run_cli("submit", "--name", "bad", "--preset", "wave-field-test", "--set", "dataset=words",
                               "--set", "training.max_steps=5", "--set", "training.propagation=fft", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("training.propagation", refused.stdout + refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
