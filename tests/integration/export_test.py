"""An exported folder loads in PyTorch with nothing of ours beside it, gives our loss and our text, and comes back."""

import contextlib
import importlib.util
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import torch

from cluster import ClusterTest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "oracle"))
from stored_files import read_safetensors, read_split, write_safetensors, write_weights  # noqa: E402

WINDOW = 90  # more than the module's chunks, and no multiple of one
TOLERANCE = 1e-5  # of the loss
PROMPT = "to the\n\tcafé  ▁x"

# name: dataset, preset, fields of the specification that differ from it.
FORMS = {
    "selective-outer": ("words", "wave-field-test", {"training.ema_decay": 0.7}),
    "static-outer": ("characters", "wave-field-test", {"model.damping": "static"}),
    "static-elementwise": ("words", "wave-field-static-test", {}),
    "hybrid": ("words", "wave-field-test", {"model.deposit": "elementwise", "model.attention_layers": "[1]"}),
    "attention": ("characters", "transformer-test", {}),
    "classic": ("words", "wave-field-v4-test", {"model.n_layers": 3}),  # interference after the third layer
}


def load_module(folder):
    spec = importlib.util.spec_from_file_location("wavefield_model", folder / "wavefield_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_model(folder):
    return load_module(folder).WavefieldModel.load(folder).double()


def evaluate(model, ids):
    """Mean loss of an exported model over non-overlapping windows of the stream `ids`, weighted by tokens."""
    total, targets = 0.0, len(ids) - 1
    with torch.no_grad():
        for start in range(0, targets, WINDOW):
            window = ids[start:start + WINDOW + 1]
            total += model.loss(window[None]).item() * (len(window) - 1)
    return total / targets


class ExportTest(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        torch.set_num_threads(2)
        cls.random = torch.Generator().manual_seed(cls.seed)
        cls.prepare("words", 60)
        text = cls.directory / "words.txt"
        cls.run_cli("data", "prepare", "--name", "characters", "--input", text, "--tokenizer", "bytes")
        for form, (dataset, preset, fields) in FORMS.items():
            settings = {"training.max_steps": 3, "training.sequence_length": WINDOW, "training.batch_size": 2,
                        "training.schedule.learning_rate": 0.01, "evaluation.every_steps": 3} | fields
            sets = [argument for field, value in settings.items() for argument in ("--set", f"{field}={value}")]
            cls.run_cli("submit", "--name", form, "--preset", preset, "--dataset", dataset, *sets)
        for form in FORMS:
            state = cls.wait_for_end(form)["state"]
            assert "SUCCEEDED" in state, f"{form}: {state}\n{cls.logs()}"

    def dataset(self, name):
        return self.directory / "storage" / "datasets" / name

    def checkpoint(self, form):
        """A fresh copy of the checkpoint of a form."""
        found, = (self.directory / "storage").glob(f"**/{form}/**/{3:012d}-*")
        return shutil.copytree(found, self.fresh(f"{form}-checkpoint"))

    def fresh(self, name):
        """A path that is not there yet."""
        self.count = getattr(self, "count", 0) + 1
        return self.directory / f"{self._testMethodName}-{name}-{self.count}"

    def export(self, source, *flags):
        folder = self.fresh("export")
        self.run_cli("checkpoints", "export", source, "--output", folder, *flags)
        return folder

    def refused(self, code, *arguments):
        """What a command that fails with that code says."""
        done = self.run_cli("checkpoints", *arguments, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stderr

    def evaluation(self, directory, dataset):
        return self.cli_json("evaluate", directory, "--dataset", self.dataset(dataset))

    def close(self, actual, expected, what):
        print(f"{what}: {actual:.7f}, expected {expected:.7f}, {actual - expected:+.1e}", flush=True)
        self.assertLess(abs(actual - expected), TOLERANCE * abs(expected), what)

    def check(self, form):
        dataset = FORMS[form][0]
        checkpoint = self.checkpoint(form)
        # After three steps phases are nearly 0 and dampings those of the start: a wrong sign would not show.
        write_weights(checkpoint, lambda t: t + 0.3 * torch.randn(t.shape, generator=self.random))
        folder = self.export(checkpoint)
        model = load_model(folder)
        ours = self.evaluation(checkpoint, dataset)
        self.close(evaluate(model, read_split(self.dataset(dataset), "validation")), ours["loss"], f"{form}, loss")
        self.generates_the_same(model, folder, checkpoint)
        self.reads_in_pieces_and_never_ahead(model)

        imported = self.fresh("imported")
        self.run_cli("checkpoints", "import", folder, "--output", imported)
        again = self.evaluation(imported, dataset)
        self.assertEqual([again[key] for key in ("loss", "tokens", "accuracy", "step")],
                         [ours[key] for key in ("loss", "tokens", "accuracy", "step")])

    def generates_the_same(self, model, folder, checkpoint):
        tokenizer = load_module(folder).Tokenizer(folder)
        prompt = tokenizer.prompt(PROMPT)
        ids = list(model.generate(prompt, 24, temperature=0))
        logits = model(torch.tensor([prompt + ids]))[0, len(prompt) - 1:-1]
        best = logits[:, :model.config["tokenizer"]["vocab_size"]].topk(2).values
        # Where two tokens are as good as equal, rounding chooses; what follows is another text.
        close = ((best[:, 0] - best[:, 1]) < 0.001).nonzero()
        certain = close[0].item() if len(close) else len(ids)
        text = b"".join(b"\n" if id == tokenizer.separator else tokenizer.decode([id]) for id in ids[:certain])
        text = text.decode(errors="replace")
        ours = self.cli_json("generate", checkpoint, "--prompt", PROMPT, "--max-tokens", 24, "--temperature", 0)["text"]
        print(f"{certain} tokens: {text!r}", flush=True)
        if certain < len(ids):
            text = text.rstrip("\ufffd")  # of a character that was cut
            ours = ours[:len(text)]
        self.assertEqual(text, ours)

    def reads_in_pieces_and_never_ahead(self, model):
        ids = torch.randint(model.config["tokenizer"]["vocab_size"], (2, 200), generator=self.random)
        whole, state, pieces = model(ids), None, []
        for piece in ids.split([70, 1, 1, 128], 1):
            h, state = model.advance(piece, state)
            pieces.append(model.logits(h))
        self.assertLess((torch.cat(pieces, 1) - whole).abs().max().item(), 1e-9)
        ids[:, 150] = (ids[:, 150] + 1) % model.config["tokenizer"]["vocab_size"]
        changed = (model(ids) != whole).any(-1).any(0)
        self.assertFalse(changed[:150].any())
        self.assertTrue(changed[150:].all())

    def test_a_job_is_exported_as_its_checkpoint_is(self):
        folder = self.export("selective-outer@3")
        local = self.export(self.checkpoint("selective-outer"))
        names = sorted(path.name for path in folder.iterdir())
        self.assertEqual(names, ["config.json", "model.safetensors", "tokenizer.json", "tokenizer.model",
                                 "wavefield_model.py"])
        for name in names:
            self.assertEqual((folder / name).read_bytes(), (local / name).read_bytes(), name)
        config = json.loads((folder / "config.json").read_text())
        manifest = json.loads((self.checkpoint("selective-outer") / "manifest.json").read_text())
        self.assertEqual(config["model"], manifest["model_config"])
        self.assertEqual((config["preset"], config["step"], config["tokens"], config["weights"]),
                         ("wave-field-test", 3, 3 * 2 * WINDOW, "trained"))
        self.assertEqual(config["dataset_content_hash"], manifest["dataset_content_hash"])
        self.assertEqual(config["loss"], manifest["metrics"]["loss"])
        self.assertEqual(config["tokenizer"]["kind"], "bpe")
        self.assertEqual(list(self.directory.glob(".*.partial")), [])

    def test_the_moving_average_is_exported_where_there_is_one(self):
        average = self.export("selective-outer", "--ema")
        tensors, _ = read_safetensors(average / "model.safetensors")
        kept = {}
        for path in self.checkpoint("selective-outer").glob("optimizer-*.safetensors"):
            kept.update(read_safetensors(path)[0])
        for name, tensor in tensors.items():
            self.assertTrue(torch.equal(tensor, kept[f"ema.{name}"]), name)
        self.assertEqual(json.loads((average / "config.json").read_text())["weights"], "moving_average")
        evaluation = self.cli_json("metrics", "selective-outer")["evaluations"][-1]
        held_out = read_split(self.dataset("words"), "validation")
        self.close(evaluate(load_model(average), held_out), evaluation["ema_loss"], "moving average")
        self.close(evaluate(load_model(self.export("selective-outer")), held_out), evaluation["loss"], "last weights")

        folder = self.fresh("export")
        error = self.refused(1, "export", self.checkpoint("hybrid"), "--output", folder, "--ema")
        self.assertIn("no moving average", error)
        self.assertIn("training.ema_decay", error)
        self.assertFalse(folder.exists())

        kept = folder.parent / f".{folder.name}.partial" / "checkpoint"
        self.assertIn(f"kept in {kept}", self.refused(1, "export", "hybrid", "--output", folder, "--ema"))
        (kept / "manifest.json").unlink()  # as if the download had not come to its end
        self.run_cli("checkpoints", "export", "hybrid", "--output", folder)
        self.assertFalse(kept.parent.exists())

    def test_tokenizers_repeat_the_ids_of_the_dataset(self):
        for form, dataset in (("hybrid", "words"), ("attention", "characters")):
            folder = self.export(self.checkpoint(form))
            tokenizer = load_module(folder).Tokenizer(folder)
            ids = read_split(self.dataset(dataset), "validation").tolist()
            document = []
            for id in ids + [tokenizer.separator]:
                if id != tokenizer.separator:
                    document.append(id)
                    continue
                self.assertEqual(tokenizer.encode(tokenizer.decode(document).decode()), document)
                document = []
            self.assertEqual(tokenizer.decode(tokenizer.encode(PROMPT)).decode(), PROMPT)

    def test_sampling_repeats_for_a_seed(self):
        model = load_model(self.export(self.checkpoint("static-outer")))

        def draw(**flags):
            return list(model.generate([256, 97], 20, **flags))

        self.assertEqual(draw(seed=1), draw(seed=1))
        self.assertNotEqual(draw(seed=1), draw(seed=2))
        self.assertEqual(draw(seed=1, top_k=1), draw(temperature=0))

    def test_the_module_is_a_program(self):
        folder = self.export(self.checkpoint("classic"))
        module = load_module(folder)
        tokenizer = module.Tokenizer(folder)
        ids = list(module.WavefieldModel.load(folder).generate(tokenizer.prompt("tea"), 9, temperature=0.7, seed=5))
        text = b"".join(b"\n" if id == tokenizer.separator else tokenizer.decode([id]) for id in ids)
        done = subprocess.run([sys.executable, folder / "wavefield_model.py", folder, "tea", "--max-tokens", "9",
                               "--temperature", "0.7", "--seed", "5"], capture_output=True, check=True, cwd="/")
        self.assertEqual(done.stdout.decode(), text.decode(errors="replace") + "\n")

    def test_the_example_of_the_documentation_runs(self):
        folder = self.export(self.checkpoint("selective-outer"))
        page = pathlib.Path(__file__).parents[2] / "docs" / "export.md"
        example, = re.findall("```python\n(.*?)```", page.read_text(), re.DOTALL)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(example.replace("FOLDER", str(folder)), {})
        self.assertRegex(said.getvalue(), r"\d nats per token")

    def test_nothing_is_written_over(self):
        checkpoint = self.checkpoint("hybrid")
        taken = self.fresh("taken")
        taken.mkdir()
        (taken / "mine").write_text("kept")
        self.assertIn("not an empty folder", self.refused(1, "export", checkpoint, "--output", taken))
        self.assertIn("not an empty folder", self.refused(1, "export", checkpoint, "--output", taken / "mine"))
        self.assertIn("not an empty folder", self.refused(1, "import", self.export(checkpoint), "--output", taken))
        self.assertEqual([path.name for path in taken.iterdir()], ["mine"])
        self.assertEqual((taken / "mine").read_text(), "kept")
        self.assertIn("names no folder", self.refused(2, "export", checkpoint, "--output", "/"))
        empty = self.fresh("empty")
        empty.mkdir()
        self.run_cli("checkpoints", "export", checkpoint, "--output", f"{empty}/../{empty.name}/")
        self.assertTrue((empty / "config.json").exists())

    def test_what_cannot_be_fetched_leaves_nothing(self):
        folder = self.fresh("export")
        self.refused(3, "export", "no-such-job", "--output", folder)
        self.refused(4, "export", "hybrid", "--output", folder, "--address", "127.0.0.1:1", "--timeout", 1)
        self.refused(2, "export", "../hybrid", "--output", folder)
        self.assertFalse(folder.exists())
        self.assertEqual(list(self.directory.glob(".*.partial")), [])

    def test_a_damaged_checkpoint_is_not_exported(self):
        checkpoint = self.checkpoint("attention")
        path, = checkpoint.glob("model-*.safetensors")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        folder = self.fresh("export")
        self.assertIn(path.name, self.refused(1, "export", checkpoint, "--output", folder))
        self.assertFalse(folder.exists())

    def test_an_import_says_which_tensor_is_wrong(self):
        folder = self.export(self.checkpoint("hybrid"))
        path = folder / "model.safetensors"
        tensors, metadata = read_safetensors(path)
        name = "layers.0.mixer.qkvg.weight"
        self.assertEqual(list(tensors[name].shape), [128, 32])

        def refusal(changed):
            write_safetensors(path, changed, metadata)
            output = self.fresh("checkpoint")
            error = self.refused(2, "import", folder, "--output", output)
            self.assertFalse(output.exists())
            self.assertEqual(list(self.directory.glob(".*.partial")), [])
            return error

        self.assertIn(f"'{name}' is missing; the configuration asks for [128, 32]",
                      refusal({key: tensor for key, tensor in tensors.items() if key != name}))
        self.assertIn(f"'{name}' has shape [32, 128], the configuration asks for [128, 32]",
                      refusal(tensors | {name: tensors[name].T.contiguous()}))
        self.assertIn("tensor 'more' [3] is not part", refusal(tensors | {"more": torch.zeros(3)}))
        content = path.read_bytes()
        path.write_bytes(content[:-4])
        self.assertIn("model.safetensors", self.refused(2, "import", folder, "--output", self.fresh("checkpoint")))

    def test_an_import_says_what_is_wrong_with_the_configuration(self):
        folder = self.export(self.checkpoint("attention"))
        path = folder / "config.json"
        config = json.loads(path.read_text())

        def refusal(text, code=2):
            path.write_text(text)
            return self.refused(code, "import", folder, "--output", self.fresh("checkpoint"))

        self.assertIn("not a JSON object", refusal("{"))
        self.assertIn("'format' is not 'wavefield-export'", refusal(json.dumps({"model_type": "llama"})))
        self.assertIn("use a newer one", refusal(json.dumps(config | {"format_version": 2}), code=1))
        self.assertIn("n_heads", refusal(json.dumps(config | {"model": config["model"] | {"n_heads": 5}})))
        self.assertIn("'step': -1 is not a whole number", refusal(json.dumps(config | {"step": -1})))
        self.assertIn("vocab_size", refusal(json.dumps(config | {"model": config["model"] | {"vocab_size": 64}})))
        self.assertIn("'training'", refusal(json.dumps({k: v for k, v in config.items() if k != "training"})))
        path.unlink()
        self.assertIn("config.json", self.refused(3, "import", folder, "--output", self.fresh("checkpoint")))

    def test_weights_that_were_changed_elsewhere_come_back(self):
        folder = self.export(self.checkpoint("attention"))
        model = load_module(folder).WavefieldModel.load(folder).train()
        step = torch.optim.SGD(model.parameters(), lr=0.5)
        model.loss(read_split(self.dataset("characters"), "train")[None, :200]).backward()
        step.step()
        _, metadata = read_safetensors(folder / "model.safetensors")
        write_safetensors(folder / "model.safetensors", {k: v.detach() for k, v in model.state_dict().items()}, metadata)
        imported = self.fresh("imported")
        self.run_cli("checkpoints", "import", folder, "--output", imported)
        held_out = read_split(self.dataset("characters"), "validation")
        self.close(evaluate(model.double(), held_out), self.evaluation(imported, "characters")["loss"], "trained on")


for form in FORMS:
    def test(self, form=form):
        self.check(form)
    setattr(ExportTest, f"test_{form.replace('-', '_')}_gives_our_loss_and_text_and_comes_back", test)
del test

if __name__ == "__main__":
    unittest.main(verbosity=2)
