"""What ranks print, as people read it: complete to the last line of a crash, over the end of any program."""

import json
import pathlib
import shutil
import signal
import subprocess
import threading
import unittest

from cluster import BIN, ClusterTest, Daemon, os, trainer_pids, wait_for


class PrintingCluster(ClusterTest):
    """A real cluster whose ranks print what the labels of their job say (tests/worker/agent/fake_trainer.cc)."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 20)

    @classmethod
    def prepare(cls, name, kilobytes, *flags):
        text = cls.directory / f"{name}.txt"
        text.write_text("a few words\n" * (kilobytes * 80))
        return cls.run_cli("data", "prepare", "--name", name, "--input", text, "--tokenizer", "bytes", *flags)

    @classmethod
    def start_worker(cls):
        programs = cls.directory / "programs"
        if not programs.exists():
            programs.mkdir()
            shutil.copy(BIN / "wavefield-worker", programs)
            (programs / "wavefield-launcher").symlink_to(BIN / "wavefield-launcher")
            (programs / "wavefield-trainer").symlink_to(BIN / "fake_trainer")
        cls.worker = Daemon(
            cls.directory / "worker.log", programs / "wavefield-worker",
            "--coordinator", cls.address, "--data-dir", cls.directory / "worker",
            "--storage-root", cls.directory / "storage", "--slots", cls.slots, "--name", "w1")

    @classmethod
    def print_lines(cls, name, lines, end, pause_us=0, ranks=1, restarts=0):
        cls.submit(name, labels__behaviour="print", labels__lines=lines, labels__end=end, labels__pause_us=pause_us,
                   resources__world_size=ranks, restart__max_restarts=restarts, dataset="words",
                   training__max_steps=1, training__sequence_length=32)

    @classmethod
    def messages(cls, name, *flags):
        out = cls.run_cli("logs", name, "--json", *flags).stdout
        return [json.loads(line) for line in out.splitlines()]

    @classmethod
    def texts(cls, name, *flags):
        return [line["text"] for message in cls.messages(name, *flags) for line in message["lines"]]

    @staticmethod
    def printed(lines, rank=0):
        return [f"rank {rank} line {i}" for i in range(1, lines + 1)]

    def follow(self, name):
        """The lines that `logs -f` prints, as they come, and a function that waits for its end."""
        process = subprocess.Popen([BIN / "wavefield", "logs", "-f", name], text=True, stdout=subprocess.PIPE,
                                   env=dict(os.environ, WAVEFIELD_ADDRESS=self.address))
        lines = []

        def read():
            with process.stdout:
                for line in process.stdout:
                    lines.append(line)

        reader = threading.Thread(target=read)

        def wait():
            reader.join()
            return process.wait()

        reader.start()
        return lines, wait


class Logs(PrintingCluster):

    def test_a_crash_leaves_every_line_to_the_last(self):
        self.print_lines("crash", 5000, "abort", restarts=1)
        expected = self.printed(5000) + ["last wor"]
        followed = self.run_cli("logs", "-f", "crash")
        self.assertEqual(followed.stdout.splitlines(), expected + expected)
        self.assertIn("attempt 2", followed.stderr)
        self.assertIn("FAILED", self.job("crash")["state"])
        # Kept, and read from where one likes.
        self.assertEqual(self.texts("crash"), expected + expected)
        self.assertEqual(self.texts("crash", "--attempt", 2), expected)
        self.assertEqual(self.texts("crash", "--tail", 2), expected[-2:])
        self.assertEqual(self.texts("crash", "--since", "1h"), expected + expected)
        self.assertEqual(self.texts("crash", "--since", "2999-01-01"), [])
        self.assertEqual(self.run_cli("logs", "crash", "--rank", 1, check=False).returncode, 2)
        line = self.messages("crash", "--tail", 1)[0]["lines"][0]
        self.assertEqual((line["attempt"], line["rank"], line["worker"]), (2, 0, "workers/w1"))
        self.assertEqual(self.run_cli("logs", "crash", "--since", "soon", check=False).returncode, 2)
        self.assertEqual(self.run_cli("logs", "nobody", check=False).returncode, 3)

    def test_a_killed_coordinator_loses_no_line_and_repeats_none(self):
        self.print_lines("two", 600, "finish", pause_us=5000, ranks=2)
        lines, wait = self.follow("two")
        for count in (50, 500):
            wait_for(f"{count} lines", lambda: len(lines) >= count)
            self.coordinator.kill(signal.SIGKILL)
            type(self).start_coordinator(self.address)
        self.assertEqual(wait(), 0)
        for rank in range(2):
            prefix = f"rank {rank} | "
            self.assertEqual([line[len(prefix):-1] for line in lines if line.startswith(prefix)],
                             self.printed(600, rank))
        self.assertEqual(len(lines), 1200)
        self.assertEqual(self.texts("two", "--rank", 1), self.printed(600, rank=1))
        self.assertEqual(int(self.job("two")["restarts"]), 0)

    def test_a_killed_worker_sends_what_it_had_read(self):
        self.print_lines("lost", 3000, "wait", restarts=1)
        wait_for("a trainer", lambda: trainer_pids("lost"))
        self.coordinator.kill(signal.SIGKILL)
        log = self.directory / "worker/logs/lost/epoch-1-rank-0.log"
        wait_for("all lines", lambda: log.exists() and log.read_text().count("\n") == 3000)
        self.worker.kill(signal.SIGKILL)
        type(self).start_coordinator(self.address)
        type(self).start_worker()
        wait_for("the lines", lambda: len(self.texts("lost", "--attempt", 1)) >= 3000)
        self.assertEqual(self.texts("lost", "--attempt", 1), self.printed(3000))
        wait_for("the second attempt", lambda: int(self.job("lost")["attempt"]) == 2)
        wait_for("its lines", lambda: len(self.texts("lost", "--attempt", 2)) >= 3000)
        self.run_cli("cancel", "lost", "--wait")
        self.assertEqual(self.run_cli("logs", "-f", "lost").stdout.splitlines(), 2 * self.printed(3000))
        self.assertEqual(list((self.directory / "worker/log-outbox").iterdir()), [])


class LimitedLogs(PrintingCluster):

    coordinator_flags = ("--log-max-bytes-per-job", 64 << 10)

    def test_the_newest_lines_are_kept_and_the_missing_ones_counted(self):
        self.print_lines("long", 20000, "finish")
        self.run_cli("logs", "-f", "long")
        messages = self.messages("long")
        kept = [line["text"] for message in messages for line in message["lines"]]
        self.assertEqual(kept, self.printed(20000)[-len(kept):])
        self.assertGreater(len(kept), 500)
        self.assertEqual(sum(int(message["skipped_lines"]) for message in messages) + len(kept), 20000)
        folder = self.directory / "coordinator/logs/long"
        self.assertLess(sum(path.stat().st_size for path in folder.rglob("*.lines")), 80 << 10)
        self.assertIn("lines are missing here", self.run_cli("logs", "long").stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
