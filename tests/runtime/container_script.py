"""Run one container in a separate process, so that tests can kill it, feed it and read its streams.

Usage: container_script.py SPEC.json: `mode` run, start or exec; the exit status is the container's, and 125 with the
error's class and line in `result` otherwise.
"""

from __future__ import annotations

import json
import sys

from arstore.errors import ArstoreError
from arstore.linux.mounting.mount import MS_BIND, mount
from arstore.oci.config import ImageConfig
from arstore.oci.platform import Platform
from arstore.runtime.driver import OciRuntime
from arstore.runtime.lifecycle.exec import exec_in, start_exec
from arstore.runtime.lifecycle.launch import Launch
from arstore.runtime.lifecycle.launcher import run, start
from arstore.runtime.spec.devices import HostDevice
from arstore.runtime.spec.limits import Tmpfs, Ulimit
from arstore.runtime.spec.options import ExecOptions, RunOptions, Volume
from arstore.runtime.spec.security import Security


def tuples(fields: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def main(spec: dict) -> int:
    options = tuples(spec["options"])
    if spec["mode"] == "exec-detached":
        start_exec(spec["directory"], tuple(spec["args"]), ExecOptions(**options))
        return 0
    if spec["mode"] == "exec":
        return exec_in(spec["directory"], tuple(spec["args"]), ExecOptions(**options)).status
    options["security"] = Security(**tuples(options.get("security", {})))
    options["devices"] = tuple(HostDevice(*fields) for fields in options.get("devices", ()))
    options["ulimits"] = tuple(Ulimit(*fields) for fields in options.get("ulimits", ()))
    options["tmpfs"] = tuple(Tmpfs(place, tuple(words)) for place, words in options.get("tmpfs", ()))
    options["volumes"] = tuple(Volume(*fields) for fields in options.get("volumes", ()))
    launch = Launch(
        id=spec["id"],
        directory=spec["directory"],
        config=ImageConfig(b"", Platform("linux", "amd64"), (), **tuples(spec["config"])),
        options=RunOptions(**options),
        runtime=OciRuntime(spec["runtime"], spec["seccomp"]),
        mount_rootfs=lambda target: mount(spec["rootfs"], target, flags=MS_BIND),
        timeout=spec["timeout"],
    )
    if spec["mode"] == "start":
        start(launch)
        return 0
    return run(launch).status


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    try:
        sys.exit(main(document))
    except ArstoreError as error:
        with open(document["result"], "w", encoding="utf-8") as file:
            json.dump([type(error).__name__, str(error)], file)
        sys.exit(125)
