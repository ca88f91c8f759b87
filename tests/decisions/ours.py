"""The answers of arstore: the evaluator of policies, with the material alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import PolicyError
from arstore.oci.docker_reference import DockerReference
from arstore.trust import dir_file
from arstore.trust.policy import scope
from arstore.trust.policy.document import read
from arstore.trust.policy.evaluate import Signed, judge
from decisions.skopeo import ACCEPTED, INVALID, REJECTED

if TYPE_CHECKING:
    from arstore.trust.policy.subject import Subject
    from arstore.trust.signature import Signature
    from decisions.cases import Case
    from decisions.material import Fixture
    from decisions.places import Places


def ask(case: Case, places: Places) -> tuple[str, str]:
    """The answer to one case, and why."""
    try:
        policy = read(places.policy(case), "POLICY", explicit=True)
    except PolicyError as error:
        return INVALID, str(error)
    fixture = places.material.fixtures[case.fixture]
    image, within = _signed(fixture, places, "oci" not in case.source and "archive" not in case.source)
    verdict = judge(policy, _subject(places.source(case)), image, within)
    return (ACCEPTED if verdict.accepted else REJECTED), verdict.reason


def _subject(source: str) -> Subject:
    transport, _, rest = source.partition(":")
    if transport == "docker":
        return scope.registry_subject(DockerReference.parse(rest.removeprefix("//")))
    if transport == "docker-archive":
        return scope.unnamed_subject(transport)
    path = rest.partition(":")[0]
    return scope.path_subject(transport, path)


def _signed(fixture: Fixture, places: Places, carries: bool) -> tuple[Signed, list[Signed]]:
    """The image that a host of the usual platform takes, and the index that contains it."""
    manifest = fixture.files["manifest.json"]
    first = places.pictures["first"].digest
    if f"{first[7:]}.manifest.json" not in fixture.files:
        return _part(manifest, fixture, "", carries), []
    instance = fixture.files[f"{first[7:]}.manifest.json"]
    assert Digest.of(instance) == first
    return _part(instance, fixture, first[7:], carries), [_part(manifest, fixture, "", carries)]


def _part(content: bytes, fixture: Fixture, instance: str, carries: bool) -> Signed:
    def signatures() -> list[Signature]:
        files = fixture.signatures(instance) if carries else []
        return dir_file.read_files(files)

    return Signed(None, content, signatures)
