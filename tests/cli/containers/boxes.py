"""Commands in new containers, and commands that have to be refused."""

from __future__ import annotations


def shell(program, script, *words, status=0, cwd=None):
    """Return what a shell in a new container prints."""
    done = program.run("run", *words, "box:1", "sh", "-c", script, cwd=cwd)
    assert done.status == status, done.err
    return done.text


def refused(program, *words, kind=125):
    done = program.run(*words)
    assert done.status == kind, (done.status, done.err)
    assert len(done.err.splitlines()) == 1
    return done.err
