"""Streams and signals; statuses; entrypoints and variables."""

from __future__ import annotations

from runcompare.row import Row, probing, scripts

_TRAP = "trap 'echo got; exit 7' {0}; echo ready; while :; do sleep 0.1; done"
_READY = "for n in $(seq 100); do grep -q ready out 2>/dev/null && break; sleep 0.1; done"


def _signalled(signal: str, words: str = "") -> str:
    """Return a script that sends a signal to the program while the command runs."""
    command = _TRAP.format(signal).replace("'", "'\\''")
    # exec: the signal has to reach the program, not a shell.
    started = f"(exec run {words} plain sh -c '{command}') >out & {_READY}"
    return f"{started}; kill -{signal} $!; wait $!; echo $?; cat out; rm out"


def _stopped(verb: str, words: str = "", signal: str = "TERM") -> str:
    """Return a script in which another command ends the container."""
    command = _TRAP.format(signal).replace("'", "'\\''")
    return (
        f"bare -d --network none --name box1 {words} plain sh -c '{command}' >/dev/null\n"
        "for n in $(seq 100); do prog logs box1 2>/dev/null | grep -q ready && break; sleep 0.1; done\n"
        f"{verb}\nprog wait box1; prog logs box1"
    )


def rows() -> list[Row]:
    """Return the rows of the themes."""
    return [*_streams(), *_statuses(), *_variables()]


def _streams() -> list[Row]:
    cases = (
        ("both streams", "run plain sh -c 'echo out; echo err >&2'"),
        ("stdin without -i", "echo hello | run plain cat"),
        ("stdin with -i", "echo hello | run -i plain cat"),
        ("a large stdin", "seq 200000 | run -i plain wc -c"),
        ("a large stdout", "run plain seq 200000 | cksum"),
        ("no newline at the end", "run plain sh -c 'printf one'"),
        ("binary", "run plain sh -c 'head -c 4096 /bin/busybox' | cksum"),
        ("a reader that ends", "run plain yes | head -n 2; echo ${PIPESTATUS[1]}"),
        ("-t", "run -t plain sh -c 'echo one; echo two >&2' </dev/null"),
        ("-it with a pipe", "echo hello | run -it plain cat"),
        ("stdin closed", "run -i plain cat <&-"),
        ("stdout closed", "run plain echo hello >&-"),
        ("descriptors", "run -i plain probe <src/file"),
        ("variables of -t", "run -t plain sh -c 'echo $TERM' </dev/null"),
        ("TERM to the program", _signalled("TERM")),
        ("INT to the program", _signalled("INT")),
        ("HUP to the program", _signalled("HUP")),
        ("USR1 to the program", _signalled("USR1")),
        ("USR2 to the program, --init", _signalled("USR2", "--init")),
        ("stop", _stopped("prog stop box1 >/dev/null")),
        ("stop with --stop-signal", _stopped("prog stop box1 >/dev/null", "--stop-signal INT", "INT")),
        ("stop with --stop-timeout", _stopped("prog stop box1 >/dev/null", "--stop-timeout 1", "USR2")),
        ("kill", _stopped("prog kill box1 >/dev/null")),
        ("kill with a signal", _stopped("prog kill -s USR1 box1 >/dev/null", "", "USR1")),
        ("-d prints an id", "bare -d --network none plain true | grep -cE '^[0-9a-f]{12,64}$'"),
        ("-d with --rm", "bare -d --rm --network none --name box1 plain sleep 1 >/dev/null; prog wait box1; sleep 1"),
        ("-dit", "bare -dit --network none --name box1 plain sh >/dev/null; prog stop -t 0 box1 >/dev/null"),
    )
    return scripts("streams and signals", cases)


def _statuses() -> list[Row]:
    cases = (
        ("0", "run plain true"),
        ("1", "run plain false"),
        ("77", "run plain sh -c 'exit 77'"),
        ("255", "run plain sh -c 'exit 255'"),
        ("killed by KILL", "run plain sh -c 'kill -9 $$'"),
        ("killed by SEGV, below --init", "run --init plain sh -c 'kill -SEGV $$'"),
        ("killed by TERM, below sh", "run plain sh -c 'sh -c \"kill \\$\\$\"'"),
        ("no such command", "run plain no-such-command"),
        ("no such path", "run plain /no/such/command"),
        ("a directory", "run plain /etc"),
        ("not executable", "run plain /bin/not-executable"),
        ("no interpreter", "run plain /bin/no-interpreter"),
        ("no known format", "run plain /bin/no-format"),
        ("no command at all", "run bare"),
        ("no image", "run"),
        ("unknown image", "run --pull never nothing-here true"),
        ("unknown option", "run --no-such-option plain true"),
        ("option without a value", "prog run --user"),
        ("name taken", "keep --name box1 plain true; run --name box1 plain true"),
        ("invalid name", "run --name 'a b' plain true"),
        ("command not to be searched by the user", "run -u app plain /work/private/x"),
        ("a container that is kept", "bare --network none --name box1 plain sh -c 'exit 4'"),
        ("wait", "bare --network none -d --name box1 plain sh -c 'exit 5' >/dev/null; prog wait box1"),
        ("exec", "bare --network none -d --name box1 plain sleep 20 >/dev/null; prog exec box1 sh -c 'exit 6'"),
    )
    return scripts("statuses", cases)


def _variables() -> list[Row]:
    words = (
        "-e A=b -e A=c",
        "-e FROM_IMAGE=other",
        "-e HOSTVAR",
        "-e NOTHING_HERE",
        "-e EMPTY=",
        "-e 'HOST*'",
        "--env-file variables -e FIRST=other",
        "-h box.example",
        "--hostname box --no-hosts",
        "--init",
        "--init --pid host",
    )
    cases = (
        ("the default network", "bare --rm plain probe"),
        ("rich", "run rich"),
        ("rich with arguments", "run rich one 'two three'"),
        ("rich with --entrypoint", "run --entrypoint echo rich one"),
        ("rich with an empty --entrypoint", "run --entrypoint '' rich echo one"),
        ("--entrypoint as JSON", 'run --entrypoint \'["echo", "one"]\' rich two'),
        ("--entrypoint drops CMD", "run --entrypoint echo rich"),
        ("missing --env-file", "run --env-file nothing plain true"),
        ("options behind the image", "run plain echo --rm -v"),
        ("-- before the image", "run -- plain echo one"),
        ("invalid host name", "run --hostname 'a b' plain hostname"),
        ("proxy of the host", "https_proxy=http://proxy.example:1 run plain sh -c 'echo $https_proxy'"),
        ("an image's digest", "run $(prog images -q --no-trunc plain 2>/dev/null | head -n 1) echo one"),
        ("-v=false style switches", "run --read-only=false --tty=false plain echo one"),
        ("value with =", "run --hostname=box --user=app plain sh -c 'hostname; id -u'"),
    )
    theme = "command, variables and names"
    return [*probing(theme, words), *scripts(theme, cases)]
