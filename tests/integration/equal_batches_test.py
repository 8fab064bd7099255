"""Jobs that differ in their model alone saw the same token ids, whatever they ran on."""

import hashlib
import json
import struct
import unittest

import numpy

from cluster import ClusterTest

STEPS = 12


def read_shard(path):
    """The ids of a token shard (docs/token-shards.md), int32."""
    data = path.read_bytes()
    width, count = struct.unpack_from("<IQ", data, 12)
    return numpy.frombuffer(data, {2: "<u2", 4: "<u4"}[width], count, 128).astype("<i4")


class EqualBatches(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words")
        cls.train("outer")
        cls.train("attention", model__preset="transformer-test", resources__world_size=2)
        cls.train("static", model__preset="wave-field-static-test", training__micro_batch_size=8)
        cls.train("wide", model__d_ff=128, training__seed=2)

    @classmethod
    def train(cls, name, **settings):
        cls.submit(name, dataset="words", training__max_steps=STEPS, training__sequence_length=32,
                   training__batch_size=8, **settings)
        ended = cls.wait_for_end(name)
        if "SUCCEEDED" not in ended["state"]:
            raise AssertionError(f"{name}: {ended['state']} {ended['state_message']}\n{cls.logs()}")

    def digests(self, job):
        steps = self.cli_json("metrics", job)["steps"]
        self.assertEqual([int(step["step"]) for step in steps], list(range(1, STEPS + 1)))
        return [int(step["batch_digest"]) for step in steps]

    def test_models_and_ranks_do_not_change_the_batches(self):
        reference = self.digests("outer")
        self.assertNotIn(0, reference)
        self.assertEqual(len(set(reference)), STEPS, "every batch is another one")
        for job in ("attention", "static"):
            self.assertEqual(self.digests(job), reference, job)

    def test_another_seed_changes_every_batch(self):
        pairs = zip(self.digests("outer"), self.digests("wide"))
        self.assertEqual([step for step, (a, b) in enumerate(pairs, 1) if a == b], [])

    def test_digests_are_those_of_the_ids_in_the_dataset(self):
        """One epoch of batches of one window: the digests of all windows, calculated here."""
        length = 2048
        shards = sorted((self.directory / "storage" / "datasets" / "words").glob("train-*.tokens"))
        ids = numpy.concatenate([read_shard(shard) for shard in shards])
        windows = [ids[start:start + length + 1] for start in range(0, len(ids) - length, length)]
        expected = [int.from_bytes(hashlib.sha256(struct.pack("<q", 0) + window.tobytes()).digest()[:8], "big")
                    for window in windows]
        self.assertGreater(len(set(expected)), 5)
        self.submit("epoch", dataset="words", training__max_steps=len(windows),
                    training__sequence_length=length, training__batch_size=1)
        self.assertIn("SUCCEEDED", self.wait_for_end("epoch")["state"], self.logs())
        steps = self.cli_json("metrics", "epoch")["steps"]
        self.assertEqual(sorted(int(step["batch_digest"]) for step in steps), sorted(expected))

    def test_compare_says_which_jobs_saw_the_same(self):
        compared = json.loads(self.run_cli("compare", "outer", "attention", "static", "wide", "--json").stdout)
        self.assertEqual([job["batches_compared"] for job in compared["jobs"][1:]], 3 * [STEPS])
        self.assertEqual([job["other_batch_step"] for job in compared["jobs"][1:]], [0, 0, 1])
        self.assertEqual([job["tokens"] for job in compared["jobs"]], 4 * [STEPS * 8 * 32])
        self.assertEqual([job["form"] for job in compared["jobs"]],
                         ["selective outer", "attention", "static elementwise", "selective outer"])
        for path in ("model.form", "model.d_ff", "resources.world_size", "training.seed", "training.micro_batch_size"):
            self.assertIn(path, compared["differing_settings"])
        self.assertNotIn("training.batch_size", compared["differing_settings"])
        text = self.run_cli("compare", "outer", "attention", "static", "wide").stdout
        print(text, flush=True)
        self.assertIn("UNFAIR: parameters are", text)
        self.assertIn("note: seeds", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
