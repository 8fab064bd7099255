#!/usr/bin/env python3
"""Writes docs/api.md from the protos and examples.yaml.

  generate.py            the committed page
  generate.py --check    fails, with a diff, where it is not current
"""

import argparse
import difflib
import json
import re
import sys

import yaml
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from descriptors import HERE, Api

PAGE = HERE.parent / "api.md"
INTRODUCTION = """<!-- Written by docs/api/generate.py from proto/ and docs/api/examples.yaml; change those. -->
# API reference

Every call of the coordinator, over gRPC. How a client is made from the protos, or from reflection alone:
[proto/README.md](../proto/README.md). The address is what `--listen` says, `127.0.0.1:7070` by default;
with a token file every call but health checks carries `authorization: Bearer TOKEN`.

Examples are JSON as Protocol Buffers define it: 64-bit integers are strings, bytes are base64, a field that
holds its default is left out. Of an answer an example shows a part; of a stream, some of its messages in
their order. They are one story, in the order of [api/examples.yaml](api/examples.yaml), which
`tests/integration/api_reference_test.py` lives through on a real cluster.

An error is shown as `google.rpc.Status`: gRPC's status code and message, and details for programs where it
has any. Those come in the trailer `grpc-status-details-bin`.
"""


def examples():
    """Dicts: call; request, or requests of a stream; answer, answers of a stream, or error; perhaps say."""
    return yaml.safe_load((HERE / "examples.yaml").read_text())


def anchor(heading):
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def short(full_name):
    """Without its package, which is the file's own everywhere but in google.protobuf."""
    return re.sub(r"^\.?[a-z0-9_.]+\.(?=[A-Z])", "", full_name)


def link(full_name):
    name = short(full_name)
    if full_name.lstrip(".").startswith("google.protobuf."):
        return f"[{name}](https://protobuf.dev/reference/protobuf/google.protobuf/#{anchor(name)})"
    return f"[{name}](#{anchor(name)})"


def prose(comment):
    text = re.sub(r"([*<>])", r"\\\1", comment)
    return re.sub(r"\bdocs/([\w-]+\.md)", r"[docs/\1](\1)", text)


def cell(comment):
    return prose(comment).replace("|", r"\|").replace("\n", " ")


def compact(value, indent=""):
    """JSON; what fits into a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or len(indent + line) <= 80:
        return line
    inner = indent + "  "
    if isinstance(value, list):
        items, (begin, end) = [compact(item, inner) for item in value], "[]"
    else:
        items, (begin, end) = [f"{json.dumps(key)}: {compact(item, inner)}" for key, item in value.items()], "{}"
    return f"{begin}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{end}"


def code(value):
    return ["```json", compact(value), "```", ""]


class Page:

    def __init__(self, api):
        self.api, self.lines = api, [INTRODUCTION]
        self.maps = {}
        for file in api.files:
            for message in file.message_type:
                self._find_maps(message, f".{file.package}.{message.name}")

    def _find_maps(self, message, name):
        for nested in message.nested_type:
            if nested.options.map_entry:
                self.maps[f"{name}.{nested.name}"] = nested
            self._find_maps(nested, f"{name}.{nested.name}")

    def text(self):
        self._contents()
        shown = examples()
        for file in self.api.files:
            for service in file.service:
                self._service(f"{file.package}.{service.name}", shown)
        self.lines += ["# Messages", ""]
        for file in self.api.files:
            for message in file.message_type:
                self._message(message, f"{file.package}.{message.name}")
            for enum in file.enum_type:
                self._enum(enum, f"{file.package}.{enum.name}")
        return "\n".join(self.lines).rstrip() + "\n"

    def _contents(self):
        self.lines += ["| service | calls |", "| --- | --- |"]
        rows = {}
        for service, method, by_workers in self.api.methods():
            name = f"{short(service)}.{method.name}"
            rows.setdefault((service, by_workers), []).append(f"[{method.name}](#{anchor(name)})")
        for (service, by_workers), calls in rows.items():
            mark = ", called by workers" if by_workers else ""
            self.lines.append(f"| [{service}](#{anchor(service)}){mark} | {', '.join(calls)} |")
        self.lines.append("")

    def _service(self, name, shown):
        self.lines += [f"# {name}", "", prose(self.api.comment(name)), ""]
        for service, method, by_workers in self.api.methods():
            if service == name:
                self._method(name, method, by_workers,
                             [example for example in shown if example["call"] == f"{name}.{method.name}"])

    def _method(self, service, method, by_workers, shown):
        name = f"{service}.{method.name}"
        self.lines += [f"## {short(service)}.{method.name}", "", "".join((
            "**Workers alone call this.** " if by_workers else "",
            "stream of " if method.client_streaming else "", link(method.input_type), " → ",
            "stream of " if method.server_streaming else "", link(method.output_type))), ""]
        if comment := self.api.comment(name):
            self.lines += [prose(comment), ""]
        for example in shown:
            self._example(example)

    def _example(self, example):
        if say := example.get("say"):
            self.lines += [say, ""]
        for title, key in (("Request", "request"), ("Answer", "answer"), ("Error", "error")):
            if key in example:
                self.lines += [f"{title}:", "", *code(example[key])]
            for number, message in enumerate(example.get(f"{key}s", [])):
                self.lines += [f"{title}s, one after the other:" if number == 0 else "then", "", *code(message)]

    def _message(self, message, name):
        self._heading(name)
        if message.field:
            self.lines += ["| field | type | |", "| --- | --- | --- |"]
            self.lines += [f"| `{field.name}` | {self._type(field, message)} | "
                           f"{cell(self.api.comment(f'{name}.{field.name}'))} |" for field in message.field]
        else:
            self.lines.append("It has no fields.")
        self.lines.append("")
        for nested in message.nested_type:
            if not nested.options.map_entry:
                self._message(nested, f"{name}.{nested.name}")
        for enum in message.enum_type:
            self._enum(enum, f"{name}.{enum.name}")

    def _enum(self, enum, name):
        self._heading(name)
        self.lines += ["| value | | |", "| --- | --- | --- |"]
        self.lines += [f"| `{value.name}` | {value.number} | {cell(self.api.comment(f'{name}.{value.name}'))} |"
                       for value in enum.value]
        self.lines.append("")

    def _heading(self, name):
        self.lines += [f"## {short(name)}", ""]
        if comment := self.api.comment(name):
            self.lines += [prose(comment), ""]

    def _type(self, field, message):
        if entry := self.maps.get(field.type_name):
            key, value = entry.field
            return f"map of {self._scalar(key)} to {self._scalar(value)}"
        name = self._scalar(field)
        if field.label == Field.LABEL_REPEATED:
            return f"repeated {name}"
        if field.proto3_optional:
            return f"optional {name}"
        if field.HasField("oneof_index"):
            return f"{name}, one of `{message.oneof_decl[field.oneof_index].name}`"
        return name

    def _scalar(self, field):
        if field.type_name:
            return link(field.type_name)
        return Field.Type.Name(field.type).removeprefix("TYPE_").lower()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = Page(Api()).text()
    if not check:
        PAGE.write_text(text)
        return 0
    committed = PAGE.read_text() if PAGE.exists() else ""
    sys.stdout.writelines(difflib.unified_diff(
        committed.splitlines(True), text.splitlines(True), "committed/docs/api.md", "generated/docs/api.md"))
    return int(committed != text)


if __name__ == "__main__":
    sys.exit(main())
