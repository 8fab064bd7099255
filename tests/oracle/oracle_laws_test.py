"""What must hold of the oracle itself, whatever it is compared with: laws of docs/model.md in other words."""

import random
import unittest

import torch
from torch.nn.functional import softplus

from oracle_model import Oracle, evaluate, wave_kernel

WIDTH, HEADS, INNER, VOCABULARY, LAYERS = 16, 2, 24, 64, 3


def linear_shapes(name, outputs, inputs, bias):
    return {f"{name}.weight": [outputs, inputs]} | ({f"{name}.bias": [outputs]} if bias else {})


def shapes(config):
    """Names and shapes of docs/model.md, "Configuration and tensor names"."""
    d, classic = WIDTH // HEADS, config["form"] == "classic"
    found = {"embedding.weight": [VOCABULARY, WIDTH]}
    for name in ["norm"] + [f"layers.{i}.norm{j}" for i in range(LAYERS) for j in (1, 2)]:
        found |= {f"{name}.weight": [WIDTH]} | ({f"{name}.bias": [WIDTH]} if classic else {})
    for i in range(LAYERS):
        mixer, ffn = f"layers.{i}.mixer", f"layers.{i}.ffn"
        found |= linear_shapes(f"{ffn}.up", INNER, WIDTH, classic)
        found |= linear_shapes(f"{ffn}.down", WIDTH, INNER, classic)
        found |= linear_shapes(f"{mixer}.out", WIDTH, WIDTH, classic)
        if not classic:
            found |= linear_shapes(f"{ffn}.gate", INNER, WIDTH, False)
        if config["form"] == "attention" or i in config["attention_layers"]:
            found |= linear_shapes(f"{mixer}.qkv", 3 * WIDTH, WIDTH, False)
            continue
        found |= linear_shapes(f"{mixer}.qkvg", 4 * WIDTH, WIDTH, classic)
        found |= {f"{mixer}.{name}": [HEADS] for name in ("damping.bias", "frequency", "phase")}
        found[f"{mixer}.coupling"] = [HEADS, HEADS]
        if config["damping"] == "selective":
            found[f"{mixer}.damping.weight"] = [HEADS, WIDTH]
        if classic:
            for name in ("psi_q.0", "psi_q.1", "psi_k.0", "psi_k.1"):
                found |= linear_shapes(f"{mixer}.{name}", d, d, True)
            found[f"{mixer}.cross.weight"] = [d, d]
        else:
            found |= {f"{mixer}.conv.weight": [3 * WIDTH, 4], f"{mixer}.conv.bias": [3 * WIDTH],
                      f"{mixer}.head_norm.weight": [WIDTH]}
    if classic:
        found |= linear_shapes("interference.0.compress", WIDTH // 4, WIDTH, True)
        found |= linear_shapes("interference.0.expand", WIDTH, WIDTH // 4, True)
        found |= linear_shapes("interference.0.local", WIDTH, WIDTH, True)
        found |= linear_shapes("interference.0.global", WIDTH, WIDTH, True)
        found |= linear_shapes("interference.0.gate", WIDTH, 2 * WIDTH, True)
        found["interference.0.temperature"] = [1]
    return found


def configurations():
    fields = [("modern", damping, deposit, layers) for damping in ("static", "selective")
              for deposit in ("elementwise", "outer") for layers in ([], [1])]
    for form, damping, deposit, layers in fields + [("attention", "static", "outer", []),
                                                    ("classic", "static", "elementwise", [])]:
        yield {"form": form, "damping": damping, "deposit": deposit, "attention_layers": layers,
               "d_model": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "d_ff": INNER,
               "vocab_size": VOCABULARY, "conv_width": 4}


def random_model(config):
    return Oracle(config, {name: 0.3 * torch.randn(shape) for name, shape in shapes(config).items()})


class Laws(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.seed = random.SystemRandom().randrange(2**32)
        print(f"seed {cls.seed}", flush=True)
        torch.manual_seed(cls.seed)

    def test_every_tensor_is_used_and_every_logit_finite(self):
        for config in configurations():
            with self.subTest(config=config):
                model = random_model(config)
                self.assertTrue(model(torch.randint(VOCABULARY, (2, 21))).isfinite().all())
                self.assertEqual(model.unused(), set())

    def test_a_token_changes_every_logit_from_it_on_and_none_before(self):
        for config in configurations():
            with self.subTest(config=config):
                model = random_model(config)
                ids = torch.randint(VOCABULARY, (1, 21))
                other = ids.clone()
                other[0, 12] = (ids[0, 12] + 1) % VOCABULARY
                difference = (model(ids) - model(other)).abs().amax(-1)[0]
                self.assertEqual(difference[:12].max(), 0)
                self.assertGreater(difference[12:].min(), 1e-9)

    def test_waves_are_a_damped_rotation(self):
        count, head = 40, 5
        damping = softplus(torch.randn(2, HEADS, count, dtype=torch.float64))
        frequency, phase = torch.randn(2, HEADS, dtype=torch.float64)
        q, k, v = torch.randn(3, 2, HEADS, count, head, dtype=torch.float64)
        kernel = wave_kernel(damping, frequency, phase)
        elementwise, outer = kernel @ (k * v), (kernel * (q @ k.transpose(-1, -2))) @ v

        field = torch.zeros(2, HEADS, head, head, dtype=torch.complex128)
        for t in range(count):
            turn = torch.exp(-damping[..., t] + 1j * frequency)[..., None, None]
            field = turn * field + k[:, :, t, :, None] * v[:, :, t, None, :]
            heard = (torch.exp(1j * phase)[:, None, None] * field).real
            torch.testing.assert_close(torch.einsum("bhde,bhd->bhe", heard, q[:, :, t]), outer[:, :, t])
            torch.testing.assert_close(heard.diagonal(dim1=-2, dim2=-1), elementwise[:, :, t])

    def test_attention_sees_distances_and_no_positions(self):
        q, k = torch.randn(2, 8, dtype=torch.float64)
        rows = Oracle.rotated(q.expand(1, 1, 9, 8))[0, 0] @ Oracle.rotated(k.expand(1, 1, 9, 8))[0, 0].T
        torch.testing.assert_close(rows[1:, 1:], rows[:-1, :-1])
        self.assertGreater((rows[1:, 0] - rows[0, 0]).abs().min(), 1e-9)

    def test_evaluation_weighs_the_last_window_by_its_tokens(self):
        model = random_model(next(configurations()))
        ids = torch.randint(VOCABULARY, (24,))
        pieces = [evaluate(model, ids[begin:begin + 11], 10) for begin in (0, 10, 20)]
        whole = evaluate(model, ids, 10)
        self.assertEqual([piece["tokens"] for piece in pieces], [10, 10, 3])
        self.assertAlmostEqual(whole["loss"], sum(p["loss"] * p["tokens"] for p in pieces) / 23, places=12)


if __name__ == "__main__":
    unittest.main(verbosity=2)
