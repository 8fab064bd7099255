"""The API's protos with their comments, as protoc reads them."""

import pathlib
import re
import subprocess

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
# A comment line that begins a section of a service: "---- called by workers ----".
SECTION = re.compile(r"^-{4} (.*) -{4}$", re.M)
# The fields of a descriptor that hold named things, with their numbers in descriptor.proto: what the
# paths of SourceCodeInfo are made of.
CHILDREN = {"FileDescriptorProto": (("message_type", 4), ("enum_type", 5), ("service", 6)),
            "DescriptorProto": (("field", 2), ("nested_type", 3), ("enum_type", 4)),
            "EnumDescriptorProto": (("value", 2),),
            "ServiceDescriptorProto": (("method", 2),)}


class Api:
    """files: FileDescriptorProtos of the API in order; pool: messages and services of all files."""

    def __init__(self):
        own = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "wavefield/v1").glob("*.proto"))
        done = subprocess.run(
            ["protoc", f"-I{PROTO}", f"-I{HERE}", "--include_imports", "--include_source_info",
             "--descriptor_set_out=/dev/stdout", *own, "health.proto", "google/rpc/status.proto",
             "google/rpc/error_details.proto"], capture_output=True, check=True)
        self.pool = DescriptorPool()
        self.files, self._comments, self._paths = [], {}, {}
        for file in FileDescriptorSet.FromString(done.stdout).file:
            self.pool.Add(file)
            if file.name in own or file.name == "health.proto":
                self._read_comments(file)
                self.files.append(file)
        self.files.sort(key=lambda file: (not file.service, file.name == "health.proto", file.name))

    def _read_comments(self, file):
        comments = {tuple(place.path): (place.leading_comments + place.trailing_comments)
                    for place in file.source_code_info.location}

        def visit(proto, name, path):
            self._comments[name] = "\n".join(
                line.strip() for line in comments.get(path, "").strip().splitlines())
            for field, number in CHILDREN.get(type(proto).__name__, ()):
                for index, child in enumerate(getattr(proto, field)):
                    visit(child, f"{name}.{child.name}", path + (number, index))

        visit(file, file.package, ())

    def comment(self, full_name):
        """Lines as they stand in the proto, without marks of sections; "" where there is none."""
        return SECTION.sub("", self._comments[full_name]).strip()

    def methods(self):
        """(service, method, whether workers alone call it) of every rpc."""
        for file in self.files:
            for service in file.service:
                section = ""
                for method in service.method:
                    full_name = f"{file.package}.{service.name}.{method.name}"
                    if match := SECTION.search(self._comments[full_name]):
                        section = match.group(1)
                    yield f"{file.package}.{service.name}", method, section == "called by workers"
