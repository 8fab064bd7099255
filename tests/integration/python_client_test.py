"""The Python client against the real programs, installed as a user would; and its README, run as it stands."""

import importlib.metadata
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import unittest
import unittest.mock

import client_environment

if __name__ == "__main__":
    client_environment.run_inside(__file__)

import pandas
import wavefield
from cluster import ClusterTest, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


def spec(**training):
    return {"model": {"preset": "wave-field-test"}, "dataset": "words",
            "training": {"max_steps": 40, "sequence_length": 32, "batch_size": 4, **training}}


class Client(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 100)
        cls.client = wavefield.Client(cls.address)
        cls.addClassCleanup(cls.client.close)
        cls.client.submit(spec(ema_decay=0.9), name="first", evaluation__every_steps=20,
                          overrides={"checkpoint.every_steps": 10, "checkpoint.keep_last": 2, "labels.team.a": "b"})
        cls.ended = cls.client.wait("first")

    def test_the_package_is_the_installed_one(self):
        self.assertTrue(pathlib.Path(wavefield.__file__).is_relative_to(client_environment.FOLDER))

    def test_the_version_and_a_client_can_be_printed(self):
        self.assertEqual(wavefield.__version__, importlib.metadata.version("wavefield"))
        with wavefield.Client("127.0.0.1:1", token="secret-of-alice") as client:
            self.assertEqual(repr(client), "wavefield.Client('127.0.0.1:1')")

    def test_a_job_succeeds_and_is_as_the_command_line_shows_it(self):
        self.assertEqual(wavefield.state_of(self.ended), "SUCCEEDED", self.logs())
        self.assertTrue(wavefield.has_ended(self.ended))
        self.assertEqual(dict(self.ended.spec.labels), {"team.a": "b"})
        job, shown = wavefield.to_dict(self.client.get("jobs/first")), self.job("first")
        for key in ("name", "uid", "state", "reason", "state_message", "latest_checkpoint", "etag"):
            self.assertEqual(job[key], shown[key])
        self.assertEqual(job["parameter_count"], int(shown["parameter_count"]))
        self.assertLess(job["create_time"], job["end_time"])
        self.assertIn("first", [found.name.removeprefix("jobs/") for found in self.client.list()])
        self.assertIn("first", [found.name.removeprefix("jobs/") for found in self.client.list("state=SUCCEEDED")])
        self.assertEqual(list(self.client.list("state=FAILED")), [])

    def test_profiles_of_the_command_line_are_known(self):
        home = self.directory / "configuration"
        token = self.directory / "token"
        token.write_text("of-nobody\n")
        token.chmod(0o600)
        with unittest.mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(home)}):
            with self.assertRaisesRegex(wavefield.FailedPrecondition, "wavefield login ADDRESS"):
                wavefield.Client.from_profile()
            self.run_cli("login", self.address, "--no-token", "--profile", "lab")
            self.run_cli("login", self.address, "--token-file", token, "--profile", "other")
            with wavefield.Client.from_profile() as client:  # the last one
                self.assertEqual(client.get("first").name, "jobs/first")
            self.assertEqual(wavefield.profiles.load()["token"], token.read_text().strip())
            os.environ["WAVEFIELD_PROFILE"] = "lab"
            self.assertEqual(wavefield.profiles.load(), {"address": self.address, "token": None, "ca": None,
                                                         "client_certificate": None, "client_key": None})
            with self.assertRaisesRegex(wavefield.NotFound, "nowhere"):
                wavefield.Client.from_profile("nowhere")
            with self.assertRaises(wavefield.InvalidArgument):
                wavefield.Client.from_profile("../lab")
            (home / "wavefield/profiles/lab.json").write_text("[1]")
            with self.assertRaisesRegex(wavefield.FailedPrecondition, "log in again"):
                wavefield.Client.from_profile("lab")

    def test_all_ways_to_write_a_specification_are_one(self):
        file = self.directory / "spec.json"
        file.write_text(json.dumps(spec()))
        fields = {"training__max_steps": 40, "training__sequence_length": 32, "training__batch_size": 4}
        ask = dict(validate_only=True, name="never")
        jobs = [self.client.submit(spec(), **ask),
                self.client.submit(json.dumps(spec()), **ask),
                self.client.submit(file, **ask),
                self.client.submit("wave-field-test", dataset="words", **fields, **ask),
                self.client.submit({"dataset": "words", "model": {"preset": "wave-field-test"}},
                                   training={"max_steps": 40, "sequenceLength": 32},
                                   overrides={"training.batch_size": 4}, **ask)]
        jobs.append(self.client.submit(jobs[0].spec, **ask))
        for job in jobs:
            self.assertEqual(job.spec, jobs[0].spec)
        with self.assertRaises(wavefield.NotFound):
            self.client.get("never")

    def test_metrics_are_those_of_the_command_line(self):
        rows, shown = self.client.metrics("first"), self.cli_json("metrics", "first")
        self.assertEqual([row["step"] for row in rows], list(range(1, 41)))
        for row, other in zip(rows, shown["steps"], strict=True):
            for key in ("loss", "grad_norm", "learning_rate", "step_seconds", "accuracy"):
                self.assertEqual(row[key], other[key])
            self.assertEqual(row["batch_digest"], int(other["batch_digest"]))
            self.assertEqual(row["backward_seconds"], other["phase_seconds"]["backward"])
        self.assertEqual([row["step"] for row in self.client.metrics("first", after_step=30, stride=5)], [35, 40])
        evaluations = self.client.evaluations("first")
        self.assertEqual([row["step"] for row in evaluations], [20, 40])
        for row, other in zip(evaluations, shown["evaluations"], strict=True):
            self.assertEqual((row["loss"], row["ema_loss"], row["bits_per_byte"]),
                             (other["loss"], other["ema_loss"], other["bits_per_byte"]))

    def test_history_becomes_a_data_frame(self):
        rows = self.client.metrics("first")
        frame = rows.to_pandas()
        self.assertIsInstance(frame, pandas.DataFrame)
        self.assertEqual(frame.shape, (40, len(rows[0])))
        self.assertEqual(frame["loss"].tolist(), [row["loss"] for row in rows])
        self.assertEqual(str(frame["time"].dt.tz), "UTC")

    def test_lists_of_several_pages_are_one(self):
        whole = [step.step for page in self.client._connection.pages("JobService.ListMetrics", parent="jobs/first")
                 for step in page.steps]
        pages = list(self.client._connection.pages("JobService.ListMetrics", parent="jobs/first", page_size=7))
        self.assertEqual(len(pages), 6)
        self.assertEqual([step.step for page in pages for step in page.steps], whole)

    def test_field_health_and_goodput(self):
        points = list(self.client.field_health("first"))
        self.assertEqual([point.step for point in points], [40, 20])
        self.assertEqual(len(points[0].layers), self.ended.spec.model.n_layers)
        self.assertGreater(points[0].layers[0].heads[0].time_constant_p50, 0)
        goodput = self.client.goodput("first")
        total, ratio = goodput.pop("total"), goodput.pop("ratio")
        self.assertAlmostEqual(sum(goodput.values()), total, places=6)
        self.assertAlmostEqual(goodput["useful_steps"] / total, ratio)
        self.assertGreater(ratio, 0)

    def test_workers_and_datasets(self):
        worker, = self.client.workers()
        self.assertEqual((worker.name, worker.slots), ("workers/w1", self.slots))
        self.assertIn("datasets/words", [dataset.name for dataset in self.client.datasets()])
        self.assertGreater(self.client.dataset("words").train_tokens, 0)

    def test_checkpoints_are_listed_and_downloaded_right(self):
        found = list(self.client.checkpoints("first"))
        self.assertEqual([checkpoint.step for checkpoint in found], [40, 30])
        self.assertEqual(self.client.checkpoint("first@30").name, found[1].name)
        self.assertIn(found[0].name, [checkpoint.name for checkpoint in self.client.checkpoints()])
        target, seen = self.directory / "fetched", []
        checkpoint = self.client.download(self.ended, target, lambda done, total: seen.append((done, total)))
        self.assertEqual(checkpoint.name, found[0].name)
        total = sum(file.bytes for file in checkpoint.files)
        self.assertEqual(seen[-1], (total, total))
        source = self.directory / "storage" / checkpoint.directory
        names = sorted(file.path for file in checkpoint.files)
        self.assertEqual(sorted(p.relative_to(target).as_posix() for p in target.glob("**/*") if p.is_file()), names)
        for name in names:
            self.assertEqual((target / name).read_bytes(), (source / name).read_bytes(), name)

    def test_a_download_goes_on_where_it_was_and_finds_wrong_bytes(self):
        target, fetched = self.directory / "resumed", []
        file = max(self.client.checkpoint("first").files, key=lambda file: file.bytes)
        partial = target / f"{file.path}.{file.sha256[:12]}.part"
        checkpoint = self.client.download("first", target)
        whole = (target / file.path).read_bytes()
        (target / file.path).unlink()
        partial.write_bytes(whole[:1000])
        self.client.download("first", target, lambda done, total: fetched.append(done))
        self.assertEqual((target / file.path).read_bytes(), whole)
        self.assertGreater(fetched[0], checkpoint.bytes - file.bytes)
        # A part with a wrong byte in it is found, thrown away and fetched anew.
        (target / file.path).write_bytes(b"?" + whole[1:])
        partial.write_bytes(b"?" + whole[1:1000])
        with self.assertRaisesRegex(wavefield.DataLoss, "checksum"):
            self.client.download("first", target)
        self.assertFalse(partial.exists())
        self.client.download("first", target)
        self.assertEqual((target / file.path).read_bytes(), whole)

    def test_another_checkpoint_is_not_written_over(self):
        def content():
            return {path: path.read_bytes() for path in target.glob("**/*") if path.is_file()}

        target = self.directory / "taken"
        self.client.download("first@30", target)
        before = content()
        with self.assertRaisesRegex(wavefield.FailedPrecondition, f"{target} holds another .* take another directory"):
            self.client.download("first@40", target)
        self.assertEqual(content(), before)
        next(target.glob("model-*.safetensors")).unlink()
        self.client.download("first@30", target)
        self.assertEqual(content(), before)

    def test_evaluation_generation_and_audit(self):
        progress = []
        result = self.client.evaluate("first@40", dataset="words", max_tokens=500, on_progress=progress.append)
        shown = self.cli_json("evaluate", "first@40", "--dataset", "words", "--max-tokens", 500)
        self.assertEqual((result.loss, result.tokens), (shown["loss"], int(shown["tokens"])))
        self.assertEqual(self.client.evaluate("first", token_ids=[5, 9, 12, 40, 7]).tokens, 4)
        ask = dict(max_tokens=20, temperature=0.9)
        generation = self.client.generate("first", "tea ", seed=1, **ask)
        pieces = list(generation)
        self.assertEqual(generation.summary.generated_tokens, 20)
        self.assertEqual("".join(pieces), generation.text)
        shown = json.loads(self.run_cli("generate", "first", "--prompt", "tea ", "--max-tokens", 20,
                                        "--temperature", 0.9, "--seed", 1, "--json").stdout)
        self.assertEqual(generation.text, shown["text"])
        self.assertNotEqual("".join(self.client.generate("first", "tea ", seed=2, **ask)), generation.text)
        self.assertTrue(self.client.audit_causality("first", windows=1, changes_per_window=2).passed)

    def test_wrong_fields_are_named_here_and_there(self):
        with self.assertRaises(wavefield.InvalidSpec) as raised:
            self.client.submit(spec(max_steps="many", bach_size=4), max_steps=3, name="wrong")
        violations = {found.field: found.description for found in raised.exception.violations}
        self.assertEqual(sorted(violations), ["max_steps", "training.bach_size", "training.max_steps"])
        self.assertIn("batch_size", violations["training.bach_size"])
        self.assertIn("training.max_steps", violations["max_steps"])
        self.assertEqual(violations["training.max_steps"], "'many' is not a whole number of 64 bits")
        for value in ("many", 1.5, 1 << 70, [1], {}, True):
            with self.assertRaisesRegex(wavefield.InvalidSpec, "^training.max_steps: .* is not a whole number"):
                wavefield.build_spec(fields={"training.max_steps": value})
        for field, value, said in (
                ("dataset", 5, "5 is not text"), ("training.dropout", "x", "'x' is not a number"),
                ("training", 7, "7 is not an object"),
                ("labels", ["a"], r"\['a'\] is not an object"), ("after", [7], r"\[7\] does not fit: "),
                ("model.attention_layers", ["x"], r"\['x'\] does not fit: ")):
            with self.assertRaisesRegex(wavefield.InvalidSpec, f"^{field}: {said}"):
                wavefield.build_spec(fields={field: value})
        with self.assertRaises(wavefield.InvalidSpec) as raised:
            self.client.submit(spec(max_steps=-1, batch_size=0), name="wrong")
        self.assertLessEqual({"training.max_steps", "training.batch_size"},
                             {found.field for found in raised.exception.violations})
        for text in ("{", "[1]", 7):
            with self.assertRaises(wavefield.InvalidSpec):
                wavefield.build_spec(text if text != "[1]" else [1])
        with self.assertRaises(wavefield.NotFound):
            self.client.get("wrong")

    def test_what_is_wrong_is_said_once(self):
        for wrong in ({"max_steps": -1}, {"max_steps": -1, "batch_size": 0}, {"max_steps": "many"},
                      {"max_steps": "many", "batch_size": "few"}):
            with self.assertRaises(wavefield.InvalidSpec) as raised:
                self.client.submit(spec(**wrong), name="wrong")
            self.assertEqual(len(raised.exception.violations), len(wrong))
            for field in wrong:
                self.assertEqual(str(raised.exception).count(field), 1, raised.exception)
        more = wavefield.Violation("b", "is 2")
        self.assertEqual(str(wavefield.InvalidSpec("a is 1", violations=[wavefield.Violation("a", "is 1"), more])),
                         "a is 1\n  b: is 2")

    def test_only_specifications_are_invalid_specs(self):
        for field, ask in {
                "filter": lambda: list(self.client.list("foo")),
                "order_by": lambda: list(self.client.checkpoints(order_by="foo")),
                "stride": lambda: self.client.metrics("first", stride=-1),
                "checkpoint.note": lambda: self.client.note("first", "x" * 2000),
                "temperature": lambda: list(self.client.generate("first", "a", temperature=-1)),
                "update_mask": lambda: self.client.update("first"),
                "request_id": lambda: self.client.submit(spec(), request_id="x" * 2000),
                "requests[0].job_id": lambda: self.client.submit_grid(
                    spec(), {"training.max_steps": [1]}, name="a" * 63)}.items():
            with self.assertRaises(wavefield.InvalidArgument) as raised:
                ask()
            self.assertIs(type(raised.exception), wavefield.InvalidArgument, field)
            self.assertEqual([found.field for found in raised.exception.violations], [field])
        for ask in (lambda: self.client.submit(spec(max_steps=-1)),
                    lambda: self.client.submit_grid(spec(), {"training.max_steps": [-1]}, name="wrong"),
                    lambda: self.client.update("first", priority=5000)):
            with self.assertRaises(wavefield.InvalidSpec):
                ask()

    def test_errors_have_types(self):
        for ask in (lambda: self.client.get("nobody"), lambda: self.client.checkpoint("first@7"),
                    lambda: next(self.client.watch("nobody")), lambda: list(self.client.generate("nobody", "a")),
                    lambda: self.client.metrics("nobody"), lambda: self.client.cancel("nobody")):
            with self.assertRaises(wavefield.NotFound) as raised:
                ask()
            self.assertIn("nobody" if "first" not in str(raised.exception) else "7", str(raised.exception))
        with self.assertRaises(wavefield.AlreadyExists):
            self.client.submit(spec(), name="first")
        for name in ("First", "../first", "", "first@", "first@x", "jobs/first/checkpoints/../1"):
            with self.assertRaises(wavefield.InvalidArgument, msg=name):
                self.client.checkpoint(name)
        with self.assertRaises(wavefield.InvalidArgument):
            list(self.client.list("colour=red"))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            nobody = "127.0.0.1:%d" % taken.getsockname()[1]
            with wavefield.Client(nobody) as alone, self.assertRaisesRegex(wavefield.Unavailable, re.escape(nobody)):
                next(alone.watch("first"))

    def test_a_request_id_makes_one_job(self):
        ask = dict(overrides={"resources.world_size": 2}, request_id="of-this-test")
        job, again = self.client.submit(spec(), **ask), self.client.submit(spec(), **ask)
        self.assertEqual(job.uid, again.uid)
        with self.assertRaises(wavefield.WavefieldError) as raised:
            self.client.submit(spec(max_steps=41), **ask)
        self.assertIn("of-this-test", str(raised.exception))
        self.client.cancel(job)
        self.assertIn(wavefield.state_of(self.client.wait(job)), ("CANCELLED", "SUCCEEDED"))

    def test_a_cancelled_job_ends(self):
        job = self.client.submit(spec(max_steps=1000000), name="endless")
        next(update for update in self.client.watch(job) if update.steps)
        self.client.cancel("endless")
        self.assertEqual(wavefield.state_of(self.client.wait("endless")), "CANCELLED")
        self.assertEqual(wavefield.state_of(self.client.cancel("endless")), "CANCELLED")

    def test_a_closed_client_says_so(self):
        client = wavefield.Client(self.address)
        self.assertEqual(client.get("first").name, "jobs/first")
        changes = client.watch_all()
        next(changes)
        client.close()
        for ask in (lambda: client.get("first"), lambda: list(client.list()), lambda: client.wait("first"),
                    lambda: next(changes), lambda: list(client.generate("first", "a")),
                    lambda: client.create_dataset("closed", [__file__])):
            with self.assertRaisesRegex(wavefield.FailedPrecondition, "the client is closed"):
                ask()

    def test_a_watch_outlasts_a_restart_of_the_coordinator(self):
        job = self.client.submit(spec(max_steps=1000000), name="watched")
        restarted, steps, after = threading.Event(), [], None

        def restart():
            self.coordinator.kill()
            type(self).start_coordinator(self.address)
            restarted.set()
        thread = threading.Thread(target=restart)
        for update in self.client.watch(job):
            steps += [step.step for step in update.steps]
            if steps and thread.ident is None:
                thread.start()
            if restarted.is_set() and update.steps and after is None:
                after = steps[-1]
                self.client.cancel(job)
        thread.join()
        self.assertIsNotNone(after)
        self.assertEqual(steps, list(range(1, len(steps) + 1)))
        self.assertGreaterEqual(len(steps), after)
        ended = self.client.get(job)
        self.assertEqual((wavefield.state_of(ended), ended.restarts), ("CANCELLED", 0))
        self.assertEqual([row["step"] for row in self.client.metrics(job)], steps)
        wait_for("the worker", lambda: list(self.client.workers()))

    def test_the_readme_runs(self):
        text = (ROOT / "clients/python/README.md").read_text()
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
        done = subprocess.run([sys.executable, "-"], input="\n".join(blocks), text=True, capture_output=True,
                              timeout=120, cwd=self.directory, env=dict(os.environ, WAVEFIELD_ADDRESS=self.address))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("SUCCEEDED", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^30 \d")
        self.assertIn("training.batch_size –", done.stdout)
        self.assertTrue((self.directory / "model/manifest.json").exists())

    def test_pandas_may_be_missing(self):
        program = ("import sys; sys.modules['pandas'] = None\nimport wavefield\n"
                   "rows = wavefield.Client().metrics('first'); print(len(rows))\n"
                   "try: rows.to_pandas()\nexcept ImportError: print('no pandas')\n")
        done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=60,
                              env=dict(os.environ, WAVEFIELD_ADDRESS=self.address))
        self.assertEqual(done.stdout, "40\nno pandas\n", done.stderr)


class Tokens(ClusterTest):

    @classmethod
    def start_coordinator(cls, listen):
        cls.key, cls.certificate = cls.directory / "key.pem", cls.directory / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-keyout", cls.key, "-out", cls.certificate, "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        (cls.directory / "tokens").write_text("alice secret-of-alice-0123456789\n")
        cls.coordinator_flags = ("--tls-cert", cls.certificate, "--tls-key", cls.key,
                                 "--token-file", cls.directory / "tokens")
        super().start_coordinator(listen)

    @classmethod
    def start_worker(cls):
        pass  # What is asked here needs none.

    def test_the_right_token_is_let_in_and_others_are_not(self):
        with wavefield.Client(self.address, "secret-of-alice-0123456789", self.certificate) as client:
            self.assertEqual(list(client.list()), [])
        for token in (None, "guess-0123456789-guess"):
            with wavefield.Client(self.address, token, self.certificate) as client:
                for ask in (lambda: client.get("first"), lambda: next(client.watch("first"))):
                    with self.assertRaises(wavefield.Unauthenticated) as raised:
                        ask()
                    self.assertIn("token", str(raised.exception))
                    self.assertNotIn("guess", str(raised.exception))

    def test_without_tls_there_is_no_way_in(self):
        with wavefield.Client(self.address, timeout=5) as client, self.assertRaises(wavefield.Unavailable):
            client.get("first")

    def test_a_token_is_not_sent_in_the_clear(self):
        with self.assertRaisesRegex(wavefield.InvalidArgument, "ca=FILE"):
            wavefield.Client("coordinator.example:7070", "secret")


if __name__ == "__main__":
    unittest.main(verbosity=2)
