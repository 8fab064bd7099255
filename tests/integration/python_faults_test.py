"""The Python client and coordinators that go away, or behave as a real one does not."""

import concurrent.futures
import hashlib
import pathlib
import tempfile
import threading
import time
import unittest

import client_environment

if __name__ == "__main__":
    client_environment.run_inside(__file__)

import grpc
import wavefield
from wavefield.watching import retried


class Strange(unittest.TestCase):
    """What a real coordinator does not do, or not when it is asked to."""

    def serve(self, timeout=30.0, **methods):
        """A client of a coordinator that has these methods alone, by full name with __ for the dot."""
        def handler(name, behaviour):
            method = wavefield.api.method(*name.split("__"))
            request = wavefield.api.message_class(method.input_type.full_name)
            kind = getattr(grpc, f"unary_{'stream' if method.server_streaming else 'unary'}_rpc_method_handler")
            return grpc.method_handlers_generic_handler(method.containing_service.full_name, {
                method.name: kind(behaviour, request.FromString, lambda answer: answer.SerializeToString())})
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers([handler(*method) for method in methods.items()])
        client = wavefield.Client("127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0"), timeout=timeout)
        server.start()
        self.addCleanup(server.stop, None)
        self.addCleanup(client.close)
        return client

    def test_a_broken_connection_is_taken_up_again_while_that_helps(self):
        reached, ends = [0], iter([(5, wavefield.Unavailable), (5, wavefield.Aborted), (7, wavefield.Cancelled), (9, None)])

        def attempt():
            reached[0], error = next(ends)
            if error:
                raise error("gone")
            return "done"

        self.assertEqual(retried(attempt, lambda: reached[0]), "done")

        def fails():
            tries.append(time.monotonic())
            raise wavefield.Unavailable("disk failure")

        for connected in (False, True):
            tries = []
            with self.assertRaisesRegex(wavefield.Unavailable, "disk failure"):
                retried(fails, lambda: 3, connected=connected, retry_for=0.5)
            self.assertEqual(len(tries) > 1, connected)
            self.assertLess(tries[-1] - tries[0], 5)

    def test_a_submission_is_tried_again_under_one_request_id(self):
        ids = []

        def create(request, context):
            ids.append(request.request_id)
            if len(ids) < 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "away")
            return wavefield.api.Job(name="jobs/made")
        self.assertEqual(self.serve(JobService__CreateJob=create).submit("wave-field-test").name, "jobs/made")
        self.assertEqual((len(ids), len(set(ids))), (3, 1))
        self.assertRegex(ids[0], "[0-9a-f]{32}")

    def test_a_call_ends_at_its_deadline(self):
        answer = threading.Event()
        self.addCleanup(answer.set)
        client = self.serve(timeout=0.3, JobService__GetJob=lambda request, context: answer.wait())
        with self.assertRaises(wavefield.DeadlineExceeded):
            client.get("first")

    def test_a_watch_goes_on_from_its_revision(self):
        asked, api = [], wavefield.api

        def watch(request, context):
            asked.append((request.from_revision, request.include_history))
            if len(asked) == 1:
                yield api.WatchJobResponse(revision=7, job=api.Job(state=api.JobState.Value("JOB_STATE_RUNNING")))
                context.abort(grpc.StatusCode.UNAVAILABLE, "goes away")
            if len(asked) > 2:
                yield api.WatchJobResponse(revision=9, job=api.Job(state=api.JobState.Value("JOB_STATE_FAILED")))
        client = self.serve(JobService__WatchJob=watch)
        updates = list(client.watch("first"))
        self.assertEqual([update.revision for update in updates], [7, 9])
        self.assertEqual(asked, [(0, True), (7, False), (7, False)])
        self.assertEqual(next(client.watch("first", from_revision=8)).revision, 9)
        self.assertEqual(asked[-1], (8, False))

    def test_logs_outlive_a_coordinator_that_goes_away_before_the_first_line(self):
        asked, api = [], wavefield.api

        def read(request, context):
            asked.append(request.cursor)
            if len(asked) < 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "goes away")
            yield api.ReadLogsResponse(cursor="c", lines=[api.LogLine(text="first")])
        client = self.serve(JobService__GetJob=lambda request, context: api.Job(name=request.name),
                            JobService__ReadLogs=read)
        self.assertEqual([line.text for line in client.logs("a", follow=True)], ["first"])
        self.assertEqual(asked, ["", "", ""])

    def test_a_wait_ends_at_its_timeout(self):
        api, ended = wavefield.api, threading.Event()
        self.addCleanup(ended.set)

        def watch(request, context):
            if request.name == "jobs/away":
                context.abort(grpc.StatusCode.UNAVAILABLE, "goes away")
            yield api.WatchJobResponse(revision=1, job=api.Job(state=api.JobState.Value("JOB_STATE_RUNNING")))
            if request.name == "jobs/breaks":
                context.abort(grpc.StatusCode.UNAVAILABLE, "goes away")
            ended.wait()
        client, start = self.serve(JobService__WatchJob=watch), time.monotonic()
        for job in ("runs", "breaks"):
            said = f"jobs/{job} did not end within 0.5 s: it was RUNNING"
            with self.assertRaisesRegex(wavefield.DeadlineExceeded, said):
                client.wait(job, timeout=0.5)
        with self.assertRaisesRegex(wavefield.DeadlineExceeded, "nothing was heard"):
            client.wait("runs", timeout=0)
        self.assertLess(time.monotonic() - start, 10)
        with self.assertRaises(wavefield.Unavailable):
            client.wait("away", timeout=20)

    def test_a_watch_gives_up_in_time(self):
        def watch(request, context):
            yield wavefield.api.WatchJobResponse(revision=7)
            context.abort(grpc.StatusCode.UNAVAILABLE, "goes away")
        updates = self.serve(JobService__WatchJob=watch).watch("first", reconnect_for=-1)
        self.assertEqual(next(updates).revision, 7)
        with self.assertRaisesRegex(wavefield.Unavailable, "from_revision=7"):
            next(updates)

    def download(self, path, sent, announced=b"content", offset=0):
        api = wavefield.api
        file = api.CheckpointFile(path=path, bytes=len(announced), sha256=hashlib.sha256(announced).hexdigest())
        checkpoint = api.Checkpoint(name="jobs/a/checkpoints/1-1", files=[file])

        def stream(request, context):
            yield api.DownloadCheckpointResponse(checkpoint=checkpoint)
            yield api.DownloadCheckpointResponse(path=path, offset=offset, data=sent)
        client = self.serve(CheckpointService__GetCheckpoint=lambda request, context: checkpoint,
                            CheckpointService__DownloadCheckpoint=stream)
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "in/here"
        try:
            client.download("a", folder)
        finally:
            self.found = sorted(found.name for found in folder.parent.parent.glob("**/*") if found.is_file())
        return (folder / path).read_bytes()

    def test_a_download_stays_in_its_folder(self):
        self.assertEqual(self.download("part/weights", b"content"), b"content")
        for path in ("../weights", "/tmp/weights", "a/../../b", "", "a//b", "./a", "a\\b", "a\nb", "x" * 600):
            with self.assertRaisesRegex(wavefield.DataLoss, "nothing is written", msg=path):
                self.download(path, b"content")
            self.assertEqual(self.found, [])

    def test_wrong_bytes_are_not_taken(self):
        for sent, offset in ((b"CONTENT", 0), (b"content and more", 0), (b"ontent", 1), (b"cont", 0)):
            with self.assertRaises(wavefield.DataLoss, msg=sent):
                self.download("weights", sent, offset=offset)
            self.assertNotIn("weights", self.found)


if __name__ == "__main__":
    unittest.main(verbosity=2)
