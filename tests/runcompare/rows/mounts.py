"""Mounts and volumes."""

from __future__ import annotations

from runcompare.row import Row, probing, scripts

THEME = "mounts and volumes"


def rows() -> list[Row]:
    """Return the rows of the theme."""
    words = (
        "-v $PWD/src:/mnt:ro",
        "-v ./src:/mnt",
        "-v $PWD/src/file:/mnt/deep/file",
        "-v $PWD/src:/mnt:z",
        "-v $PWD/src:/mnt:Z,ro",
        "-v $PWD/src:/mnt:nosuid,nodev,noexec",
        "-v $PWD/src:/mnt:rshared",
        "-v $PWD/src:/mnt:rslave",
        "-v $PWD/src:/mnt:private",
        "-v $PWD/src:/mnt:U -u app",
        "-v $PWD/src:/mnt:O",
        "-v named:/mnt",
        "-v named:/data",
        "-v named:/data:nocopy",
        "-v named:/data:ro",
        "-v /data",
        "-v $PWD/src:/mnt -v $PWD/owned:/mnt/sub",
        "-v $PWD/src:/work",
        "--tmpfs /mnt",
        "--tmpfs /mnt:size=2m,mode=700",
        "--tmpfs /data",
        "--tmpfs /mnt:ro,exec",
        "--mount type=bind,src=$PWD/src,dst=/mnt",
        "--mount type=bind,src=$PWD/src,dst=/mnt,readonly,bind-propagation=rslave",
        "--mount type=volume,src=named,dst=/data",
        "--mount type=tmpfs,dst=/mnt,tmpfs-size=1m,tmpfs-mode=1770",
        "--mount type=image,src=rich,dst=/mnt",
        "--read-only --tmpfs /mnt",
        "--read-only -v $PWD/src:/mnt",
        "--device /dev/fuse",
        "--device /dev/null:/dev/other:rwm -u app",
    )
    cases = (
        (
            "files written by root",
            "run -v $PWD/src:/mnt plain sh -c 'echo x >/mnt/new; mkdir /mnt/made; chmod 600 /mnt/new'",
        ),
        ("files written by app", "run -u app -v $PWD/owned:/mnt plain sh -c 'echo x >/mnt/new; ls -n /mnt | wc -l'"),
        ("files in a read-only volume", "run -v $PWD/src:/mnt:ro plain touch /mnt/new"),
        ("image with VOLUME", "run rich probe"),
        ("image with VOLUME, -v at its place", "run -v $PWD/owned:/data rich probe"),
        ("a named volume is kept", "run -v kept:/mnt plain sh -c 'echo x >/mnt/f'; run -v kept:/mnt plain cat /mnt/f"),
        ("a named volume has the image's files", "run -v kept:/data plain ls -ln /data | cut -c 1-34"),
        ("missing source", "run -v $PWD/nothing:/mnt plain true"),
        ("missing source of --mount", "run --mount type=bind,src=$PWD/nothing,dst=/mnt plain true"),
        ("relative destination", "run -v $PWD/src:mnt plain true"),
        ("the same destination twice", "run -v $PWD/src:/mnt -v $PWD/owned:/mnt plain true"),
        ("unknown option", "run -v $PWD/src:/mnt:nothing plain true"),
        ("unknown kind of mount", "run --mount type=nothing,dst=/mnt plain true"),
        ("destination /", "run -v $PWD/src:/ plain true"),
        ("destination through a symbolic link", "run -v $PWD/src:/work/link plain ls /home/app"),
        ("a source that is a link", "run -v $PWD/link:/mnt plain cat /mnt/file"),
        ("read-only root", "run --read-only plain sh -c 'for p in / /tmp /run /var/tmp /dev/shm; do touch $p/x; done'"),
        ("a colon in the source", "mkdir a:b; run -v $PWD/a:b:/mnt plain true"),
        ("missing device", "run --device /dev/nothing plain true"),
        ("a full tmpfs", "run --tmpfs /mnt:size=64k plain dd if=/dev/zero of=/mnt/x bs=1k count=100"),
    )
    return [*probing(THEME, words), *scripts(THEME, cases)]
