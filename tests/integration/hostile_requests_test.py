"""Requests that are malformed or mean harm: each gets a precise error, nothing is lost, nothing leaks."""

import os
import random
import secrets
import socket
import unittest

import client_environment

if __name__ == "__main__":
    client_environment.run_inside(__file__)

import grpc
import wavefield
from cluster import ClusterTest, fresh_seed
from wavefield import api

LONG = "a" * 100_000
BAD_IDS = ["", "..", "../../etc/passwd", "A", "1st", "a b", "a\nb", "a\0b", "a/b", "-a", "ä", "a" * 64, LONG, "%s%s%n",
           "'; DROP TABLE jobs; --", "\u202ea", "\u009b31ma"]
BAD_FILTERS = ["state", "state=", "=RUNNING", "state=SLEEPING", "state<RUNNING", "nothing=1", "priority=high", "priority>>1",
               "priority=1 AND", "AND", "priority=1 OR priority=2", 'name="open', "create_time>yesterday", "labels.=a",
               "priority=1e999", "(" * 1000, "name=" + LONG, " AND ".join(["priority=1"] * 1000), "\0", "state=RUNNING;--",
               "state=RUNNING)"]
BAD_TOKENS = ["x", LONG, "AAAA", "\0", "../../x", "MTIzNDU2Nzg5MA=="]
BAD_ORDERS = ["nothing", "name up", "name desc desc", "name, priority", LONG, "\0"]
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "ALREADY_EXISTS", "OUT_OF_RANGE",
            "RESOURCE_EXHAUSTED"}


def job_spec(**fields):
    spec = {"model": {"preset": "wave-field-test"}, "dataset": "datasets/words", "training": {"max_steps": 3}}
    for path, value in fields.items():
        *groups, last = path.split("__")
        target = spec
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = value
    return spec


BAD_SPECS = [  # what is wrong with it, and the spec
    ("model", {}),
    ("dataset", job_spec(dataset="datasets/none")),
    ("dataset", job_spec(dataset="../../etc")),
    ("dataset", job_spec(dataset=LONG)),
    ("preset", job_spec(model__preset="gpt-9")),
    ("preset", job_spec(model__preset=LONG)),
    ("d_model", job_spec(model__d_model=-1)),
    ("d_model", job_spec(model__d_model=2**31 - 1)),
    ("n_layers", job_spec(model__n_layers=0)),
    ("n_layers", job_spec(model__n_layers=2**31 - 1)),
    ("n_heads", job_spec(model__n_heads=7)),
    ("d_ff", job_spec(model__d_ff=-5)),
    ("vocab_size", job_spec(model__vocab_size=3)),
    ("vocab_size", job_spec(model__vocab_size=2**31 - 1)),
    ("attention_layers", job_spec(model__attention_layers=[99])),
    ("attention_layers", job_spec(model__attention_layers=[0] * 5000)),
    ("form", job_spec(model__form="quantum")),
    ("damping", job_spec(model__damping="none")),
    ("batch_size", job_spec(training__batch_size=0)),
    ("batch_size", job_spec(training__batch_size=2**31 - 1)),
    ("sequence_length", job_spec(training__sequence_length=0)),
    ("sequence_length", job_spec(training__sequence_length=2**31 - 1)),
    ("max_steps", job_spec(training__max_steps=-1)),
    ("max_steps", job_spec(training__max_steps=2**63 - 1)),
    ("max_minutes", job_spec(training__max_minutes=float("nan"))),
    ("max_minutes", job_spec(training__max_minutes=float("inf"))),
    ("max_minutes", job_spec(training__max_minutes=-3.0)),
    ("learning_rate", job_spec(training__schedule__learning_rate=float("nan"))),
    ("learning_rate", job_spec(training__schedule__learning_rate=-1.0)),
    ("kind", job_spec(training__schedule__kind="zigzag")),
    ("beta1", job_spec(training__optimizer__beta1=1.5)),
    ("epsilon", job_spec(training__optimizer__epsilon=float("-inf"))),
    ("dropout", job_spec(training__dropout=1.0)),
    ("precision", job_spec(training__precision="fp4")),
    ("device", job_spec(resources__device="abacus")),
    ("world_size", job_spec(resources__world_size=0)),
    ("world_size", job_spec(resources__world_size=2**31 - 1)),
    ("min_world_size", job_spec(resources__min_world_size=-1)),
    ("keep_last", job_spec(checkpoint__keep_last=0)),
    ("keep_every_steps", job_spec(checkpoint__keep_every_steps=-1)),
    ("keep_every_hours", job_spec(checkpoint__keep_every_hours=float("nan"))),
    ("keep_best", job_spec(checkpoint__keep_best=-1)),
    ("every_minutes", job_spec(checkpoint__every_minutes=float("inf"))),
    ("max_restarts", job_spec(restart__max_restarts=-1)),
    ("priority", job_spec(priority=2**31 - 1)),
    ("labels", job_spec(labels={"a b": "c"})),
    ("labels", job_spec(labels={"a": LONG})),
    ("labels", job_spec(labels={f"k{i}": "v" for i in range(1000)})),
    ("init_from", job_spec(init_from="jobs/kept/checkpoints/999")),
    ("init_from", job_spec(init_from="../../etc/passwd")),
    ("after", job_spec(after=[{"job": "jobs/none"}])),
    ("after", job_spec(after=[{"job": "jobs/kept", "on": "whim"}])),
    ("after", job_spec(after=[{"job": "jobs/kept"}] * 5000)),
]


class HostileRequests(ClusterTest):

    @classmethod
    def setUpClass(cls):
        cls.token = secrets.token_hex(24)
        cls.token_file = None
        super().setUpClass()
        cls.client = wavefield.Client(cls.address, token=cls.token)
        cls.addClassCleanup(cls.client.close)
        text = cls.directory / "words.txt"
        text.write_text("The tide comes in and the tide goes out.\n" * 300)
        cls.client.create_dataset("words", [text], tokenizer="bytes", validation_fraction=0.1)
        cls.client.submit(job_spec(), name="kept")
        cls.client.wait("kept")
        cls.channel = grpc.insecure_channel(cls.address, options=[("grpc.max_send_message_length", -1)])
        cls.addClassCleanup(cls.channel.close)
        cls.asked = 0

    @classmethod
    def start_coordinator(cls, listen):
        cls.token_file = cls.directory / "tokens"
        cls.token_file.write_text(f"tester {cls.token}\n")
        os.chmod(cls.token_file, 0o600)
        os.environ["WAVEFIELD_TOKEN_FILE"] = str(cls.token_file)
        super().start_coordinator(listen)

    @classmethod
    def tearDownClass(cls):
        del os.environ["WAVEFIELD_TOKEN_FILE"]
        print(f"{cls.asked} hostile requests", flush=True)
        assert cls.asked >= 200, cls.asked

    def setUp(self):
        self.before = self.everything()

    def tearDown(self):
        self.assertIsNone(self.coordinator.process.poll(), "the coordinator is gone")
        self.assertEqual(self.everything(), self.before)

    def everything(self):
        """All that could be lost."""
        return ([job.SerializeToString(deterministic=True) for job in self.client.list()],
                [found.SerializeToString(deterministic=True) for found in self.client.checkpoints()],
                [found.SerializeToString(deterministic=True) for found in self.client.datasets()],
                sorted(worker.name for worker in self.client.workers()),
                {str(path): path.stat().st_size for path in (self.directory / "storage").rglob("*") if path.is_file()})

    def refused(self, method, request, codes=REFUSALS, names="", least=10):
        """The error of a call, in all its parts as text; `names` is what it must speak of."""
        type(self).asked += 1
        descriptor = api.method(*method.split("."))
        path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        kind = "stream" if descriptor.client_streaming else "unary"
        kind += "_stream" if descriptor.server_streaming else "_unary"
        call = getattr(self.channel, kind)(path, request_serializer=lambda raw: raw, response_deserializer=lambda raw: raw)
        if isinstance(request, dict):
            request = api.message_class(descriptor.input_type.full_name)(**request).SerializeToString()
        sent = iter([request]) if descriptor.client_streaming else request
        try:
            answer = call(sent, timeout=20, metadata=[("authorization", f"Bearer {self.token}")])
            if descriptor.server_streaming:
                answer = list(answer)
        except grpc.RpcError as error:
            said = wavefield.errors.from_rpc(error, self.address)
            text = f"{error.details()} {said}"
            self.assertIn(error.code().name, codes, f"{method}: {text[:300]}")
            self.assertGreaterEqual(len(error.details()), least, method)
            self.assertLess(len(text), 20_000, "an error repeats what was sent at full length")
            self.assertIn(names, text)
            for secret in (self.token, str(self.directory), "sqlite", "SELECT"):
                self.assertNotIn(secret, text)
            self.assertFalse(any((ord(c) < 32 or 0x7f <= ord(c) < 0xa0) and c not in "\n\t" for c in text), repr(text[:300]))
            return text
        self.fail(f"{method} took {str(request)[:200]} and answered {str(answer)[:200]}")

    def test_names(self):
        for bad in BAD_IDS:
            for method in ("GetJob", "CancelJob", "PauseJob", "ResumeJob", "DeleteJob", "ExplainJob"):
                self.refused(f"JobService.{method}", {"name": f"jobs/{bad}"})
            self.refused("CheckpointService.GetCheckpoint", {"name": f"jobs/{bad}/checkpoints/1"})
            self.refused("CheckpointService.DeleteCheckpoint", {"name": f"jobs/kept/checkpoints/{bad or '-'}"})
            self.refused("CheckpointService.DownloadCheckpoint", {"name": f"jobs/kept/checkpoints/{bad or '-'}"})
            self.refused("WorkerService.CordonWorker", {"name": f"workers/{bad}"})
            self.refused("DatasetService.GetDataset", {"name": f"datasets/{bad}"})
            if bad:
                self.refused("JobService.CreateJob", {"job_id": bad, "spec": job_spec()}, {"INVALID_ARGUMENT"}, "job_id")
        for other in ("workers/w1", "kept", "jobs/kept/checkpoints/3", "jobs/kept/", "/jobs/kept", "Jobs/kept"):
            self.refused("JobService.GetJob", {"name": other}, {"INVALID_ARGUMENT"})

    def test_filters_orders_and_pages(self):
        lists = {"JobService.ListJobs": {}, "CheckpointService.ListCheckpoints": {"parent": "jobs/-"},
                 "AuditService.ListAuditEntries": {}}
        for method, request in lists.items():
            for bad in BAD_FILTERS:
                self.refused(method, {**request, "filter": bad}, {"INVALID_ARGUMENT"}, "filter")
            for bad in BAD_TOKENS:
                self.refused(method, {**request, "page_token": bad}, {"INVALID_ARGUMENT"}, "page_token")
            self.refused(method, {**request, "page_size": -1}, {"INVALID_ARGUMENT"}, "page_size")
            if "Audit" not in method:
                for bad in BAD_ORDERS:
                    self.refused(method, {**request, "order_by": bad}, {"INVALID_ARGUMENT"}, "order_by")
        for method, request in {"JobService.CancelJobs": {}, "JobService.WatchJobs": {},
                                "CheckpointService.DeleteCheckpoints": {"parent": "jobs/-"}}.items():
            for bad in BAD_FILTERS:
                self.refused(method, {**request, "filter": bad}, {"INVALID_ARGUMENT"}, "filter")
        self.refused("JobService.CancelJobs", {"filter": ""}, {"INVALID_ARGUMENT"}, "filter")
        self.refused("CheckpointService.DeleteCheckpoints", {"parent": "jobs/-", "filter": ""}, {"INVALID_ARGUMENT"}, "filter")

    def test_specifications(self):
        for names, spec in BAD_SPECS:
            with self.subTest(names=names):
                self.refused("JobService.CreateJob", {"job_id": "bad", "spec": spec}, {"INVALID_ARGUMENT"}, names)
        array = [{"job_id": "good", "spec": job_spec()}, {"job_id": "bad", "spec": BAD_SPECS[-1][1]}]
        self.refused("JobService.BatchCreateJobs", {"requests": array}, {"INVALID_ARGUMENT"}, "requests[1]")
        self.refused("JobService.BatchCreateJobs", {"requests": []}, {"INVALID_ARGUMENT"}, "requests")
        twice = [{"job_id": "same", "spec": job_spec()}] * 2
        self.refused("JobService.BatchCreateJobs", {"requests": twice}, names="same")
        many = [{"spec": job_spec()}] * 1001
        self.refused("JobService.BatchCreateJobs", {"requests": many}, {"INVALID_ARGUMENT"}, "1000")

    def test_changes(self):
        update = "JobService.UpdateJob"
        for path in ("", "spec", "name", "spec.dataset", "spec.model.d_model", "state", "spec.training.seed", LONG, "\0", "*"):
            self.refused(update, {"job": {"name": "jobs/kept", "spec": job_spec()}, "update_mask": {"paths": [path]}},
                         {"INVALID_ARGUMENT"}, "update_mask")
        self.refused(update, {"job": {"name": "jobs/kept"}}, {"INVALID_ARGUMENT"}, "update_mask")
        self.refused(update, {"job": {"name": "jobs/kept", "spec": {"priority": 9999}},
                              "update_mask": {"paths": ["spec.priority"]}}, {"INVALID_ARGUMENT"}, "priority")
        self.refused(update, {"job": {"name": "jobs/kept", "spec": {"priority": 1}}, "etag": "stale",
                              "update_mask": {"paths": ["spec.priority"]}}, {"ABORTED", "FAILED_PRECONDITION"})
        pin = "CheckpointService.UpdateCheckpoint"
        for path in ("", "name", "bytes", "files", "directory", LONG):
            self.refused(pin, {"checkpoint": {"name": "jobs/kept/checkpoints/3"}, "update_mask": {"paths": [path]}},
                         {"INVALID_ARGUMENT"}, "update_mask")
        self.refused(pin, {"checkpoint": {"name": "jobs/kept/checkpoints/3", "note": "x" * 5000},
                           "update_mask": {"paths": ["note"]}}, {"INVALID_ARGUMENT"}, "note")
        self.refused("CheckpointService.DiffCheckpoints", {"a": "jobs/kept/checkpoints/3", "b": "x"})
        self.refused("CheckpointService.GetLineage", {"name": "x"})
        self.refused("CheckpointService.CollectGarbage", {"parent": "jobs/none"})
        self.refused("CheckpointService.CollectGarbage", {"parent": "x"})
        self.refused("JobService.ReadLogs", {"name": "jobs/none"})
        self.refused("JobService.ReadLogs", {"name": "jobs/kept", "rank": -1}, {"INVALID_ARGUMENT"}, "rank")
        self.refused("JobService.ReadLogs", {"name": "jobs/kept", "tail": -1}, {"INVALID_ARGUMENT"}, "tail")
        self.refused("JobService.ReadLogs", {"name": "jobs/kept", "cursor": LONG}, {"INVALID_ARGUMENT"}, "cursor")

    def test_uploads(self):
        def begin(manifest, job_id="evil"):
            return {"begin": {"job_id": job_id, "manifest": manifest}}
        upload = "CheckpointService.UploadCheckpoint"
        manifest = next((self.directory / "storage").rglob("manifest.json")).read_bytes()
        self.refused(upload, {"chunk": {"path": "x", "data": b"x"}})
        self.refused(upload, begin(b""))
        self.refused(upload, begin(b"{" * 100_000))
        self.refused(upload, begin(b"[]"))
        self.refused(upload, begin(b"\xff" * 1000))
        self.refused(upload, begin(b"x" * ((4 << 20) + 1)))
        self.refused(upload, begin(manifest.replace(b"model-", b"../../")))
        self.refused(upload, begin(manifest, job_id="../evil"))
        self.refused(upload, begin(manifest, job_id="kept"), {"ALREADY_EXISTS"})
        uploads = self.directory / "storage/uploads"
        uploads.touch()  # where a directory has to be
        try:
            self.refused(upload, begin(manifest), {"NOT_FOUND"}, "STORAGE_ROOT/uploads")
        finally:
            uploads.unlink()

    def test_workers_that_are_none(self):
        register = {"worker_id": "evil", "incarnation": "1", "address": "127.0.0.1", "device": "cpu", "slots": 1,
                    "threads_per_slot": 1, "storage_probe": "wrong"}
        for change in ({}, {"worker_id": "../x"}, {"worker_id": LONG}, {"slots": -1}, {"slots": 2**31 - 1},
                       {"device": LONG}, {"incarnation": LONG}, {"gpus": [{}] * 1000}):
            self.refused("WorkerService.RegisterWorker", {**register, **change})
        for method in ("Heartbeat", "WatchAssignments", "ReportEvents", "ReportLogs"):
            self.refused(f"WorkerService.{method}", {"name": "workers/none", "incarnation": "1"})
            self.refused(f"WorkerService.{method}", {"name": "workers/w1", "incarnation": "another"})
        self.refused("WorkerService.SetRendezvous", {"job": "jobs/kept", "epoch": 1, "key": "k" * 1000, "value": b"x"})
        self.refused("WorkerService.SetRendezvous", {"job": "jobs/kept", "epoch": 1, "key": "k", "value": b"x" * 100_000})
        self.refused("WorkerService.SetRendezvous", {"job": "jobs/none", "epoch": 1, "key": "k", "value": b"x"})

    def test_inference(self):
        for request in ({"checkpoint": "jobs/none/checkpoints/latest"}, {"checkpoint": "x"},
                        {"checkpoint": "jobs/kept/checkpoints/3", "dataset": "datasets/none"},
                        {"checkpoint": "jobs/kept/checkpoints/3", "max_tokens": -1},
                        {"checkpoint": "jobs/kept/checkpoints/3", "token_ids": [-5, 3]}):
            self.refused("InferenceService.Evaluate", request)
        for change in ({"max_tokens": -1}, {"max_tokens": 2**31 - 1}, {"temperature": float("nan")}, {"temperature": -1.0},
                       {"prompt": "x" * (5 << 20)}):
            self.refused("InferenceService.Generate",
                         {"checkpoint": "jobs/kept/checkpoints/3", "prompt": "a", "max_tokens": 3, **change})

    def test_bytes_that_are_no_message(self):
        rng = random.Random(fresh_seed())
        for method in api.methods():
            if method.client_streaming:
                continue
            # Field 1 with wire type 2 and more bytes than there are.
            garbage = b"\x0a\xff\xff\xff\xff\x0f" + rng.randbytes(40)
            # gRPC itself refuses what does not parse, and says no more.
            self.refused(f"{method.containing_service.name}.{method.name}", garbage, {"INTERNAL", "UNIMPLEMENTED"},
                         least=0)
        self.refused("JobService.GetJob", {"name": "x" * (9 << 20)}, {"RESOURCE_EXHAUSTED"})
        host, port = self.address.rsplit(":", 1)
        for sent in (rng.randbytes(4096), b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(4096)):
            type(self).asked += 1
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    def test_calls_that_do_not_exist(self):
        for path in ("/wavefield.v1.JobService/Nothing", "/wavefield.v1.Nothing/GetJob", "/" + LONG[:4000]):
            type(self).asked += 1
            with self.assertRaises(grpc.RpcError) as refused:
                self.channel.unary_unary(path)(b"", timeout=10, metadata=[("authorization", f"Bearer {self.token}")])
            self.assertIn(refused.exception.code().name, {"UNIMPLEMENTED", "PERMISSION_DENIED"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
