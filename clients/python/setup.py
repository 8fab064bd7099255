"""Compiles the service's protos into the package: `wavefield/api.binpb`, a FileDescriptorSet."""

import pathlib
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"


class BuildWithApi(build_py):

    def run(self):
        super().run()
        package = HERE if self.editable_mode else pathlib.Path(self.build_lib)
        compile_api(package / "wavefield" / "api.binpb")


def compile_api(output):
    import grpc_tools
    from grpc_tools import protoc

    files = sorted([*PROTO.glob("wavefield/v1/*.proto"), *PROTO.glob("google/rpc/*.proto")])
    if not files:
        raise SystemExit(f"no protos in {PROTO}: install the client from a whole Wavefield tree")
    code = protoc.main([
        "protoc", f"-I{PROTO}", f"-I{pathlib.Path(grpc_tools.__file__).parent / '_proto'}",
        "--include_imports", f"--descriptor_set_out={output}", *map(str, files)])
    if code != 0:
        raise SystemExit(f"protoc ended with {code}")


# Built outside the tree, where no file of an earlier build can get into the package.
with tempfile.TemporaryDirectory(prefix="wavefield-build-") as build:
    setup(cmdclass={"build_py": BuildWithApi}, options={"build": {"build_base": build}})
