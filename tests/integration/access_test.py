"""Client certificates, roles, tokens that change under running jobs, and the audit log, against the real programs."""

import json
import os
import re
import secrets
import signal
import subprocess
import unittest

from cluster import BIN, ClusterTest, Daemon, wait_for


def make_authority(folder, name):
    """A certificate that may sign others; its PEM file."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
                    "-subj", f"/CN={name}"], check=True, capture_output=True)
    return folder / f"{name}.pem"


def sign(folder, authority, name):
    """A certificate for localhost that `authority` signed; its PEM file."""
    options = folder / f"{name}.options"
    options.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.request", "-subj", f"/CN={name}"],
                   check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", folder / f"{name}.request", "-CA", authority,
                    "-CAkey", authority.with_suffix(".key"), "-CAcreateserial", "-days", "2", "-extfile", options,
                    "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    return folder / f"{name}.pem"


class Access(ClusterTest):

    @classmethod
    def start_coordinator(cls, listen):
        cls.authority = make_authority(cls.directory, "authority")
        cls.strangers = make_authority(cls.directory, "strangers")
        for authority, name in ((cls.authority, "server"), (cls.authority, "client"), (cls.strangers, "stranger")):
            sign(cls.directory, authority, name)
        cls.secrets = []
        cls.roles = {"vera": "viewer", "ulf": "user", "host": "worker", "ada": "admin"}
        cls.now = {}
        for name in cls.roles:
            cls.give_token(name)
        cls.write_coordinators_tokens()
        cls.coordinator_flags = (
            "--tls-cert", cls.directory / "server.pem", "--tls-key", cls.directory / "server.key",
            "--tls-client-ca", cls.authority, "--token-file", cls.directory / "tokens")
        super().start_coordinator("127.0.0.1:0")

    @classmethod
    def start_worker(cls):
        cls.worker = Daemon(
            cls.directory / "worker.log", "wavefield-worker", "--coordinator", cls.address,
            "--data-dir", cls.directory / "worker", "--storage-root", cls.directory / "storage",
            "--slots", cls.slots, "--name", "w1", *cls.connection("host"))

    @classmethod
    def give_token(cls, name):
        """A new token, in the file of the one who has it."""
        cls.now[name] = secrets.token_hex(16)
        cls.secrets.append(cls.now[name])
        file = cls.directory / f"{name}.token"
        file.with_suffix(".new").write_text(cls.now[name] + "\n")
        os.replace(file.with_suffix(".new"), file)

    @classmethod
    def write_coordinators_tokens(cls):
        file = cls.directory / "tokens"
        file.with_suffix(".new").write_text("".join(
            f"{name} {cls.now[name]} role={role}\n" for name, role in cls.roles.items()))
        os.replace(file.with_suffix(".new"), file)

    @classmethod
    def connection(cls, who, certificate="client"):
        flags = ["--ca-file", cls.authority, "--token-file", cls.directory / f"{who}.token"]
        if certificate:
            flags += ["--client-cert", cls.directory / f"{certificate}.pem",
                      "--client-key", cls.directory / f"{certificate}.key"]
        return flags

    @classmethod
    def run_cli(cls, *arguments, check=True, who="ada", certificate="client"):
        return super().run_cli(*arguments, *cls.connection(who, certificate), check=check)

    def audit(self, filter_text):
        return json.loads(self.run_cli("audit", "log", "--filter", filter_text, "--json").stdout)["entries"]

    def test_only_clients_with_a_certificate_of_the_authority_are_let_in(self):
        self.assertEqual(self.run_cli("workers", check=False).returncode, 0)
        for certificate in (None, "stranger"):
            refused = self.run_cli("workers", "--timeout", 5, certificate=certificate, check=False)
            self.assertEqual(refused.returncode, 4, refused.stderr)
        flags = ("--ca-file", self.authority, "--client-cert", self.directory / "client.pem")
        half = subprocess.run([BIN / "wavefield", "workers", "--address", self.address, *map(str, flags)],
                              capture_output=True, text=True)
        self.assertEqual(half.returncode, 2)
        self.assertIn("--client-key", half.stderr)

    def test_a_role_that_is_too_weak_is_told_what_it_takes(self):
        self.assertEqual(self.run_cli("jobs", who="vera").returncode, 0)
        for who, arguments in (("vera", ("cancel", "none")), ("ulf", ("audit", "log")), ("host", ("jobs",))):
            refused = self.run_cli(*arguments, who=who, check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(f"has role {self.roles[who]}", refused.stderr)
        denied = self.audit("principal=vera AND result=PERMISSION_DENIED")
        self.assertEqual(denied[0]["method"], "JobService.CancelJob")

    def test_tokens_change_under_a_running_job_and_its_watch(self):
        self.prepare("words", 60)
        self.submit("long", dataset="words", training__max_steps=1000000, training__sequence_length=32,
                    training__batch_size=2, checkpoint__every_minutes=0)
        wait_for("the first steps", lambda: self.last_step("long") > 2)
        with open(self.directory / "watch.out", "wb") as out:
            watch = subprocess.Popen(
                [BIN / "wavefield", "watch", "long", "--json", "--address", self.address,
                 *map(str, self.connection("vera"))], stdout=out, stderr=subprocess.STDOUT)
        self.addCleanup(watch.kill)

        def watched():
            return (self.directory / "watch.out").read_text().count("\n")
        wait_for("the watch", watched)

        for name in ("vera", "ulf", "ada"):
            self.give_token(name)
        old, self.now["host"] = self.now["host"], secrets.token_hex(16)
        self.secrets.append(self.now["host"])
        self.write_coordinators_tokens()
        wait_for("the refusal of the worker's old token",
                 lambda: "token is needed" in (self.directory / "worker.log").read_text())
        (self.directory / "host.token").write_text(self.now["host"] + "\n")
        wait_for("the new token", lambda: self.run_cli("jobs", check=False).returncode == 0)
        step, lines = self.last_step("long"), watched()
        wait_for("further steps", lambda: self.last_step("long") > step + 5)
        wait_for("further news in the watch", lambda: watched() > lines + 3)
        self.assertIsNone(watch.poll())
        job = self.job("long")
        self.assertEqual(job["state"], "JOB_STATE_RUNNING")
        self.assertEqual(job["attempt"], 1, "the job went on as it was")
        (self.directory / "host.token").with_name("stale.token").write_text(old + "\n")
        stale = self.run_cli("jobs", who="stale", check=False)
        self.assertIn("valid bearer token", stale.stderr)
        self.run_cli("cancel", "long", who="ulf")
        self.wait_for_end("long")
        self.assertEqual(watch.wait(timeout=30), 5)
        self.assertEqual([entry["principal"] for entry in self.audit("method=JobService.CancelJob AND resource=jobs/long")],
                         ["ulf"])

    def test_a_broken_token_file_changes_nothing_and_is_told_of(self):
        good = (self.directory / "tokens").read_text()
        (self.directory / "tokens").write_text(good + "eve short-secret role=king\n")
        self.coordinator.process.send_signal(signal.SIGHUP)
        log = self.directory / "coordinator.log"
        wait_for("the error", lambda: re.search(r"tokens:5: ", log.read_text()))
        self.assertNotIn("short-secret", log.read_text())
        self.assertEqual(self.run_cli("jobs", who="vera").returncode, 0)
        (self.directory / "tokens").write_text(good)

    def test_the_log_tells_who_did_what(self):
        self.prepare("more", 60)
        self.assertNotEqual(self.run_cli("cancel", "nothing", who="ulf", check=False).returncode, 0)
        shown = self.run_cli("audit", "log", "--output", "wide").stdout
        for text in ("DatasetService.CreateDataset", "datasets/more", "127.0.0.1", "WorkerService.RegisterWorker",
                     "workers/w1", "JobService.CancelJob", "jobs/nothing", "NOT_FOUND"):
            self.assertIn(text, shown)
        self.assertEqual(len(json.loads(self.run_cli("audit", "log", "--limit", 1, "--json").stdout)["entries"]), 1)
        registered = self.audit("method=WorkerService.RegisterWorker AND result=OK")
        self.assertEqual({entry["principal"] for entry in registered}, {"host"})

    def test_a_certificate_is_renewed_without_a_restart(self):
        before = self.certificate_served()
        sign(self.directory, self.authority, "server")
        self.assertNotEqual(self.certificate_served(), before)
        self.assertEqual(self.run_cli("jobs").returncode, 0)

    def certificate_served(self):
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", self.address, "-alpn", "h2", "-cert", self.directory / "client.pem",
             "-key", self.directory / "client.key"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace")
        return re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", shown.stdout, re.S).group()

    @classmethod
    def tearDownClass(cls):
        cls.coordinator.kill(signal.SIGTERM)
        holders = {cls.directory / f"{name}.token" for name in (*cls.roles, "stale")} | {cls.directory / "tokens"}
        looked_at = 0
        for path in cls.directory.rglob("*"):
            if not path.is_file() or path in holders:
                continue
            looked_at += 1
            contents = path.read_bytes()
            for secret in cls.secrets:
                if secret.encode() in contents:
                    raise AssertionError(f"{path} holds a token")
        assert looked_at > 10, looked_at


if __name__ == "__main__":
    unittest.main(verbosity=2)
