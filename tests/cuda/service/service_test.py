"""Device cuda through the real coordinator, worker and trainer: on a host whose driver is a stand-in with two
GPUs, with the module that emulates them. Its kernels, collectives and their order are the real ones."""

import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ["WAVEFIELD_BIN_DIR"]).parent
PROGRAMS = ("wavefield", "wavefield-coordinator", "wavefield-worker", "wavefield-trainer", "wavefield-tokenizer",
            "wavefield-launcher")
STEPS = 8
GIB = 1 << 30


def lay_out_host():
    """A folder with the programs and the emulated module side by side; the environment of its processes."""
    host = pathlib.Path(tempfile.mkdtemp(prefix="emulated-host-", dir=BUILD))
    (host / "bin").mkdir()
    for program in PROGRAMS:
        os.link(BUILD / "bin" / program, host / "bin" / program)
    os.link(BUILD / "lib/emulated-cuda/libwavefield_cuda.so", host / "bin/libwavefield_cuda.so")
    os.environ["WAVEFIELD_BIN_DIR"] = str(host / "bin")
    os.environ["WAVEFIELD_EMULATED_NVML"] = str(host / "nvml.json")
    os.environ["LD_LIBRARY_PATH"] = str(BUILD / "lib/emulated-driver")
    return host


HOST = lay_out_host()
unittest.addModuleCleanup(shutil.rmtree, HOST, ignore_errors=True)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "integration"))
from cluster import ClusterTest, trainer_pids, wait_for  # noqa: E402


def set_gpus(used=(0, 0)):
    gpus = [{"uuid": f"GPU-{name}", "name": "Emulated", "capability": 90, "memory": 16 * GIB, "used": bytes_used,
             "utilization": 50, "temperature": 40, "power": 200000, "ecc": 0, "xid": 0}
            for name, bytes_used in zip("ab", used)]
    new = HOST / "nvml.json.new"
    new.write_text(json.dumps({"driver": "580.65.06", "cuda": 13020, "gpus": gpus}))
    new.rename(HOST / "nvml.json")


class CudaService(ClusterTest):

    @classmethod
    def setUpClass(cls):
        set_gpus()
        super().setUpClass()
        cls.prepare("words", 60)

    def train(self, name, world_size, steps=STEPS, **settings):
        self.submit(name, dataset="words", resources__device="cuda", resources__world_size=world_size,
                    training__max_steps=steps, training__sequence_length=32, training__batch_size=4,
                    training__micro_batch_size=2, training__schedule__learning_rate=0.01,
                    evaluation__max_tokens=256, checkpoint__every_steps=4, **settings)

    def losses(self, name):
        return {int(step["step"]): step["loss"] for step in self.cli_json("metrics", name)["steps"]}

    def gpus(self):
        return self.cli_json("workers")["workers"][0]["gpus"]

    def test_gpus_are_offered_beside_the_slots_of_the_cpu(self):
        gpus = self.gpus()
        self.assertEqual([gpu["slot"] for gpu in gpus], [2, 3])
        self.assertEqual([gpu["uuid"] for gpu in gpus], ["GPU-a", "GPU-b"])
        self.assertIn("Emulated", self.run_cli("workers").stdout)

    def test_two_ranks_learn_alike_and_a_killed_run_resumes_to_the_same_bytes(self):
        steps = 32  # so that a rank is killed long before the last
        self.train("straight", 2, steps)
        wait_for("the first step", lambda: self.last_step("straight") >= 1)
        pids = trainer_pids("straight")
        visible = [dict(line.split("=", 1) for line in pathlib.Path(f"/proc/{pids[rank]}/environ").read_text()
                        .split("\0") if "=" in line)["CUDA_VISIBLE_DEVICES"] for rank in (0, 1)]
        self.assertEqual(sorted(visible), ["GPU-a", "GPU-b"])
        self.assertIn("SUCCEEDED", self.wait_for_end("straight", 300)["state"], self.logs())
        losses = self.losses("straight")
        self.assertLess(losses[steps], losses[1] - 0.2)

        self.train("killed", 2, steps)
        wait_for("a step after the checkpoint", lambda: self.last_step("killed") >= 5)
        os.kill(trainer_pids("killed")[1], signal.SIGKILL)
        killed = time.monotonic()
        wait_for("the next attempt", lambda: self.job("killed")["attempt"] == 2, 30)
        print(f"the next attempt began after {time.monotonic() - killed:.1f} s", flush=True)
        ended = self.wait_for_end("killed", 300)
        self.assertIn("SUCCEEDED", ended["state"], self.logs())
        self.assertEqual(int(ended["restarts"]), 1, self.logs())

        expected, actual = self.checkpoint_files("straight", steps), self.checkpoint_files("killed", steps)
        self.assertEqual(len(expected), 4)
        self.assertEqual(expected.keys(), actual.keys())
        for name, content in expected.items():
            self.assertEqual(content, actual[name], f"{name} differs")

    def test_fp32_on_the_gpu_gives_the_losses_of_the_cpu(self):
        self.train("gpu", 1, training__precision="fp32")
        self.submit("cpu", dataset="words", training__max_steps=STEPS, training__sequence_length=32,
                    training__batch_size=4, training__micro_batch_size=2, training__schedule__learning_rate=0.01,
                    evaluation__max_tokens=256)
        for name in ("gpu", "cpu"):
            self.assertIn("SUCCEEDED", self.wait_for_end(name, 300)["state"], self.logs())
        gpu, cpu = self.losses("gpu"), self.losses("cpu")
        self.assertEqual(gpu.keys(), cpu.keys())
        for step, loss in cpu.items():
            self.assertAlmostEqual(gpu[step], loss, delta=1e-3, msg=f"step {step}")

    def test_a_gpu_that_another_process_uses_is_held_until_it_is_free(self):
        set_gpus(used=(0, 3 * GIB))
        self.addCleanup(set_gpus)
        wait_for("the worker's word", lambda: "3.0 GiB" in self.gpus()[1]["unavailable"])
        self.train("waits", 2)
        wait_for("the reason", lambda: "another process on workers/w1 holds 1" in
                 self.job("waits").get("state_message", ""))
        set_gpus()
        self.assertIn("SUCCEEDED", self.wait_for_end("waits", 300)["state"], self.logs())

    def test_more_memory_than_a_gpu_has_is_refused_with_what_would_fit(self):
        done = self.run_cli("submit", "--preset", "wave-field-825m", "--set", "dataset=words", "--set",
                            "resources.device=cuda", "--set", "training.max_steps=1", "--set",
                            "training.sequence_length=4096", "--set", "training.micro_batch_size=16",
                            "--set", "training.batch_size=16", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("the largest cuda slot has 16.00 GiB", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
