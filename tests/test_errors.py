"""The error tree: numbers are unique and documented, and an error reads as one line."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from arstore import errors

REPOSITORY = Path(__file__).resolve().parent.parent
CLASSES = errors.error_classes()


def test_every_class_has_a_number_of_its_own():
    assert [code for code, count in Counter(one.exit_code for one in CLASSES).items() if count > 1] == []


def test_a_class_does_not_inherit_its_number():
    assert [one.__name__ for one in CLASSES if "exit_code" not in vars(one)] == []


def test_numbers_leave_room_for_what_containers_and_signals_use():
    reserved = {0, errors.RUN_FAILED, errors.RUN_CANNOT_INVOKE, errors.RUN_NOT_FOUND}
    assert not reserved & {one.exit_code for one in CLASSES}
    assert all(one.exit_code < 64 for one in CLASSES if one is not errors.InterruptedByUserError)
    assert errors.InterruptedByUserError.exit_code == 128 + 2


def test_names_end_in_error_and_say_when():
    assert all(one.__name__.endswith("Error") for one in CLASSES)
    assert all(one.__doc__ and one.__doc__.endswith(".") and "\n" not in one.__doc__ for one in CLASSES)


def test_the_documented_table_is_that_of_the_code():
    made = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "exit_statuses.py"], capture_output=True, text=True, check=True
    )
    assert (REPOSITORY / "docs" / "design" / "exit-statuses.md").read_text() == made.stdout
    for one in CLASSES:
        assert f"| {one.exit_code} | {one.__name__.removesuffix('Error')} | " in made.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("app:1", "no image has this name"), "app:1: no image has this name"),
        (("app:1", "is in use", "stop it first"), "app:1: is in use; stop it first"),
        (("", "interrupted"), "interrupted"),
    ],
)
def test_an_error_is_one_line(arguments, line):
    assert str(errors.NotFoundError(*arguments)) == line
    assert errors.NotFoundError(*arguments).kind == "NotFound"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.NoSpaceError),
        (errno.EDQUOT, errors.NoSpaceError),
        (errno.EACCES, errors.PermissionDeniedError),
        (errno.EPERM, errors.PermissionDeniedError),
        (errno.EROFS, errors.PermissionDeniedError),
        (errno.ENOENT, errors.NotFoundError),
        (errno.ENOTDIR, errors.NotFoundError),
        (errno.EIO, errors.HostError),
    ],
)
def test_what_the_system_says_becomes_an_error(number, kind):
    error = errors.from_os_error(OSError(number, "Some Reason", "/some/file"))
    assert type(error) is kind
    assert str(error).startswith("/some/file: some reason")


def test_file_names_that_are_no_text_are_escaped():
    error = errors.from_os_error(OSError(errno.EIO, "Bad", b"/x\xff"))
    assert error.what == "/x\\xff"
    assert errors.from_os_error(OSError(errno.EIO, "Bad", b"/x"), "app:1").what == "app:1"
