"""Lines that users of podman and docker type from habit: each works, or is answered with the command of ours."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from support import images
from support import registry as registries
from support.copying import copy_store

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]

APPLETS = ["cat", "echo", "env", "hostname", "id", "ls", "ps", "sh", "sleep", "touch"]

WORKS = (
    ("podman images", b"box:1"),
    ("podman run --rm box:1 echo hello", b"hello\n"),
    ("docker run -i --rm -e A=b -w /tmp box:1 sh -c 'echo $A $PWD'", b"b /tmp\n"),
    ("podman run --rm --hostname web box:1 hostname", b"web\n"),
    ("podman run --rm -u 1000:1000 box:1 id -u", b"1000\n"),
    ("podman run --rm -v HERE:/mnt:ro box:1 ls /mnt", b"box.tar"),
    ("podman run --rm --privileged --network host --memory 64m box:1 echo x", b"x\n"),
    ("podman run --rm --read-only --tmpfs /tmp box:1 touch /tmp/x", b""),
    ("podman run -d --name web box:1 sleep 60", b"web"),
    ("podman ps", b"web"),
    ("podman ps -a", b"web"),
    ("podman ps -aq", b"web"),
    ("podman ps --filter status=running", b"web"),
    ("podman images -q", b""),
    ("docker images -q --no-trunc", b"sha256:"),
    ("docker images --format '{{.Repository}}:{{.Tag}}'", b"box:1"),
    ("docker images --filter dangling=true -q", b""),
    ("podman ps -a --format json", b"box:1"),
    ("docker ps --format 'table {{.ID}} {{.Names}}'", b"CONTAINER ID"),
    ("docker logs --tail 5 web", b""),
    ("docker exec -u 0 web id -u", b"0\n"),
    ("docker stats --no-stream", b"web"),
    ("docker inspect --type image box:1", b"sha256:"),
    ("docker volume ls", b"NAME"),
    ("podman unshare true", b""),
    ("docker info", b"versions:"),
    ("docker images -a", b"box:1"),
    ("podman inspect -f '{{.Id}}' box:1", b""),
    ("podman inspect -f '{{.State.Status}}' web", b"running"),
    ("podman top web", b"sleep"),
    ("podman cp web:/bin/busybox HERE/busybox", b""),
    ("podman volume create data", b"data"),
    ("podman run --rm -v data:/data box:1 touch /data/x", b""),
    ("podman volume rm data", b"data"),
    ("podman exec web echo inside", b"inside\n"),
    ("podman exec -i -e A=b web env", b"A=b"),
    ("podman logs web", b""),
    ("podman diff web", b""),
    ("podman kill -s TERM web", b""),
    ("podman stop -t 0 web", b"web"),
    ("podman wait web", b""),
    ("podman commit -m note web made:1", b""),
    ("podman history made:1", b"arstore commit web"),
    ("podman start web", b"web"),
    ("podman restart -t 0 web", b"web"),
    ("podman container rm -f web", b""),
    ("podman container prune -f", b""),
    ("podman tag box:1 other:1", b""),
    ("podman untag other:1", b""),
    ("podman inspect box:1", b"sha256:"),
    ("podman save -o HERE/saved.tar box:1", b""),
    ("podman import HERE/saved.tar", b"box:1"),
    ("podman mount box:1", b"/"),
    ("podman umount -a", b""),
    ("docker push box:1 REGISTRY/team/box:1", b""),
    ("docker pull REGISTRY/team/box:1", b"box:1"),
    ("skopeo copy docker://REGISTRY/team/box:1 oci:HERE/layout:box", b"sha256:"),
    ("skopeo inspect docker://REGISTRY/team/box:1", b"sha256:"),
    ("skopeo list-tags docker://REGISTRY/team/box", b"1"),
    ("podman --version", b"arstore "),
    ("podman info", b"arstore"),
    ("podman rm made:1", b""),
)
"""Lines that do here what they do there, and something that they print."""

ANSWERED = (
    ("podman rmi made:1", "`arstore rm IMAGE...`"),
    ("podman image ls", "`arstore images`"),
    ("podman image rm box:1", "`arstore rm`"),
    ("docker image prune -f", "`arstore gc`"),
    ("podman container ls -a", "`arstore ps`"),
    ("docker system df", "`arstore du`"),
    ("docker system prune -af", "`arstore gc`"),
    ("podman load", "`arstore import FILE`"),
    ("docker build -t x .", "`arstore import`"),
    ("podman login -u me -p secret registry.example.com", "--password-stdin"),
    ("podman search nginx", "`arstore list-tags REPOSITORY`"),
    ("podman version", "`arstore --version`"),
    ("docker network create x", "there are no named networks"),
    ("docker volume exists x", "`arstore volume"),
    ("podman images --digests", "arstore images"),
    ("podman system reset", "arstore"),
    ("podman generate kube web", "arstore"),
    ("docker compose up -d", "`arstore run`"),
    ("podman pod create", "`arstore run`"),
    ("podman manifest create x", "`arstore index create NAME IMAGE...`"),
    ("podman pull -q box:1", "`arstore --quiet`"),
    ("skopeo copy --src-tls-verify=false docker://a/b oci:c", "--tls-verify"),
    ("skopeo standalone-sign m.json r key -o s", "`arstore sign --key FILE IMAGE`"),
    ("umoci new --image x", "`arstore import --rootfs TAR NAME`"),
    ("umoci unpack --image x bundle", "give the image as an argument"),
    ("ctr images pull x", "`arstore pull`"),
    ("crane ls x", "`arstore list-tags`"),
    ("docker import root.tar name", "--rootfs"),
    ("podman system prune -a", "`arstore container prune`"),
    ("docker system df -v", "`arstore du`"),
    ("docker container ls", "`arstore ps`"),
    ("docker container stop web", "`arstore stop`"),
    ("docker image ls", "`arstore images`"),
    ("docker image rm made:1", "`arstore rm`"),
    ("podman image tree box:1", "`arstore layers`"),
    ("podman image exists box:1", "`arstore inspect IMAGE`"),
    ("docker history --no-trunc box:1", "--json"),
    ("docker rm -v web", "`arstore container rm`"),
    ("docker rm", "`arstore container rm`"),
    ("docker rmi -f box:1", "`arstore rm IMAGE...`"),
    ("docker build .", "`arstore import`"),
    ("docker compose ps", "`arstore run`"),
    ("podman pod ls", "`arstore run`"),
    ("podman machine start", "virtual machines"),
    ("podman stop -a", "`arstore ps --all --quiet`"),
    ("podman logs -l", "`arstore ps --latest --quiet`"),
    ("podman mount", "`arstore mounts`"),
    ("podman help run", "`arstore run --help`"),
    ("docker info --format '{{.Driver}}'", "--json"),
    ("docker port web", "`arstore ps"),
    ("docker events", "no daemon"),
    ("docker secret ls", "--env-file"),
    ("ctr i ls", "`arstore images`"),
    ("ctr c rm web", "`arstore container rm`"),
    ("crane pull x y", "`arstore copy docker://NAME DESTINATION`"),
    ("buildah copy c a b", "`arstore cp FILE ID:PATH`"),
    ("docker tag a b c", "one name"),
)
"""Lines that arstore refuses, and what its answer names."""
RUN_ANSWERED = (
    ("docker run -p 80:80 nginx", "--network"),
    ("podman run --mount type=bind,src=/missing,dst=/b box:1", "no such file or directory"),
    ("podman run --userns keep-id box:1", "--userns"),
    ("docker run --pod new:x box:1", "a container runs by itself"),
)
"""Lines of `run`: its errors have the status 125, as in podman and docker."""


@pytest.fixture(scope="module")
def box_image(busybox):
    """An image of busybox, named box:1."""
    members = [images.directory("./"), images.directory("bin"), images.directory("etc"), images.directory("mnt")]
    members += [images.file("bin/busybox", Path(busybox).read_bytes(), 0o755), images.directory("tmp", 0o1777)]
    members += [images.symlink(f"bin/{name}", "busybox") for name in APPLETS]
    return images.image(images.layer(members, "none"), names=["box:1"], config={"Env": ["PATH=/bin"]})


@pytest.fixture
def box(store, tmp_path, tmp_path_factory, box_image):
    """A store with an image of busybox, whose archive is in HERE."""
    images.write_oci_archive(tmp_path / "box.tar", box_image)
    copy_store(tmp_path_factory, box_image, store.root, store.runroot)
    return store


def typed(line, **places):
    """The arguments of a line, without the name of the tool, and with *places* put in."""
    for name, value in places.items():
        line = line.replace(name, str(value))
    return shlex.split(line)[1:]


def test_there_are_many():
    assert len(WORKS) >= 60
    assert len(ANSWERED) + len(RUN_ANSWERED) >= 60


def test_lines_that_work(box, tmp_path):
    with registries.served() as server:
        configuration = tmp_path / "registries.conf"
        configuration.write_text(f'[[registry]]\nlocation = "{server.host}"\ninsecure = true\n')
        for line, text in WORKS:
            words = typed(line, HERE=tmp_path, REGISTRY=server.host)
            outcome = box.run(*words, CONTAINERS_REGISTRIES_CONF=str(configuration))
            assert outcome.status == 0, f"{line}: {outcome.err}"
            assert text in outcome.out, f"{line}: {outcome.out!r}"


@pytest.mark.parametrize(("line", "text"), ANSWERED + RUN_ANSWERED, ids=lambda one: one if " " not in one else None)
def test_lines_that_are_answered(box, line, text):
    outcome = box.run(*typed(line))
    assert outcome.status == (125 if (line, text) in RUN_ANSWERED else 2), outcome.err
    assert outcome.out == b""
    assert len(outcome.err.splitlines()) == 1
    assert text in outcome.err
