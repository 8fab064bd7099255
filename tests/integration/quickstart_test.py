"""deploy/quickstart.sh as a user runs it, on a text of their own."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from cluster import fresh_seed, processes_mentioning, wait_for, write_text

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port_pair():
    """A port that is free, and so is the next."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


class Quickstart(unittest.TestCase):

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="wavefield-quickstart-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.text = self.directory / "text.txt"
        write_text(self.text, 12, fresh_seed())

    def start(self, *flags):
        # bash cannot trap a signal that was ignored when it began.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run = subprocess.Popen(
            ["bash", ROOT / "deploy/quickstart.sh", "--text", self.text, "--data-dir", self.directory / "data",
             "--port", str(free_port_pair()), *flags],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env=dict(os.environ, HOME=str(self.directory)))
        self.addCleanup(self.end, run)
        return run

    @staticmethod
    def end(run):
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
            run.wait(timeout=90)
        run.stdout.close()

    def assert_nothing_left(self):
        self.assertEqual(processes_mentioning(self.directory / "data"), [])
        leftovers = [p for p in (self.directory / "data").glob("**/*")
                     if ".tmp" in p.name or "staging" in p.name or p.name.endswith(".partial")]
        self.assertEqual(leftovers, [])

    def test_a_small_text_ends_well(self):
        run = self.start("--steps", "5")
        output, _ = run.communicate(timeout=300)
        self.assertEqual(run.returncode, 0, output)
        self.assertRegex(output, r"held-out bits per byte: model \d+\.\d+, interpolated bigram .* \d+\.\d+")
        self.assertRegex(output, r"[Vv]ocabulary")
        self.assert_nothing_left()
        second = self.start("--steps", "2")
        again, _ = second.communicate(timeout=300)
        self.assertEqual(second.returncode, 0, again)
        self.assertIn("already", again)

    def test_an_interrupt_leaves_nothing(self):
        run = self.start("--minutes", "5")
        data = self.directory / "data"
        wait_for("training", lambda: list(data.glob("worker/tasks/*")), 120)
        os.killpg(run.pid, signal.SIGINT)
        output, _ = run.communicate(timeout=90)
        self.assertEqual(run.returncode, 130, output)
        self.assert_nothing_left()
        self.assertRegex(output, "CANCELLED|cancelled")

    def test_bad_options_are_named(self):
        for flags, expected in ((["--minuts", "3"], "--minuts"), (["--minutes", "soon"], "soon"),
                                (["--text", "/nowhere/x.txt"], "/nowhere/x.txt")):
            run = subprocess.run(["bash", ROOT / "deploy/quickstart.sh", *flags], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2)
            self.assertTrue(re.search(re.escape(expected), run.stderr), run.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
