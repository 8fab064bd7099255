"""TLS, tokens, start-up errors, and what /metrics says, against the real programs."""

import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import unittest
import urllib.request

from cluster import BIN, ClusterTest, Daemon, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


def refused(*arguments):
    """Runs a coordinator that must not start; its exit code and what it says."""
    done = subprocess.run([BIN / "wavefield-coordinator", *map(str, arguments)],
                          capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr


class Secured(ClusterTest):

    @classmethod
    def start_coordinator(cls, listen):
        cls.key, cls.certificate = cls.directory / "key.pem", cls.directory / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-keyout", cls.key, "-out", cls.certificate, "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                       check=True, capture_output=True)
        cls.tokens = cls.directory / "tokens"
        cls.tokens.write_text("alice secret-of-alice-0123456789\nworkers secret-of-workers-0123456789\n")
        for name, token in (("alice", "secret-of-alice-0123456789"), ("worker", "secret-of-workers-0123456789"), ("wrong", "guess-0123456789-guess")):
            (cls.directory / f"{name}.token").write_text(token + "\n")
        cls.coordinator_flags = ("--tls-cert", cls.certificate, "--tls-key", cls.key, "--token-file", cls.tokens)
        super().start_coordinator("127.0.0.1:0")

    @classmethod
    def start_worker(cls):
        cls.worker = Daemon(
            cls.directory / "worker.log", "wavefield-worker", "--coordinator", cls.address,
            "--data-dir", cls.directory / "worker", "--storage-root", cls.directory / "storage",
            "--slots", 1, "--name", "w1", "--ca-file", cls.certificate,
            "--token-file", cls.directory / "worker.token")

    def ask(self, *arguments, token="alice"):
        flags = ["--ca-file", self.certificate]
        if token:
            flags += ["--token-file", self.directory / f"{token}.token"]
        return self.run_cli(*arguments, *flags, check=False)

    def test_the_right_token_is_let_in_and_others_are_not(self):
        self.assertEqual(self.ask("workers").returncode, 0)
        for token in (None, "wrong"):
            refusal = self.ask("workers", token=token)
            self.assertNotEqual(refusal.returncode, 0)
            self.assertIn("token", (refusal.stdout + refusal.stderr).lower())
        self.assertNotEqual(self.run_cli("workers", check=False).returncode, 0)  # no TLS

    def test_no_secret_is_logged(self):
        self.ask("workers")
        self.ask("workers", token="wrong")
        for path in self.directory.glob("**/*.log"):
            self.assertNotIn("secret-of", path.read_text())
            self.assertNotIn("guess-0", path.read_text())


class Starting(ClusterTest):

    def test_a_port_in_use_is_named(self):
        code, error = refused("--data-dir", self.directory / "other", "--listen", self.address,
                              "--http-listen", "127.0.0.1:0")
        self.assertNotEqual(code, 0)
        self.assertIn(self.address.rsplit(":", 1)[1], error)

    def test_a_second_coordinator_on_the_data_directory_is_refused(self):
        code, error = refused("--data-dir", self.directory / "coordinator", "--listen", "127.0.0.1:0",
                              "--http-listen", "127.0.0.1:0")
        self.assertNotEqual(code, 0)
        self.assertIn(str(self.directory / "coordinator"), error)

    def test_a_store_of_a_newer_version_is_refused(self):
        newer = self.directory / "newer"
        newer.mkdir()
        database = sqlite3.connect(newer / "coordinator.db")
        database.execute("PRAGMA user_version = 999")
        database.commit()
        database.close()
        code, error = refused("--data-dir", newer, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
        self.assertNotEqual(code, 0)
        self.assertIn("999", error)

    def test_other_addresses_need_tls_and_tokens(self):
        code, error = refused("--data-dir", self.directory / "open", "--listen", "0.0.0.0:0",
                              "--http-listen", "127.0.0.1:0")
        self.assertNotEqual(code, 0)
        self.assertIn("--insecure", error)

    def test_a_coordinator_that_is_not_there_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            nobody = self.run_cli("jobs", "--timeout", "3", check=False, address=address)
        self.assertEqual(nobody.returncode, 4)
        self.assertIn(address, nobody.stderr)

    def test_empty_unreadable_and_missing_input(self):
        empty = self.directory / "empty.txt"
        empty.write_text("")
        folder = self.directory / "folder"
        folder.mkdir(exist_ok=True)
        (folder / "image.png").write_bytes(b"\x89PNG\r\n")
        binary = self.directory / "binary.txt"
        binary.write_bytes(os.urandom(4096))
        for path in (empty, folder, binary, self.directory / "nowhere.txt"):
            bad = self.run_cli("data", "prepare", "--name", "bad", "--input", path, check=False)
            self.assertNotEqual(bad.returncode, 0, path)
            self.assertIn(path.name.split(".")[0], bad.stderr)
        left = [p.name for p in (self.directory / "storage/datasets").glob("*")
                if p.name == "bad" or p.name.startswith(".")]
        self.assertEqual(left, [])

    def test_a_dataset_whose_files_changed_is_refused_at_submit(self):
        self.prepare("changing", 60)
        shard = next((self.directory / "storage").glob("datasets/changing/train-*"))
        shard.write_bytes(shard.read_bytes()[:-100])
        bad = self.run_cli("submit", "--preset", "wave-field-test", "--dataset", "changing",
                           "--set", "training.max_steps=1", check=False)
        self.assertEqual(bad.returncode, 2, bad.stderr)
        self.assertIn("dataset", bad.stderr)
        self.prepare("leaving", 60)
        (self.directory / "storage/datasets/leaving").rename(self.directory / "moved")
        bad = self.run_cli("submit", "--preset", "wave-field-test", "--dataset", "leaving",
                           "--set", "training.max_steps=1", check=False)
        self.assertEqual(bad.returncode, 2, bad.stderr)


class Metrics(ClusterTest):

    @classmethod
    def start_coordinator(cls, listen):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            cls.http = "127.0.0.1:%d" % free.getsockname()[1]
        cls.coordinator = Daemon(
            cls.directory / "coordinator.log", "wavefield-coordinator", "--data-dir",
            cls.directory / "coordinator", "--storage-root", cls.directory / "storage",
            "--listen", listen, "--http-listen", cls.http)
        cls.address = cls.coordinator.ready

    def test_a_live_scrape_is_clean_and_tells_of_the_job(self):
        self.prepare("words", 60)
        self.submit("measured", dataset="words", training__max_steps=5, training__sequence_length=32,
                    training__batch_size=2)
        self.wait_for_end("measured")

        def scrape():
            return urllib.request.urlopen(f"http://{self.http}/metrics", timeout=5).read().decode()
        # Series follow the store within moments.
        wait_for("the job's series", lambda: 'training_job="measured"' in scrape(), 10)
        text = scrape()
        for line in ('wavefield_jobs{', 'training_job="measured"', 'wavefield_workers{', "wavefield_rpc_"):
            self.assertIn(line, text)
        promtool = shutil.which("promtool") or ROOT / "build/prometheus/usr/bin/promtool"
        checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
