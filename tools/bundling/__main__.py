"""The command line of `tools/bundle`; its help is in that script."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename

from bundling import wheels
from bundling.single.build import write
from bundling.target import PYTHONS, BundleError, targets, this_platform, this_python

if TYPE_CHECKING:
    from bundling.target import Target


def main() -> int:
    """Make the bundle that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="tools/bundle", add_help=False)
    parser.add_argument("form", choices=["wheels", "file"])
    parser.add_argument("output", nargs="?", type=Path)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--platform", default=this_platform())
    parser.add_argument("--extra", action="append", default=[])
    parser.add_argument("--constraint")
    options = parser.parse_args()
    default = [this_python()] if options.form == "wheels" else list(PYTHONS)
    try:
        wanted = targets(options.python or default, options.platform)
        with tempfile.TemporaryDirectory(prefix="arstore-bundle-") as place:
            own = wheels.own_wheel(Path(place))
            found = {}
            for target in wanted:
                print(f"bundle: Python {target.python} on {target.platform}", file=sys.stderr)
                found[target] = wheels.collect(own, target, options.extra, options.constraint)
            output = _wheels(found, options.output) if options.form == "wheels" else _file(found, own, options.output)
    except (BundleError, OSError) as error:
        print(f"bundle: {error}", file=sys.stderr)
        return 1
    print(output)
    return 0


def _wheels(found: dict[Target, list[Path]], output: Path | None) -> Path:
    """Write all wheels with their checksums and versions, as a directory or as a tar."""
    every = {path.name: path for paths in found.values() for path in paths}
    versions = {parse_wheel_filename(name)[:2] for name in every}
    files = {name: path.read_bytes() for name, path in every.items()}
    pins = sorted(f"{name}=={version}\n" for name, version in versions if name != "arstore")
    files["constraints.txt"] = "".join(pins).encode()
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
    files["SHA256SUMS"] = "".join(sums).encode()
    output = output or wheels.CHECKOUT / "dist" / f"arstore-{_version(every)}-wheels"
    if output.suffix == ".tar":
        _replace(output, _tar(files, output.stem))
        return output
    if output.exists() and any(output.iterdir()):
        raise BundleError(f"{output} is not empty")
    output.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (output / name).write_bytes(data)
    return output


def _tar(files: dict[str, bytes], top: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode, member.mtime = len(data), 0o644, wheels.OLDEST
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _file(found: dict[Target, list[Path]], own: Path, output: Path | None) -> Path:
    """Write the executable file."""
    version = _version([own.name])
    platform = next(iter(found)).platform
    output = output or wheels.CHECKOUT / "dist" / f"arstore-{version}-{platform}.pyz"
    _replace(output, write(version, platform, {target.tag: paths for target, paths in found.items()}), 0o755)
    return output


def _version(names: list[str] | dict[str, Path]) -> str:
    return next(str(parse_wheel_filename(name)[1]) for name in names if name.startswith("arstore-"))


def _replace(output: Path, data: bytes, mode: int = 0o644) -> None:
    """Put *data* at *output* in one step: the file may be one that is running."""
    output.parent.mkdir(parents=True, exist_ok=True)
    new = output.with_name(f".{output.name}.{os.getpid()}")
    new.write_bytes(data)
    new.chmod(mode)
    new.replace(output)


if __name__ == "__main__":
    sys.exit(main())
