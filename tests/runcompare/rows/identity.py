"""Users and groups; the working directory and HOME."""

from __future__ import annotations

from runcompare.row import Row, probing, scripts


def rows() -> list[Row]:
    """Return the rows of both themes."""
    theme = "identity and groups"
    users = (
        "-u app",
        "-u app:crew",
        "-u 1000",
        "-u 1000:2000",
        "-u :2000",
        "-u 4321",
        "-u 4321:4322",
        "-u app:4322",
        "-u homeless",
        "-u games:audio",
        "-u 0:0",
        "-u app --group-add crew",
        "-u app --group-add audio --group-add 4000",
        "--group-add audio",
        "--group-add keep-groups",
        "-u app --cap-add NET_ADMIN",
        "-u app --privileged",
    )
    cases = (
        ("image with USER", "run rich probe"),
        ("image with USER, -u root", "run -u root rich probe"),
        ("image with USER, -u 0:crew", "run -u 0:crew rich probe"),
        ("image with USER, --group-add audio", "run --group-add audio rich probe"),
        ("unknown user", "run -u nobody-here plain true"),
        ("unknown group", "run -u app:nobody-here plain true"),
        ("unknown --group-add", "run --group-add nobody-here plain true"),
        ("user id out of range", "run -u 4294967296 plain true"),
        ("negative user id", "run -u -5 plain true"),
        ("empty user", "run -u '' plain id"),
        ("image without config", "run bare /bin/id"),
    )
    return [*probing(theme, users), *scripts(theme, cases), *_directories()]


def _directories() -> list[Row]:
    theme = "workdir and HOME"
    words = (
        "-w /work",
        "-w /work/new/deep",
        "-w /work/link",
        "-w / -u app",
        "-u homeless -w /tmp",
        "-u 4321 -w /tmp",
        "-e HOME=/mine -u app",
        "-e HOME= -u app",
        "-w /tmp/../work/./",
        "-u app -w /work/made-by-app",
    )
    cases = (
        ("image with WORKDIR", "run rich probe"),
        ("image with WORKDIR, -w /tmp", "run -w /tmp rich probe"),
        ("image with HOME, -u root", "run -u root rich probe"),
        ("relative", "run -w work plain pwd"),
        ("a file", "run -w /etc/passwd plain pwd"),
        ("below a file", "run -w /etc/passwd/x plain pwd"),
        ("not allowed to the user", "run -u app -w /work/private plain pwd"),
        ("read-only and missing", "run --read-only -w /work/new plain pwd"),
        ("in a volume, missing", "run -v $PWD/src:/mnt -w /mnt/new plain pwd"),
        ("empty", "run -w '' plain pwd"),
        ("owner of a new directory", "run -u app -w /work/other plain stat -c '%u %g %A' ."),
        ("HOME from the host", "HOME=/host run -e HOME plain sh -c 'echo $HOME'"),
    )
    return [*probing(theme, words), *scripts(theme, cases)]
