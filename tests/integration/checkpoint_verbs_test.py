"""What one does with checkpoints, through the command line and against the real programs."""

import random
import unittest

from cluster import ClusterTest


class CheckpointVerbs(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 60)
        cls.submit("first", dataset="words", training__max_steps=40, training__sequence_length=32,
                   training__batch_size=4, evaluation__every_steps=20, checkpoint__every_steps=10,
                   checkpoint__keep_last=4)
        assert "SUCCEEDED" in cls.wait_for_end("first")["state"], cls.logs()

    def names(self, *flags):
        return self.run_cli("checkpoints", "list", "first", "--output", "names", *flags).stdout.split()

    def test_a_life_of_checkpoints(self):
        run, rng = self.run_cli, random.Random(self.seed)
        fork_base = "first@20-1"
        self.assertEqual(self.names(), ["first@40-1", "first@30-1", fork_base, "first@10-1"])
        self.assertEqual(self.names("--filter", "step<=20", "--order-by", "step"), ["first@10-1", fork_base])
        run("checkpoints", "pin", "first@30", "--note", "the good one")
        self.assertEqual(self.names("--filter", "pinned=true"), ["first@30-1"])
        run("checkpoints", "note", "first@20", "where it turned")
        self.assertIn("where it turned", run("checkpoints", "show", "first@20").stdout)

        # A flipped byte is found, and said wherever the checkpoint is shown.
        run("checkpoints", "verify", "first@10")
        path = rng.choice(sorted((self.directory / "storage").glob("**/first/**/000000000010-*/*.safetensors")))
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        found = run("checkpoints", "verify", "first@10", check=False)
        self.assertEqual(found.returncode, 1)
        self.assertIn("DAMAGED", found.stdout)
        self.assertIn(path.name, found.stdout)
        self.assertEqual(self.names("--filter", "damaged=true"), ["first@10-1"])

        # Retention says why for each; what somebody wants to keep stays.
        run("update", "first", "--keep-last", "1")
        page = run("checkpoints", "gc", "first", "--dry-run").stdout
        self.assertRegex(page, r"first@30-1 .* kept +pinned")
        self.assertRegex(page, r"first@20-1 .* removed")
        self.assertEqual(run("checkpoints", "gc", "first", check=False).returncode, 2)
        self.assertEqual(len(self.names()), 4)
        pinned = run("checkpoints", "delete", "first@30", "--yes", check=False)
        self.assertEqual(pinned.returncode, 1)
        self.assertIn("pinned", pinned.stderr)
        self.assertEqual(run("checkpoints", "delete", "first@10", "--yes").stdout, "first@10-1 removed\n")

        # Away and back again, as a job of its own, from which another starts.
        output = self.directory / "away"
        run("checkpoints", "download", "first@20", "--output", output)
        self.assertEqual(run("checkpoints", "upload", output, "--job", "copy", "--note", "from away").stdout,
                         "copy@20-1\n")
        self.assertEqual(self.job("copy")["reason"], "JOB_REASON_UPLOADED")
        same = self.cli_json("checkpoints", "diff", "first@20", "copy")
        self.assertEqual(same["relative_distance"], 0)
        other = self.cli_json("checkpoints", "diff", "first@20", "first")
        self.assertGreater(other["relative_distance"], 0)
        run("submit", "--name", "fork", "--preset", "wave-field-test", "--dataset", "words", "--init-from", "copy",
            "--set", "training.max_steps=2", "--set", "training.sequence_length=32", "--set", "training.batch_size=4")
        self.assertIn("SUCCEEDED", self.wait_for_end("fork")["state"], self.logs())
        tree = run("checkpoints", "lineage", "copy").stdout
        self.assertRegex(tree, r"copy@20-1 .*\n.*fork@2-1 .* fork")
        self.assertIn("fork@2-1", run("checkpoints", "lineage", "fork@2").stdout)

        self.assertEqual(run("checkpoints", "gc", "first", "--yes").stdout.split(",")[0], "removed 1 checkpoint")
        self.assertEqual(self.names(), ["first@40-1", "first@30-1"])


if __name__ == "__main__":
    unittest.main()
