"""The whole path, as a user walks it: text in, trained model out, through the service."""

import json
import math
import unittest
import urllib.request

import grpc
import numpy
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from safetensors.numpy import load_file

from cluster import BIN, ClusterTest, subprocess


class Path(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words")
        cls.submit("first", dataset="words", resources__world_size=2, training__max_steps=40,
                   training__sequence_length=64, training__batch_size=8,
                   evaluation__every_steps=20, checkpoint__every_steps=20)
        cls.ended = cls.wait_for_end("first")

    def test_the_job_succeeds_and_learns(self):
        self.assertIn("SUCCEEDED", self.ended["state"], self.logs())
        metrics = self.cli_json("metrics", "first")
        steps = metrics["steps"]
        self.assertEqual([int(s["step"]) for s in steps], list(range(1, 41)))
        self.assertLess(steps[-1]["loss"], steps[0]["loss"] - 0.5)
        for step in steps:
            self.assertGreater(step["tokens_per_second"], 0)
            self.assertGreater(step["matmul_rate_ratio"], 0)
            phases = step["phase_seconds"]
            self.assertGreater(phases["forward"], 0)
            self.assertTrue(0 <= step["accuracy"] <= 1, step)
            self.assertGreaterEqual(step["rank_skew_seconds"], 0)
            self.assertIn(step["slowest_rank"], (0, 1))
        # Two processes never take equally long.
        self.assertGreater(max(step["rank_skew_seconds"] for step in steps), 0)
        self.assertGreater(steps[-1]["accuracy"], 0)
        # Phases are means over ranks that do not start a step at the same instant: they add up over the run.
        self.assertAlmostEqual(sum(sum(s["phase_seconds"].values()) for s in steps) /
                               sum(s["step_seconds"] for s in steps), 1, delta=0.4)
        self.assertEqual([int(e["step"]) for e in metrics["evaluations"]], [20, 40])

    def test_every_evaluation_tells_how_the_fields_are(self):
        points = self.cli_json("metrics", "first", "--health")["points"]
        self.assertEqual([int(p["step"]) for p in points], [40, 20])
        for point in points:
            for layer in point["layers"]:
                for key in ("residual_rms", "mixer_rms", "gradient_rms", "update_ratio"):
                    self.assertGreater(layer[key], 0)
                for head in layer["heads"]:
                    constants = [head[f"time_constant_p{p}"] for p in (10, 50, 90)]
                    self.assertEqual(constants, sorted(constants))
                    self.assertGreater(constants[0], 0)
                    self.assertNotEqual(head["frequency"], 0)
                    # 0.9 at the start: a head hears itself above all.
                    self.assertLess(head["coupling_entropy"], math.log(len(layer["heads"])))
        self.assertEqual(len(points[0]["layers"]), int(self.ended["spec"]["model"]["n_layers"]))
        shown = self.run_cli("metrics", "first", "--health").stdout
        self.assertIn("step 40, attempt 1", shown)
        self.assertIn("COUPLING ENTROPY", shown)

    def test_checkpoints_are_listed_and_downloaded_and_evaluate_alike(self):
        output = self.directory / "model"
        self.run_cli("checkpoints", "download", "first", "--output", output)
        self.run_cli("checkpoints", "download", "first", "--output", output)  # nothing left to do
        remote = self.cli_json("evaluate", "first", "--dataset", "words")
        local = self.cli_json("evaluate", output, "--dataset", "words")
        for key in ("loss", "perplexity", "bits_per_byte", "accuracy"):
            # One thread each, but not the same number of ranks as in training.
            self.assertAlmostEqual(remote[key], local[key], delta=1e-5 * abs(remote[key]))
        self.assertEqual(remote["tokens"], local["tokens"])
        # Guessing among the 448 padded ids costs ln 448 nats; every text of this kind teaches half a nat.
        print(f"first loss {self.cli_json('metrics', 'first')['steps'][0]['loss']:.2f}, "
              f"held out {remote['loss']:.2f}", flush=True)
        self.assertLess(remote["loss"], math.log(448) - 0.5)

    def test_an_earlier_step_can_be_named(self):
        early = self.cli_json("evaluate", "first@20", "--dataset", "words")
        late = self.cli_json("evaluate", "first@40", "--dataset", "words")
        self.assertGreater(early["loss"], late["loss"])

    def test_token_ids_are_one_window(self):
        ids = self.directory / "ids.json"
        ids.write_text(json.dumps([5, 9, 12, 40, 7]))
        self.assertEqual(int(self.cli_json("evaluate", "first", "--dataset", "words",
                                           "--token-ids", ids)["tokens"]), 4)

    def test_generation_repeats_for_a_seed(self):
        ask = ("generate", "first", "--prompt", "tea ", "--max-tokens", "20", "--temperature", "0.9", "--seed")
        one, again, other = (self.run_cli(*ask, seed).stdout for seed in ("1", "1", "2"))
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)

    def test_weights_load_in_safetensors(self):
        output = self.directory / "weights"
        self.run_cli("checkpoints", "download", "first", "--output", output)
        tensors = {}
        for path in output.glob("model-*.safetensors"):
            tensors.update(load_file(path))
        self.assertEqual(tensors["embedding.weight"].shape[1], 32)
        self.assertEqual(tensors["layers.1.mixer.qkvg.weight"].shape, (128, 32))
        self.assertTrue(all(numpy.isfinite(t).all() for t in tensors.values()))
        self.assertEqual(sum(t.size for t in tensors.values()), int(self.ended["parameter_count"]))

    def test_a_client_that_knows_only_reflection_submits_and_watches(self):
        channel = grpc.insecure_channel(self.address)
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        service = pool.FindServiceByName("wavefield.v1.JobService")

        def call(name, request, streaming=False):
            method = service.methods_by_name[name]
            make = channel.unary_stream if streaming else channel.unary_unary
            rpc = make(f"/{service.full_name}/{name}",
                       request_serializer=lambda message: message.SerializeToString(),
                       response_deserializer=GetMessageClass(method.output_type).FromString)
            return rpc(json_format.ParseDict(request, GetMessageClass(method.input_type)()), timeout=60)

        job = call("CreateJob", {"job_id": "reflected", "spec": {
            "model": {"preset": "wave-field-test"}, "dataset": "words",
            "training": {"max_steps": 3, "sequence_length": 32, "batch_size": 2}}})
        self.assertEqual(job.name, "jobs/reflected")
        state, steps = None, []
        for update in call("WatchJob", {"name": job.name, "include_history": True}, streaming=True):
            steps += [step.step for step in update.steps]
            if update.HasField("job"):
                state = update.job.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[
                    update.job.state].name
        self.assertEqual(state, "JOB_STATE_SUCCEEDED")
        self.assertEqual(sorted(set(steps)), [1, 2, 3])

    def test_the_same_request_twice_is_one_job(self):
        ask = ("submit", "--name", "twice", "--preset", "wave-field-test", "--dataset", "words",
               "--set", "training.max_steps=1", "--request-id", "r-1", "--json")
        first, second = (json.loads(self.run_cli(*ask).stdout) for _ in range(2))
        self.assertEqual(first["uid"], second["uid"])
        other = self.run_cli(*ask[:-4], "--set", "training.max_steps=2", "--request-id", "r-1", check=False)
        self.assertNotEqual(other.returncode, 0)

    def test_every_violation_is_reported_at_once(self):
        bad = self.run_cli("submit", "--preset", "wave-field-test", "--dataset", "words",
                           "--set", "training.schedule.learning_rate=-1",
                           "--set", "model.n_heads=5", "--set", "training.batch_size=0",
                           "--set", "resources.world_size=64", "--set", "training.max_steps=5", check=False)
        self.assertNotEqual(bad.returncode, 0)
        text = bad.stdout + bad.stderr
        for field in ("training.schedule.learning_rate", "model.n_heads", "training.batch_size",
                      "resources.world_size"):
            self.assertIn(field, text)

    def test_a_baseline_learns_the_same_tokens(self):
        output = self.directory / "for-baseline"
        self.run_cli("checkpoints", "download", "first", "--output", output)
        done = subprocess.run([BIN / "wavefield-trainer", "baseline", output, "--dataset",
                               self.directory / "storage" / "datasets" / "words"],
                              capture_output=True, text=True, check=True)
        self.assertGreater(json.loads(done.stdout)["evaluation"]["bits_per_byte"], 0.5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
