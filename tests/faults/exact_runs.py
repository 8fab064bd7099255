"""Runs that were broken off and went on, beside runs that were not."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "integration"))
from cluster import ClusterTest  # noqa: E402


class ExactRuns(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 400)

    def train(self, name, world_size, steps, **settings):
        self.submit(name, dataset="words", resources__world_size=world_size, training__max_steps=steps,
                    training__sequence_length=256, training__batch_size=32, training__micro_batch_size=4, **settings)

    def train_to_the_end(self, name, world_size, steps, **settings):
        self.train(name, world_size, steps, **settings)
        self.assertIn("SUCCEEDED", self.wait_for_end(name)["state"], self.logs())

    def assert_equal_checkpoints(self, one, other, step, world_size):
        expected, actual = self.checkpoint_files(one, step), self.checkpoint_files(other, step)
        self.assertEqual(len(expected), 2 * world_size)
        self.assertEqual(expected.keys(), actual.keys())
        for name, content in expected.items():
            self.assertEqual(content, actual[name], f"{name} differs")
