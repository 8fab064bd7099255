"""docs/api.md: current, complete, and its examples come true on a real cluster."""

import pathlib
import re
import subprocess
import sys
import unittest

import grpc
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from cluster import ClusterTest

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "api"
sys.path.insert(0, str(SOURCE))

import generate  # noqa: E402
from descriptors import Api  # noqa: E402


def missing(expected, found, place="answer"):
    """What of `expected` is not in `found`, in words; None when all of it is."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            if key not in found:
                return f"{place}.{key} is missing"
            if problem := missing(value, found[key], f"{place}.{key}"):
                return problem
        return None
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        problems = (missing(*pair, f"{place}[{index}]") for index, pair in enumerate(zip(expected, found)))
        return next((problem for problem in problems if problem), None)
    return None if expected == found else f"{place} is {found!r}, not {expected!r}"


class ThePage(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.api = Api()
        cls.text = generate.Page(cls.api).text()

    def test_is_current(self):
        done = subprocess.run([sys.executable, "-B", SOURCE / "generate.py", "--check"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, f"run docs/api/generate.py\n{done.stdout}{done.stderr}")

    def test_its_links_lead_somewhere(self):
        headings = [generate.anchor(line.lstrip("# ")) for line in self.text.splitlines()
                    if line.startswith("#")]
        self.assertEqual(len(headings), len(set(headings)), "two headings have one anchor")
        targets = set(re.findall(r"\]\(([^)]+)\)", self.text))
        self.assertGreater(len(targets), 100)
        for target in targets:
            if target.startswith("#"):
                self.assertIn(target[1:], headings)
            elif not target.startswith("https://"):
                self.assertTrue((generate.PAGE.parent / target).exists(), target)

    def test_every_call_for_people_has_an_example(self):
        public = {f"{service}.{method.name}" for service, method, by_workers in self.api.methods()
                  if not by_workers}
        self.assertEqual(public, {example["call"] for example in generate.examples()})

    def test_what_does_not_explain_itself_has_a_comment(self):
        for service, method, _ in self.api.methods():
            if not re.match("(Get|List)[A-Z]", method.name):
                self.assertTrue(self.api.comment(f"{service}.{method.name}"), f"{service}.{method.name}")
        silent = set()
        for file in self.api.files:
            for thing in [*file.message_type, *file.enum_type]:
                name = f"{file.package}.{thing.name}"
                members = thing.field if thing in file.message_type else thing.value
                names = [name, *(f"{name}.{member.name}" for member in members)]
                if not re.search("(Request|Response)$", name) and not any(map(self.api.comment, names)):
                    silent.add(thing.name)
        self.assertEqual(silent, set())


class Examples(ClusterTest):

    def call(self, example):
        """An iterator over the answers, as dicts, and a function that ends the call."""
        service, name = example["call"].rsplit(".", 1)
        method = self.api.pool.FindServiceByName(service).methods_by_name[name]
        Request, Answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        requests = [json_format.ParseDict(request, Request())
                    for request in example.get("requests", [example.get("request")])]
        # On the wire a stream of one message and a message are the same.
        rpc = self.channel.stream_stream(f"/{service}/{name}", Request.SerializeToString, Answer.FromString)
        call = rpc(iter(requests), timeout=60)
        return map(self.as_json, call), call.cancel

    def as_json(self, message):
        return json_format.MessageToDict(message, preserving_proto_field_name=True,
                                         descriptor_pool=self.api.pool)

    def error_of(self, answers):
        with self.assertRaises(grpc.RpcError) as raised:
            list(answers)
        error = raised.exception
        if details := dict(error.trailing_metadata()).get("grpc-status-details-bin"):
            Status = GetMessageClass(self.api.pool.FindMessageTypeByName("google.rpc.Status"))
            return self.as_json(Status.FromString(details))
        return {"code": error.code().value[0], "message": error.details()}

    def test_come_true_in_their_order(self):
        self.api = Api()
        self.channel = grpc.insecure_channel(self.address)
        self.addCleanup(self.channel.close)
        for number, example in enumerate(generate.examples(), 1):
            with self.subTest(f"example {number}, {example['call']}"):
                self.come_true(example)

    def come_true(self, example):
        answers, end = self.call(example)
        if "error" in example:
            self.assertIsNone(missing(example["error"], self.error_of(answers), "error"))
            return
        if "answer" in example:
            answers = list(answers)
            self.assertEqual(len(answers), 1)
            self.assertIsNone(missing(example["answer"], answers[0]))
            return
        problems = []
        for expected in example["answers"]:
            for answer in answers:
                problem = missing(expected, answer)
                if problem is None:
                    break
                problems.append(problem)
            else:
                self.fail(f"{expected} did not come: {problems[-5:]}\n{self.logs()}")
        end()


if __name__ == "__main__":
    unittest.main(verbosity=2)
