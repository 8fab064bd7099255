"""The causality audit, end to end: trained models pass on the cluster and as a directory, a leak does not."""

import json
import os
import re
import shutil
import subprocess
import unittest

from cluster import BIN, ClusterTest

FAILED_AUDIT = 6  # cli/exit_code.h


class Audit(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words")
        cls.train("selective")
        cls.train("spectrum", model__preset="wave-field-static-test", training__propagation="fft")
        cls.train("hybrid", model__attention_layers=[1])
        cls.train("attention", model__preset="transformer-test")
        cls.train("classic", model__preset="wave-field-v4-test")
        cls.model = cls.directory / "model"
        cls.run_cli("checkpoints", "download", "selective", "--output", cls.model)

    @classmethod
    def train(cls, name, **settings):
        cls.submit(name, dataset="words", training__max_steps=30, training__sequence_length=64,
                   training__batch_size=8, **settings)
        ended = cls.wait_for_end(name)
        if "SUCCEEDED" not in ended["state"]:
            raise AssertionError(f"{name}: {ended['state']} {ended['state_message']}\n{cls.logs()}")

    def audit(self, *arguments):
        return self.cli_json("audit", "causality", *arguments)

    def test_a_trained_job_passes_on_its_own_held_out_text(self):
        report = self.audit("selective@30", "--windows", 3, "--changes", 5)
        self.assertTrue(report["passed"])
        self.assertEqual((report["step"], report["windows"], report["tokens"], report["changes"]), ("30", 3, 64, 15))
        self.assertEqual(report["propagation"], "chunked")
        self.assertFalse(report["random_ids"])
        self.assertEqual(report["allowed_leak"], 0)
        self.assertEqual(report["training_leak"]["difference"], 0)
        self.assertEqual(report["generation_leak"]["difference"], 0)
        self.assertGreater(report["largest_logit"], 0.5)
        print(self.run_cli("audit", "causality", "selective").stdout, flush=True)

    def test_each_is_audited_as_it_was_trained(self):
        spectrum = self.audit("spectrum", "--sequence-length", 200)
        self.assertTrue(spectrum["passed"])
        self.assertEqual((spectrum["propagation"], spectrum["tokens"]), ("fft", 200))
        # A transform mixes the whole window: what is right is so within rounding, not to the bit.
        self.assertGreater(spectrum["allowed_leak"], 0)
        self.assertGreater(spectrum["training_leak"]["difference"], 0)
        for job, propagation in (("hybrid", "chunked"), ("attention", ""), ("classic", "recurrence")):
            report = self.audit(job)
            self.assertTrue(report["passed"], job)
            self.assertEqual(report["propagation"], propagation)
            self.assertEqual(report["training_leak"]["difference"], 0)

    def test_a_downloaded_directory_passes_on_text_and_on_random_ids(self):
        text = self.audit(self.model, "--dataset", "words")
        self.assertTrue(text["passed"])
        self.assertFalse(text["random_ids"])
        self.assertTrue(self.audit(self.model)["random_ids"])
        self.assertIn("drawn by chance", self.run_cli("audit", "causality", self.model).stdout)

    def test_a_planted_leak_is_found_and_located(self):
        programs = self.directory / "programs"
        programs.mkdir()
        for source, name in (("wavefield", "wavefield"), ("wavefield-launcher", "wavefield-launcher"),
                             ("leaky_trainer", "wavefield-trainer")):
            shutil.copy2(BIN / source, programs / name)

        def audit(*flags):
            command = [programs / "wavefield", "audit", "causality", self.model, "--dataset", "words", *flags]
            return subprocess.run(command, env=dict(os.environ, WAVEFIELD_ADDRESS=self.address),
                                  capture_output=True, text=True, timeout=60)

        found = audit("--json")
        self.assertEqual(found.returncode, FAILED_AUDIT, found.stderr)
        report = json.loads(found.stdout)
        self.assertFalse(report["passed"])
        leak = report["training_leak"]
        self.assertGreater(leak["difference"], 0.01)
        # Each of the layers lets one token through.
        layers = int(self.job("selective")["spec"]["model"]["n_layers"])
        self.assertLess(leak["token"], leak["changed_token"])
        self.assertGreaterEqual(leak["token"], leak["changed_token"] - layers)
        # Token by token there is no future to see; but that is another model.
        self.assertEqual(report["generation_leak"]["difference"], 0)
        self.assertGreater(report["disagreement"]["difference"], report["allowed_disagreement"])

        people = audit()
        self.assertEqual(people.returncode, FAILED_AUDIT)
        print(people.stdout, flush=True)
        self.assertIn("FAIL: in training, logits depend on later tokens", people.stdout)
        self.assertRegex(people.stdout, rf"after token {leak['token']}, .* when token {leak['changed_token']} was")

    def test_what_cannot_be_audited_is_refused_with_the_reason(self):
        for ask, code, reason in ((("selective", "--windows", 65), 2, "64"),
                                  (("selective@29",), 3, "30"),
                                  ((self.directory,), 1, "manifest")):
            refused = self.run_cli("audit", "causality", *ask, check=False)
            self.assertEqual(refused.returncode, code, refused.stderr)
            self.assertTrue(re.search(reason, refused.stderr), refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
