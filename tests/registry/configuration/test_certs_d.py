"""certs.d: the directory that counts, and its content."""

import os

import pytest

from arstore.errors import RegistryConfigError
from arstore.registry.configuration.certs_d import certificates_for
from arstore.registry.configuration.places import Places


@pytest.fixture
def places(tmp_path):
    return Places({"HOME": str(tmp_path / "home")}, 1000, str(tmp_path / "etc"))


def write(directory, *names):
    os.makedirs(directory, exist_ok=True)
    for name in names:
        with open(f"{directory}/{name}", "w"):
            pass


def test_the_first_directory_counts(places, tmp_path):
    assert certificates_for("h:5000", places) == ((), ())
    etc = f"{tmp_path}/etc"
    write(f"{etc}/docker/certs.d/h:5000", "b.crt", "a.crt", "c.txt")
    assert certificates_for("h:5000", places).authorities == tuple(
        f"{etc}/docker/certs.d/h:5000/{one}.crt" for one in "ab"
    )
    assert certificates_for("h", places) == ((), ())
    write(f"{etc}/containers/certs.d/h:5000", "x.cert", "x.key")
    found = certificates_for("h:5000", places)
    assert (found.authorities, len(found.pairs)) == ((), 1)
    write(f"{tmp_path}/home/.config/containers/certs.d/h:5000")
    assert certificates_for("h:5000", places) == ((), ())


def test_a_directory_that_is_named_stands_alone(places, tmp_path):
    write(f"{tmp_path}/own", "x.crt")
    assert len(certificates_for("h", places, f"{tmp_path}/own").authorities) == 1
    with pytest.raises(RegistryConfigError, match="not a directory"):
        certificates_for("h", places, f"{tmp_path}/absent")


@pytest.mark.parametrize("name", ["x.cert", "x.key"])
def test_half_a_pair(places, tmp_path, name):
    write(f"{tmp_path}/own", name)
    with pytest.raises(RegistryConfigError, match="next to it"):
        certificates_for("h", places, f"{tmp_path}/own")
