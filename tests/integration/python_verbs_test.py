"""What one does with jobs and checkpoints, through the Python client and against the real programs."""

import datetime
import json
import pathlib
import shutil
import threading
import unittest

import client_environment

if __name__ == "__main__":
    client_environment.run_inside(__file__)

import wavefield
from cluster import ClusterTest, wait_for
from wavefield import api


def spec(**fields):
    return {"model": {"preset": "wave-field-test"}, "dataset": "words",
            "training": {"max_steps": 40, "sequence_length": 32, "batch_size": 4, **fields.pop("training", {})},
            **fields}


LONG = {"max_steps": 100000, "schedule": {"kind": "constant"}}


class Verbs(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = wavefield.Client(cls.address)
        cls.addClassCleanup(cls.client.close)
        text = cls.directory / "words.txt"
        text.write_text("The tide comes in and the tide goes out.\nA wave is a memory of the wind.\n" * 300)
        progress = []
        cls.dataset = cls.client.create_dataset("words", [text], tokenizer="bytes", validation_fraction=0.1,
                                                on_progress=progress.append)
        assert progress

    def state(self, job):
        return wavefield.state_of(self.client.get(job))

    def wait_for_state(self, job, state):
        try:
            wait_for(f"{job} to be {state}", lambda: self.state(job) == state)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.client.explain(job)}\n{self.logs()}") from None

    def wait_for_step(self, job, step):
        wait_for(f"step {step} of {job}", lambda: self.client.get(job).last_step.step >= step)

    def hold_all_slots(self, name):
        self.client.submit(spec(training=LONG, resources={"world_size": 2}), name=name)
        self.addCleanup(lambda: (self.client.cancel(name), self.client.wait(name)))
        self.wait_for_state(name, "RUNNING")

    # ---- jobs

    def test_a_dataset_of_the_same_files_is_the_same(self):
        again = self.client.create_dataset("words", [self.directory / "words.txt"], tokenizer="bytes",
                                           validation_fraction=0.1)
        self.assertEqual(again.content_hash, self.dataset.content_hash)
        with self.assertRaises(wavefield.AlreadyExists):
            self.client.create_dataset("words", [self.directory / "words.txt"], tokenizer="bytes",
                                       validation_fraction=0.2)

    def test_options_of_datasets_that_do_not_fit_are_all_named(self):
        with self.assertRaises(wavefield.InvalidArgument) as refused:
            self.client.create_dataset("other", [self.directory / "words.txt"], vocab=300, validation_fraction="a lot")
        self.assertEqual([found.field for found in refused.exception.violations],
                         ["options.vocab", "options.validation_fraction"])
        self.assertIn("did you mean 'vocab_size'?", str(refused.exception))

    def test_a_paused_job_goes_on_to_the_same_bits(self):
        budget = {"max_steps": 300, "sequence_length": 256, "batch_size": 16}
        self.client.submit(spec(training=budget), name="straight")
        self.assertEqual(wavefield.state_of(self.client.wait("straight")), "SUCCEEDED", self.logs())
        self.client.submit(spec(training=budget), name="broken-off")
        self.wait_for_step("broken-off", 5)
        self.client.pause("broken-off")
        self.wait_for_state("broken-off", "PAUSED")
        self.assertEqual(list(self.client.get("broken-off").placements), [])
        self.client.pause("broken-off")  # once more changes nothing
        paused_at = self.client.get("broken-off").last_step.step
        self.client.resume("broken-off")
        self.assertEqual(wavefield.state_of(self.client.wait("broken-off")), "SUCCEEDED", self.logs())
        self.assertLess(paused_at, 300)
        rows = [[(row["step"], row["loss"]) for row in self.client.metrics(name)]
                for name in ("straight", "broken-off")]
        self.assertEqual(rows[0], rows[1])
        self.assertEqual(self.checkpoint_files("straight", 300), self.checkpoint_files("broken-off", 300))

    def test_a_job_is_changed_and_what_may_not_change_does_not(self):
        self.hold_all_slots("in-the-way")
        self.client.submit(spec(training=LONG), name="huge")
        job = self.client.update("huge", priority=7, labels={"team": "a"}, checkpoint__keep_last=5)
        self.assertEqual((job.spec.priority, dict(job.spec.labels), job.spec.checkpoint.keep_last),
                         (7, {"team": "a"}, 5))
        with self.assertRaises(wavefield.InvalidArgument) as refused:
            self.client.update("huge", training__batch_size=8)
        self.assertIn("batch_size", str(refused.exception))
        with self.assertRaises(wavefield.InvalidArgument):
            self.client.update("huge", priority=5000)
        self.assertEqual([found.name for found in self.client.list("labels.team=a AND priority>=7")], ["jobs/huge"])
        with self.assertRaises(wavefield.FailedPrecondition):
            self.client.delete("huge")
        self.client.cancel("huge")
        self.client.delete("huge")
        with self.assertRaises(wavefield.NotFound):
            self.client.get("huge")

    def test_a_grid_is_all_or_nothing(self):
        bad = {"training.max_steps": [5, -1]}
        with self.assertRaises(wavefield.InvalidSpec) as refused:
            self.client.submit_grid(spec(), bad, name="bad")
        self.assertIn("requests[1]", refused.exception.violations[0].field)
        self.assertEqual(list(self.client.list("labels.array=bad")), [])
        jobs = self.client.submit_grid(spec(), {"training.max_steps": [5, 6], "training.seed": [1, 2]}, name="grid")
        self.assertEqual([job.name for job in jobs], [f"jobs/grid-{i}" for i in range(4)])
        self.assertEqual([(job.spec.training.max_steps, job.spec.training.seed) for job in jobs],
                         [(5, 1), (5, 2), (6, 1), (6, 2)])
        for job in jobs:
            self.assertEqual(wavefield.state_of(self.client.wait(job)), "SUCCEEDED", self.logs())
        listed = [job.name for job in self.client.list("labels.array=grid", order_by="name")]
        self.assertEqual(listed, [job.name for job in jobs])

    def test_explain_says_what_a_job_waits_for_and_why_one_failed(self):
        self.hold_all_slots("holder")
        self.client.submit(spec(training=LONG, resources={"world_size": 2}), name="wide")
        blocker = wait_for("a blocker", lambda: self.client.explain("wide").blockers)[0]
        self.assertEqual(api.Blocker.Kind.Name(blocker.kind), "SLOTS_HELD")
        self.assertEqual((blocker.needed, blocker.available, list(blocker.resources)), (2, 0, ["jobs/holder"]))
        self.client.submit(spec(training={"max_steps": 1}, after=[{"job": "wide"}]), name="then")
        blocker = wait_for("a blocker", lambda: self.client.explain("then").blockers)[0]
        self.assertEqual(api.Blocker.Kind.Name(blocker.kind), "DEPENDENCY")
        self.assertEqual(list(blocker.resources), ["jobs/wide"])
        self.assertEqual([entry.job for entry in self.client.queue()], ["jobs/wide"])
        self.client.cancel("wide")
        self.assertEqual(wavefield.state_of(self.client.wait("then")), "FAILED")
        cause = self.client.explain("then").root_cause
        self.assertEqual(api.RootCause.Kind.Name(cause.kind), "DEPENDENCY_FAILED")
        self.assertTrue(cause.advice)

    def test_a_wait_that_takes_too_long_leaves_the_job_alone(self):
        self.client.submit(spec(training=LONG), name="waited-for")
        with self.assertRaisesRegex(wavefield.DeadlineExceeded, "jobs/waited-for did not end within 1 s"):
            self.client.wait("waited-for", timeout=1)
        self.assertFalse(wavefield.has_ended(self.client.get("waited-for")))
        self.client.cancel("waited-for")
        self.assertEqual(wavefield.state_of(self.client.wait("waited-for", timeout=60)), "CANCELLED")

    def test_bulk_cancel_shows_first_and_a_watch_of_all_sees_it(self):
        seen, reader = {}, wavefield.Client(self.address)
        self.addCleanup(reader.close)

        def read():
            for update in reader.watch_all("labels.batch=x"):
                for job in update.jobs:
                    seen[job.name] = wavefield.state_of(job)
                if list(seen.values()).count("CANCELLED") == 2:
                    return

        self.hold_all_slots("blocks")
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        for name in ("one", "two"):
            self.client.submit(spec(training=LONG, labels={"batch": "x"}), name=name)
        would = self.client.cancel_all("labels.batch=x", validate_only=True)
        self.assertEqual(sorted(job.name for job in would), ["jobs/one", "jobs/two"])
        self.assertEqual(self.state("one"), "QUEUED")
        self.client.cancel_all("labels.batch=x")
        thread.join(30)
        self.assertFalse(thread.is_alive())
        self.assertEqual(seen, {"jobs/one": "CANCELLED", "jobs/two": "CANCELLED"})
        with self.assertRaises(wavefield.InvalidArgument):
            self.client.cancel_all("")

    def test_logs_are_kept_after_the_end(self):
        self.client.submit(spec(training={"max_steps": 3}, resources={"world_size": 2}), name="talks")
        lines = list(self.client.logs("talks", follow=True))
        self.assertEqual({line.rank for line in lines}, {0, 1})
        self.assertEqual([(line.rank, line.text) for line in self.client.logs("talks")],
                         [(line.rank, line.text) for line in lines])
        self.assertTrue(all(line.rank == 1 for line in self.client.logs("talks", rank=1)))
        self.assertEqual(len(list(self.client.logs("talks", tail=1))), 1)
        future = datetime.timedelta(seconds=-3600)
        self.assertEqual(list(self.client.logs("talks", since=future)), [])
        for since in ("1h", 3600, datetime.date.today()):
            with self.assertRaisesRegex(wavefield.InvalidArgument, "a datetime, or a timedelta"):
                list(self.client.logs("talks", since=since))

    # ---- checkpoints

    def test_checkpoints_are_kept_checked_moved_compared_and_removed(self):
        self.client.submit(spec(checkpoint={"every_steps": 10, "keep_last": 4}), name="tree")
        self.assertEqual(wavefield.state_of(self.client.wait("tree")), "SUCCEEDED", self.logs())
        steps = [found.step for found in self.client.checkpoints("tree", order_by="step")]
        self.assertEqual(steps, [10, 20, 30, 40])
        self.assertEqual([found.step for found in self.client.checkpoints("tree", filter="step>=30")], [40, 30])

        pinned = self.client.pin("tree@10", note="the first one")
        self.assertTrue(pinned.pinned)
        self.assertEqual(pinned.note, "the first one")
        with self.assertRaises(wavefield.FailedPrecondition) as refused:
            self.client.delete_checkpoint("tree@10")
        self.assertIn("pinned", refused.exception.message)
        for job in ("tree", "jobs/tree", self.client.get("tree")):
            with self.assertRaisesRegex(wavefield.InvalidArgument, "names no checkpoint: write tree@STEP"):
                self.client.delete_checkpoint(job)
        twenty = self.client.checkpoint("tree@20")
        for named in ("tree@20", twenty.name, twenty):
            self.assertEqual(self.client.delete_checkpoint(named, validate_only=True).step, 20)
        decisions = self.client.delete_checkpoints("step<30", "tree", validate_only=True)
        self.assertEqual([(found.checkpoint.step, found.removed) for found in decisions], [(20, True), (10, False)])
        self.client.delete_checkpoints("step<30", "tree")
        self.assertEqual([found.step for found in self.client.checkpoints("tree")], [40, 30, 10])

        difference = self.client.diff("tree@10", "tree@40")
        self.assertGreater(difference.relative_distance, 0)
        self.assertTrue(all(tensor.shape_a == tensor.shape_b for tensor in difference.tensors))

        self.client.submit(spec(training={"max_steps": 5, "seed": 9}, init_from="jobs/tree/checkpoints/40"),
                           name="fork")
        self.assertEqual(wavefield.state_of(self.client.wait("fork")), "SUCCEEDED", self.logs())
        first = self.client.metrics("fork")[0]["loss"]
        self.assertLess(first, self.client.metrics("tree")[0]["loss"])
        nodes = {node.name: node for node in self.client.lineage("fork")}
        forked = [node for node in nodes.values() if node.fork]
        self.assertEqual(len(forked), 1)
        self.assertEqual(nodes[forked[0].parent].step, 40)

        target = self.directory / "copy"
        self.client.download("tree@40", target)
        uploaded = self.client.upload(target, "from-elsewhere", note="brought")
        self.assertEqual((uploaded.step, uploaded.note), (40, "brought"))
        self.assertEqual(self.client.upload(target, "from-elsewhere", note="brought").name, uploaded.name)
        self.assertAlmostEqual(self.client.evaluate("from-elsewhere", dataset="words").loss,
                               self.client.evaluate("tree@40", dataset="words").loss, places=6)

        self.assertEqual(self.client.verify("tree@30").damage, "")
        catalogued = self.client.checkpoint("tree@30")
        shard = next(self.directory.glob(f"storage/{catalogued.directory}/model-*.safetensors"))
        data = bytearray(shard.read_bytes())
        data[-1] ^= 1
        shard.write_bytes(data)
        self.assertIn(shard.name, self.client.verify("tree@30").damage)
        self.assertEqual([found.step for found in self.client.checkpoints("tree", filter="damaged=true")], [30])
        with self.assertRaisesRegex(wavefield.DataLoss, f"is damaged .*{shard.name}.* take another checkpoint"):
            self.client.download("tree@30", self.directory / "damaged")

        orphan = self.directory / "storage/checkpoints/nobody/000000000001-1"
        orphan.mkdir(parents=True)
        (orphan / "left-over").write_bytes(b"x" * 100)
        found = self.client.collect_garbage(validate_only=True)
        self.assertTrue(all(decision.reason for decision in found.decisions))
        self.assertTrue(any("nobody" in lost.directory for lost in found.orphans), found.orphans)
        self.client.collect_garbage()
        self.assertTrue(orphan.exists())

    def test_a_checkpoint_that_is_not_whole_is_refused_before_it_is_sent(self):
        target = self.directory / "torn"
        self.client.submit(spec(training={"max_steps": 2}), name="small")
        self.client.wait("small")
        self.client.download("small", target)
        shutil.copytree(target, self.directory / "evil")
        shard = next(pathlib.Path(target).glob("model-*.safetensors"))
        shard.write_bytes(shard.read_bytes()[:-10])
        with self.assertRaises(wavefield.InvalidArgument):
            self.client.upload(target, "torn")
        manifest = json.loads((self.directory / "evil/manifest.json").read_text())
        manifest["files"][0]["name"] = "../../escaped"
        for text in (json.dumps(manifest), "{", "[]", "{}", '{"files": [{"name": "weights"}]}',
                     '{"files": [{"name": 1, "bytes": 2}]}'):
            (self.directory / "evil/manifest.json").write_text(text)
            with self.assertRaisesRegex(wavefield.InvalidArgument, "evil/manifest.json"):
                self.client.upload(self.directory / "evil", "evil")

    # ---- workers

    def test_a_cordoned_worker_gets_nothing_new(self):
        worker = self.client.cordon("w1", note="a new disk")
        self.addCleanup(self.client.uncordon, "w1")
        self.assertTrue(worker.cordoned)
        self.client.submit(spec(training={"max_steps": 2}), name="patient")
        wait_for("a blocker", lambda: self.client.explain("patient").blockers)
        self.assertIn("WORKER_CORDONED", [api.Blocker.Kind.Name(blocker.kind)
                                          for blocker in self.client.explain("patient").blockers])
        self.client.uncordon("w1")
        self.assertEqual(wavefield.state_of(self.client.wait("patient")), "SUCCEEDED", self.logs())


if __name__ == "__main__":
    unittest.main(verbosity=2)
