"""Asking skopeo: `skopeo copy` under each policy, from directories, archives and a registry on loopback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import dockerregistry

from decisions.places import Places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.tools import Runner

    from decisions.cases import Case
    from decisions.material import Material

RECORDED = Path(__file__).parent / "recorded.json"
ACCEPTED, REJECTED, INVALID = "accepted", "rejected", "invalid"
"""Answers: the image is copied, it is not, or the policy file itself is refused."""

_INSIDE = """
import json, shutil, subprocess, sys
work = sys.argv[1]
answers = []
for words in json.load(open(f"{work}/jobs.json")):
    shutil.rmtree(f"{work}/copied", ignore_errors=True)
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    lines = done.stderr.strip().splitlines() or [""]
    answers.append([done.returncode, lines[-1]])
json.dump(answers, open(f"{work}/answers.json", "w"))
"""


def ask(runner: Runner, table: Sequence[Case], material: Material) -> list[tuple[str, str]]:
    """The answer to each case, and skopeo's message."""
    work = runner.work
    places = Places(work / "table", material)
    places.write()
    (work / "registries.d").mkdir(exist_ok=True)
    text = f"default-docker: {{use-sigstore-attachments: true, lookaside: 'file://{work}/lookaside'}}\n"
    (work / "registries.d/default.yaml").write_text(text)
    (work / "policies").mkdir()
    (work / "registry").mkdir()
    with dockerregistry.served(work / "registry") as host:
        (work / "registries.conf").write_text(_mapped(host, material))
        common = ("skopeo", "--registries.d", f"{work}/registries.d", "--registries-conf", f"{work}/registries.conf")
        jobs = [[*common, "--insecure-policy", *words] for words in _pushes(places, host)]
        pushes = len(jobs)
        for number, case in enumerate(table):
            path = work / "policies" / f"{number}.json"
            path.write_bytes(places.policy(case))
            jobs.append([*common, "--policy", str(path), "copy", "-q", places.source(case), f"dir:{work}/copied"])
        answers = _run(runner, jobs)
    for code, line in answers[:pushes]:
        assert code == 0, line
    return [_answer(code, line, places) for code, line in answers[pushes:]]


def _run(runner: Runner, jobs: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    (runner.work / "jobs.json").write_text(json.dumps(jobs))
    runner.run("python3", "-c", _INSIDE, runner.work)
    return [(code, line) for code, line in json.loads((runner.work / "answers.json").read_text())]


def _slug(domain: str) -> str:
    return re.sub("[^a-z0-9]", "-", domain)


def _mapped(host: str, material: Material) -> str:
    """A registries.conf that maps every registry of the table to a part of the one at *host*."""
    domains = {one.repository.partition("/")[0] for one in material.fixtures.values() if one.repository}
    blocks = [
        f'[[registry]]\nprefix = "{domain}"\nlocation = "{host}/{_slug(domain)}"\ninsecure = true\n'
        for domain in sorted(domains)
    ]
    return "\n".join(blocks)


def _pushes(places: Places, host: str) -> list[list[str]]:
    """Commands that push each fixture with a repository, with its signatures, under the tags of the table."""
    found = []
    for name, fixture in places.material.fixtures.items():
        domain, _, path = fixture.repository.partition("/")
        if not path:
            continue
        tags = ("latest",) if path.startswith("library/") else ("1", "2")
        every = ["--all"] if "lists/" in path else []
        for tag in tags:
            target = f"docker://{host}/{_slug(domain)}/{path}:{tag}"
            found.append(["copy", "-q", *every, "--dest-tls-verify=false", f"dir:{places.top}/dir/{name}", target])
    return found


def _answer(code: int, line: str, places: Places) -> tuple[str, str]:
    match = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    said = json.loads(f'"{match[1]}"', strict=False) if match else line
    said = said.replace(str(places.keys), "@K@").replace(str(places.top), "@W@")
    said = re.sub(r"/[^ \"]*/policies/[0-9]+\.json", "POLICY", said)
    said = re.sub(r"/[^ \"]*/copied", "@OUT@", said)
    if code == 0:
        return ACCEPTED, ""
    return (INVALID if "invalid policy in" in said else REJECTED), said


def save(table: Sequence[Case], answers: Sequence[tuple[str, str]], versions: dict[str, Any]) -> None:
    """Write the answers, by the groups and titles of their cases."""
    rows = [[case.group, case.title, *answer] for case, answer in zip(table, answers, strict=True)]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    RECORDED.write_text(f'{{"versions": {json.dumps(versions)},\n"answers": [\n{lines}\n]}}\n')


def load() -> dict[tuple[str, str], tuple[str, str]]:
    """Read the answers that `save` has written: answer and text, by group and title."""
    kept = json.loads(RECORDED.read_text())
    return {(group, title): (answer, said) for group, title, answer, said in kept["answers"]}
