import os
from pathlib import Path

import pytest

from arstore.linux.isolation import capability


def test_names_have_the_kernels_numbers():
    assert capability.CAP_CHOWN == 0
    assert capability.CAP_FSETID == 4
    assert capability.CAP_SYS_ADMIN == 21
    assert capability.CAP_MKNOD == 27


def test_the_effective_set_is_what_the_kernel_says():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    assert capability.effective() == int(line.split()[1], 16)
    assert capability.has(capability.CAP_CHOWN) == bool(capability.effective() & 1)


@pytest.mark.root
def test_an_ordinary_user_has_none():
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            had = capability.has(capability.CAP_DAC_OVERRIDE)
            os.setresuid(65534, 65534, 65534)
            status = 0 if had and capability.effective() == 0 else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.root
def test_what_is_given_up_is_gone():
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            capability.keep_only(capability.mask(capability.CAP_CHOWN, capability.CAP_MKNOD))
            kept = capability.effective() == capability._permitted() == 1 << 0 | 1 << 27
            capability.keep_only((1 << 64) - 1)
            status = 0 if kept and capability.effective() == 1 << 0 | 1 << 27 else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
