"""The storage runs full while a job saves: the run goes on, older checkpoints stay good, and one can see why."""

import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "integration"))
from cluster import ClusterTest, wait_for  # noqa: E402

IN_NAMESPACE = "WAVEFIELD_TEST_IN_NAMESPACE"


class NoSpace(ClusterTest):

    @classmethod
    def make_storage(cls, path):
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path], check=True)
        cls.addClassCleanup(subprocess.run, ["umount", "-l", path])

    def test_the_run_goes_on_and_the_old_checkpoint_stays_good(self):
        self.prepare("words", 100)
        ballast = self.directory / "storage/ballast"
        # Room for two checkpoints of about 0.36 MB, of three that would be kept.
        ballast.write_bytes(bytes(shutil.disk_usage(self.directory / "storage").free - 900_000))
        self.submit("full", dataset="words", resources__world_size=2, training__max_steps=200,
                    training__sequence_length=256, training__batch_size=16,
                    checkpoint__every_steps=5, checkpoint__keep_last=3)
        warned = wait_for("a warning", lambda: self.job("full").get("warnings"), 120)
        self.assertTrue(any("space" in warning for warning in warned), warned)
        self.assertRegex(warned[0], r"^no checkpoint at step \d+: ")
        last_good = self.cli_json("checkpoints", "list", "full")["checkpoints"][0]
        self.assertTrue((self.directory / "storage" / last_good["directory"] / "manifest.json").is_file())

        ballast.unlink()
        ended = self.wait_for_end("full")
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual(int(ended["restarts"]), 0)
        self.assertEqual(int(ended["last_step"]["step"]), 200)

        checkpoints = self.cli_json("checkpoints", "list", "full")["checkpoints"]
        self.assertEqual(len(checkpoints), 3)
        for checkpoint in checkpoints:
            directory = self.directory / "storage" / checkpoint["directory"]
            self.assertTrue((directory / "manifest.json").is_file())
        newest = max(int(c["step"]) for c in checkpoints)
        evaluated = self.cli_json("evaluate", f"full@{newest}", "--dataset", "words")
        self.assertGreater(int(evaluated["tokens"]), 0)
        # Nothing half-written is left behind.
        complete = {pathlib.Path(c["directory"]).name for c in checkpoints}
        present = {path.name for path in (self.directory / "storage").glob("**/full/**/0*-*")}
        self.assertEqual(present, complete)


if __name__ == "__main__":
    if not os.environ.get(IN_NAMESPACE):
        # A mount namespace of its own, so that a small file system can be mounted without being root.
        os.environ[IN_NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-B", *sys.argv])
    unittest.main(verbosity=2)
