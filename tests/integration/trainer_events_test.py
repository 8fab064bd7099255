"""What a trainer tells its worker, and logs: run by hand, with the test at the other end of its channel."""

import json
import os
import socket
import subprocess
import threading
import unittest

from cluster import BIN, ClusterTest

CHANNEL = 3
# Of google.rpc.Code.
INVALID_ARGUMENT, FAILED_PRECONDITION, UNAVAILABLE, DATA_LOSS = 3, 9, 14, 15


class TrainerEvents(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words", 100)
        cls.submit("model", dataset="words", training__max_steps=6, training__sequence_length=32,
                   training__batch_size=4, evaluation__every_steps=3, checkpoint__every_steps=2)
        cls.ended = cls.wait_for_end("model")

    def task(self, job, epoch, rank=0, candidates=(), **more):
        directory = "datasets/words"
        manifest = json.loads((self.directory / "storage" / directory / "manifest.json").read_text())
        path = self.directory / f"{job}-{rank}.json"
        path.write_text(json.dumps({"train": {
            "job": f"jobs/{job}", "spec": self.ended["spec"], "epoch": str(epoch), "attempt": 1,
            "rank": rank, "world_size": 1, "dataset_directory": directory,
            "dataset_content_hash": manifest["content_hash"],
            "checkpoint_directory": f"checkpoints/{job}", "resume_candidates": list(candidates), **more}}))
        return path

    def run_trainer(self, task):
        """Its exit code, the events it sent, and the lines it logged."""
        ours, theirs = socket.socketpair()
        events = []

        def listen():
            with ours.makefile("r") as lines:
                for line in lines:
                    events.append(json.loads(line)["event"])

        def open_channel():
            os.dup2(theirs.fileno(), CHANNEL)
            os.set_inheritable(CHANNEL, True)

        with ours, subprocess.Popen(
                [BIN / "wavefield-trainer", "--log-format", "json", "run", "--task", task,
                 "--storage-root", self.directory / "storage"],
                stderr=subprocess.PIPE, text=True, pass_fds=(CHANNEL,), preexec_fn=open_channel) as trainer:
            theirs.close()
            listener = threading.Thread(target=listen)
            listener.start()
            lines = [json.loads(line) for line in trainer.stderr]
            code = trainer.wait(timeout=60)
            listener.join()
        return code, events, lines

    def test_events_tell_the_uptime_and_steps_their_accuracy(self):
        code, events, lines = self.run_trainer(self.task("alone", 1))
        self.assertEqual(code, 0, lines)
        uptimes = [event["uptime_seconds"] for event in events]
        self.assertEqual(uptimes, sorted(set(uptimes)))
        self.assertGreater(uptimes[0], 0)
        self.assertEqual(events[0]["training_started"]["refused_checkpoints"], 0)
        steps = [event["step"] for event in events if "step" in event]
        self.assertEqual([step["step"] for step in steps], [1, 2, 3, 4, 5, 6])
        for step in steps:
            # A share of 4 windows of 32 targets.
            self.assertTrue(0 <= step["accuracy"] <= 1 and step["accuracy"] * 128 % 1 == 0, step)
            self.assertEqual((step["rank_skew_seconds"], step["slowest_rank"]), (0, 0))

    def test_every_line_of_the_log_tells_the_rank_and_the_step(self):
        _, events, lines = self.run_trainer(self.task("logs", 7))
        self.assertEqual({(line["job"], line["rank"], line["epoch"], line["program"]) for line in lines},
                         {("logs", 0, 7, "trainer")})
        saved = [line["step"] for line in lines if line["message"].startswith("checkpoint ")]
        self.assertEqual(saved, [event["checkpoint_saved"]["step"] for event in events
                                 if "checkpoint_saved" in event])
        self.assertEqual(saved, [2, 4, 6])

    def test_only_the_last_checkpoint_is_waited_for(self):
        _, events, _ = self.run_trainer(self.task("behind", 1))
        saved = [event["checkpoint_saved"] for event in events if "checkpoint_saved" in event]
        for checkpoint in saved[:-1]:
            self.assertLess(checkpoint["seconds"], checkpoint["write_seconds"])
        self.assertEqual(saved[-1]["seconds"], saved[-1]["write_seconds"])

    def test_a_job_that_starts_from_anothers_weights(self):
        other = max(path for path in (self.directory / "storage").glob("**/0*-*") if "/model/" in f"{path}/")
        origin = str(other.relative_to(self.directory / "storage"))
        code, events, lines = self.run_trainer(self.task("fork", 1, init_from_directory=origin))
        self.assertEqual(code, 0, lines)
        self.assertEqual((events[0]["training_started"]["first_step"], events[0]["training_started"]["resumed_from"]),
                         (1, ""))
        self.assertTrue(any(line["message"].endswith(f"with the weights of {origin}") for line in lines), lines)
        _, fresh, _ = self.run_trainer(self.task("fresh", 1))
        losses = [next(event["step"]["loss"] for event in run if "step" in event) for run in (events, fresh)]
        self.assertLess(losses[0], losses[1])
        saved = [event["checkpoint_saved"] for event in events if "checkpoint_saved" in event]
        self.assertEqual([json.loads(checkpoint["manifest"])["parent"] for checkpoint in saved], [origin] * 3)

        # It goes on from its own checkpoints.
        code, events, _ = self.run_trainer(
            self.task("fork", 2, init_from_directory=origin, candidates=[saved[0]["directory"]]))
        self.assertEqual(code, 0)
        self.assertEqual(events[0]["training_started"]["resumed_from"], saved[0]["directory"])
        manifest = json.loads(next(e["checkpoint_saved"] for e in events if "checkpoint_saved" in e)["manifest"])
        self.assertEqual(manifest["parent"], saved[0]["directory"].rsplit("/", 1)[1])

        shard = self.directory / "storage" / saved[1]["directory"] / "model-00001-of-00001.safetensors"
        whole = shard.read_bytes()
        shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        code, events, _ = self.run_trainer(self.task("third", 1, init_from_directory=saved[1]["directory"]))
        failure = events[-1]["failure"]
        self.assertEqual((code, failure["code"], failure["phase"], failure["step"]), (1, DATA_LOSS, "resume", 0))
        self.assertIn(f"{saved[1]['directory']}/{shard.name} has SHA-256", failure["message"])
        self.assertNotIn(str(self.directory), failure["message"])

    def test_a_failure_names_code_and_phase(self):
        code, events, _ = self.run_trainer(self.task("changed", 1, dataset_content_hash="0" * 64))
        failure = events[-1]["failure"]
        self.assertEqual((code, failure["code"], failure["phase"], failure["step"]),
                         (1, FAILED_PRECONDITION, "data", 0))
        code, events, _ = self.run_trainer(self.task("ranks", 1, world_size="many"))
        failure = events[-1]["failure"]
        self.assertEqual((code, failure["code"], failure["phase"]), (1, INVALID_ARGUMENT, "start"))

    def test_a_checkpoint_that_cannot_be_written_is_told_as_such(self):
        # No folder can be made there, by no user.
        (self.directory / "storage/checkpoints").mkdir(exist_ok=True)
        (self.directory / "storage/checkpoints/blocked").write_text("")
        code, events, lines = self.run_trainer(self.task("blocked", 1))
        failed = [event["checkpoint_failed"] for event in events if "checkpoint_failed" in event]
        self.assertEqual([failure["step"] for failure in failed], [2, 4, 6])
        for failure in failed:
            self.assertIn("checkpoints/blocked", failure["message"])
        self.assertFalse(any("checkpoint_saved" in event for event in events))
        self.assertFalse(any("no checkpoint" in event.get("warning", "") for event in events), events)
        warned = [line["step"] for line in lines if line["message"].startswith("no checkpoint at step ")]
        self.assertEqual(warned, [2, 4, 6])
        self.assertEqual(code, 1)
        failure = events[-1]["failure"]
        self.assertEqual((failure["code"], failure["phase"], failure["step"]), (UNAVAILABLE, "checkpoint", 6))
        self.assertIn("the last checkpoint, at step 6, could not be written", failure["message"])

    def test_checkpoints_that_were_refused_are_counted(self):
        self.run_trainer(self.task("resumes", 1))
        saved = sorted((self.directory / "storage/checkpoints/resumes").iterdir(), reverse=True)
        self.assertEqual(len(saved), 3)
        for directory in saved[:2]:
            for shard in directory.glob("model-*.safetensors"):
                shard.write_bytes(shard.read_bytes()[:-1])
        candidates = [path.relative_to(self.directory / "storage") for path in saved]
        code, events, _ = self.run_trainer(self.task("resumes", 2, candidates=map(str, candidates)))
        self.assertEqual(code, 0)
        started = next(event["training_started"] for event in events if "training_started" in event)
        self.assertEqual(started["refused_checkpoints"], 2)
        self.assertEqual(started["resumed_from"], str(candidates[2]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
