"""Code from the protos, and the checks that keep both in step.

    python tools/protos.py generate   write bandit_router/v1/*_pb2* from protos/
    python tools/protos.py check      list generated files that are not what protos/ would give; exit 1 if there are any
    python tools/protos.py lint       buf lint and buf format
    python tools/protos.py breaking   compare protos/ with the last released API, protos/released.binpb
    python tools/protos.py release    make the present API the released one

Generated modules are named as the protos are (`-I protos`), so their imports need no patching. One thing is taken out
on the way: the import of buf/validate/validate.proto. The validation rules are custom options, which a descriptor
carries as plain bytes whether or not their definition is at hand, and protovalidate reads them with a definition of its
own. So the generated code needs no module `buf.validate`, which no maintained package offers for google.protobuf, and
which, shipped from here, would clash with everybody else's in the one global descriptor pool.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
RELEASED = PROTOS / "released.binpb"
PACKAGE = "bandit_router/v1"
OPTIONS_ONLY_IMPORT = "buf/validate/validate.proto"
GENERATED = "*_pb2*"


def generate(out: Path, *, protos: Path = PROTOS) -> None:
    """Write the modules and stubs of every proto of the package under `out`. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "image.binpb")
        _compile(protos, image)
        descriptors = _without_option_import(FileDescriptorSet.FromString(image.read_bytes()))
        image.write_bytes(descriptors.SerializeToString())
        own = [file for file in descriptors.file if _is_own(file)]
        _emit(image, ["python", "mypy"], own, out)
        _emit(image, ["grpc_python", "mypy_grpc"], [file for file in own if file.service], out)


def regenerate() -> int:
    """Bring the committed modules up to date, removing those that no proto stands for any more."""
    for stale in (ROOT / PACKAGE).glob(GENERATED):
        stale.unlink()
    generate(ROOT)
    return 0


def drift(*, protos: Path = PROTOS, committed: Path = ROOT) -> list[str]:
    """Generated files under `committed` that are missing, stale or different, one line each; empty when in step."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch), protos=protos)
        fresh = {path.name: path for path in Path(scratch, PACKAGE).glob(GENERATED)}
        found = {path.name: path for path in (committed / PACKAGE).glob(GENERATED)}
        return [
            *(f"missing: {PACKAGE}/{name}" for name in sorted(fresh.keys() - found.keys())),
            *(f"stale: {PACKAGE}/{name}" for name in sorted(found.keys() - fresh.keys())),
            *(
                f"different: {PACKAGE}/{name}"
                for name in sorted(fresh.keys() & found.keys())
                if not filecmp.cmp(fresh[name], found[name], shallow=False)
            ),
        ]


def check() -> int:
    """Print what has drifted; 1 if anything has."""
    lines = drift()
    if lines:
        print("Generated code is not what protos/ gives; run: python tools/protos.py generate")
    print("\n".join(lines) or "Generated code is up to date.")
    return 1 if lines else 0


def lint(protos: Path = PROTOS) -> int:
    """Run buf's linter and its format check; 0 if both pass. Both print what they find."""
    return _buf("lint", protos) or _buf("format", protos, "--diff", "--exit-code")


def breaking(protos: Path = PROTOS) -> int:
    """Compare with the released API; 0 if every released client still works."""
    return _buf("breaking", protos, "--against", RELEASED)


def release() -> int:
    """Write the image of the present API, without comments and positions, as the released one."""
    return _buf("build", PROTOS, "--exclude-source-info", "-o", RELEASED)


def _compile(protos: Path, image: Path) -> None:
    includes = [f"-I{protos}", f"-I{files('grpc_tools') / '_proto'}"]
    sources = sorted(path.relative_to(protos).as_posix() for path in (protos / PACKAGE).glob("*.proto"))
    _protoc(*includes, "--include_imports", "--include_source_info", f"--descriptor_set_out={image}", *sources)


def _without_option_import(descriptors: FileDescriptorSet) -> FileDescriptorSet:
    """The same files, those of the package without their import of the validation rules' definition."""
    for file in filter(_is_own, descriptors.file):
        assert not file.public_dependency, "positions in `dependency` would shift"
        if OPTIONS_ONLY_IMPORT in file.dependency:
            file.dependency.remove(OPTIONS_ONLY_IMPORT)
    return descriptors


def _is_own(file: FileDescriptorProto) -> bool:
    return file.name.startswith(f"{PACKAGE}/")


def _emit(image: Path, generators: Iterable[str], own: Iterable[FileDescriptorProto], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    outs = [f"--{name}_out={'quiet:' if name.startswith('mypy') else ''}{out}" for name in generators]
    _protoc(f"--descriptor_set_in={image}", *outs, *(file.name for file in own))


def _protoc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True, env=_environment())


def _buf(*arguments: str | Path) -> int:
    return subprocess.run(["buf", *arguments], check=False, env=_environment()).returncode


def _environment() -> dict[str, str]:
    """The caller's environment, with this interpreter's own scripts (buf, the protoc plug-ins) first on the path."""
    return {**os.environ, "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])}


COMMANDS: dict[str, Callable[[], int]] = {
    "generate": regenerate,
    "check": check,
    "lint": lint,
    "breaking": breaking,
    "release": release,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=sorted(COMMANDS))
    return COMMANDS[parser.parse_args(arguments).command]()


if __name__ == "__main__":
    sys.exit(main())
