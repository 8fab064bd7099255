"""Exported weights of every form, loaded by the independent model of oracle_model.py, give our loss."""

import json
import math
import pathlib
import sys
import unittest

import torch

from oracle_model import Oracle, evaluate
from stored_files import read_checkpoint, read_split, read_token_bytes, write_weights

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "integration"))
from cluster import ClusterTest  # noqa: E402

# name: preset, fields of the specification that differ from it. The way of propagation is that of training and of its
# own evaluation; the command `evaluate` takes the form's default.
FORMS = {
    "selective_outer": ("wave-field-test", {}),
    "selective_elementwise": ("wave-field-test", {"model.deposit": "elementwise", "training.propagation": "direct"}),
    "static_outer": ("wave-field-test", {"model.damping": "static"}),
    "static_elementwise": ("wave-field-static-test", {}),
    "attention": ("transformer-test", {}),
    "hybrid_selective_outer": ("wave-field-test", {"model.attention_layers": "[1]"}),
    "hybrid_static_elementwise": ("wave-field-static-test", {"model.attention_layers": "[0]",
                                                             "training.propagation": "fft"}),
    "classic": ("wave-field-v4-test", {"model.n_layers": 6}),  # interference after layers 3 and 6
}
WINDOW = 150  # more than a chunk, and no multiple of one
TOLERANCE = 1e-5  # nats per token


def job_name(form):
    return form.replace("_", "-")


class OracleTest(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.random = torch.Generator().manual_seed(cls.seed)
        cls.prepare("words")
        cls.dataset = cls.directory / "storage" / "datasets" / "words"
        cls.held_out = read_split(cls.dataset, "validation")
        cls.token_bytes = read_token_bytes(cls.dataset)

    def check(self, name):
        directory = self.directory / name
        self.train(name, directory)
        loss = self.compare_on_held_out_text("trained", directory)
        last = self.cli_json("metrics", job_name(name))["evaluations"][-1]
        self.agree("trained, by the job itself", last["loss"], loss)

        # After a few steps phases are nearly 0 and dampings nearly those of the start: a wrong sign would not show.
        write_weights(directory, lambda tensor: tensor + 0.3 * self.normal(tensor.shape))
        self.compare_on_held_out_text("scattered", directory)
        self.compare_on_random_windows(directory)
        self.every_tensor_matters(directory)

    def train(self, name, directory):
        preset, fields = FORMS[name]
        settings = {"resources.world_size": 2, "training.max_steps": 12, "training.sequence_length": WINDOW,
                    "training.batch_size": 4, "training.schedule.learning_rate": 0.01} | fields
        sets = [argument for field, value in settings.items() for argument in ("--set", f"{field}={value}")]
        self.run_cli("submit", "--name", job_name(name), "--preset", preset, "--dataset", "words", *sets)
        self.assertIn("SUCCEEDED", self.wait_for_end(job_name(name))["state"], self.logs())
        self.run_cli("checkpoints", "download", job_name(name), "--output", directory)

    def compare_on_held_out_text(self, weights, directory):
        """Returns the oracle's loss."""
        model = Oracle(*read_checkpoint(directory))
        expected = evaluate(model, self.held_out, WINDOW)
        actual = self.cli_json("evaluate", directory, "--dataset", self.dataset)
        self.assertEqual(model.unused(), set())
        self.assertEqual(int(actual["tokens"]), expected["tokens"])
        self.agree(weights, actual["loss"], expected["loss"])
        self.assertAlmostEqual(actual["accuracy"], expected["accuracy"], delta=2 / expected["tokens"])
        bits = expected["loss"] * expected["tokens"] / math.log(2) / self.token_bytes[self.held_out[1:]].sum().item()
        self.assertAlmostEqual(actual["bits_per_byte"], bits, delta=TOLERANCE)
        return expected["loss"]

    def compare_on_random_windows(self, directory):
        """Short ones, where less averages out, and one that is longer than the training windows."""
        model = Oracle(*read_checkpoint(directory))
        for length in (30, 50, 800):
            ids = torch.randint(model.config["vocab_size"], (length + 1,), generator=self.random)
            path = directory / "ids.json"
            path.write_text(json.dumps(ids.tolist()))
            actual = self.cli_json("evaluate", directory, "--token-ids", path)
            self.agree(f"window of {length}", actual["loss"], evaluate(model, ids, length)["loss"])

    def every_tensor_matters(self, directory):
        """Without any one tensor other logits come out: what was compared depends on all of them."""
        config, tensors = read_checkpoint(directory)
        ids = torch.randint(config["vocab_size"], (1, 70), generator=self.random)
        logits = Oracle(config, tensors)(ids)
        for name, tensor in tensors.items():
            without = Oracle(config, tensors | {name: torch.zeros_like(tensor)})(ids)
            self.assertGreater((without - logits).abs().max(), 1e-4, f"{name} could be anything")

    def agree(self, what, actual, expected):
        print(f"{what}: loss {actual:.7f}, of the oracle {expected:.7f}, {actual - expected:+.1e}", flush=True)
        self.assertLess(abs(actual - expected), TOLERANCE, what)

    def normal(self, shape):
        return torch.randn(shape, generator=self.random)


for form in FORMS:
    def test(self, form=form):
        self.check(form)
    setattr(OracleTest, f"test_{form}", test)
del test

if __name__ == "__main__":
    unittest.main(verbosity=2)
