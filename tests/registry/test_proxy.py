"""Proxies: which one is used, and the requests that it gets."""

import socket
import threading

import pytest

from arstore.digest import Digest
from arstore.errors import RegistryConfigError, RegistryUnreachableError
from arstore.oci.docker_reference import DockerReference
from arstore.registry.blobs import head_blob
from arstore.registry.http.proxy import proxy_for
from arstore.registry.http.url import Url


def chosen(url, **environ):
    found = proxy_for(Url.parse(url), environ)
    return None if found is None else f"{found.host}:{found.port}"


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://h/", {}, None),
        ("https://h/", {"HTTPS_PROXY": "http://p:3128"}, "p:3128"),
        ("https://h/", {"https_proxy": "p:3128", "HTTPS_PROXY": "http://q"}, "p:3128"),
        ("https://h/", {"HTTP_PROXY": "http://p"}, None),
        ("http://h/", {"HTTP_PROXY": "http://p"}, "p:80"),
        ("http://h/", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, None),
        ("http://h/", {"ALL_PROXY": "http://p"}, "p:80"),
        ("http://localhost/", {"HTTP_PROXY": "http://p"}, None),
        ("http://127.0.0.1:5000/", {"HTTP_PROXY": "http://p"}, None),
        ("http://[::1]/", {"HTTP_PROXY": "http://p"}, None),
        ("http://h/", {"HTTP_PROXY": "http://p", "NO_PROXY": "*"}, None),
        ("http://h.example/", {"HTTP_PROXY": "http://p", "NO_PROXY": "example"}, None),
        ("http://h.example/", {"HTTP_PROXY": "http://p", "NO_PROXY": ".example"}, None),
        ("http://example/", {"HTTP_PROXY": "http://p", "NO_PROXY": ".example"}, "p:80"),
        ("http://xexample/", {"HTTP_PROXY": "http://p", "NO_PROXY": "example"}, "p:80"),
        ("http://h:81/", {"HTTP_PROXY": "http://p", "NO_PROXY": "h:80, h:82"}, "p:80"),
        ("http://h:81/", {"HTTP_PROXY": "http://p", "NO_PROXY": " H:81"}, None),
        ("http://10.1.2.3/", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://10.1.2.3/", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.1.2.3"}, None),
        ("http://11.1.2.3/", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8,nonsense/99"}, "p:80"),
    ],
)
def test_which_proxy(url, environ, expected):
    assert chosen(url, **environ) == expected


@pytest.mark.parametrize("text", ["socks5://p:1", "https://p", "http://", "http://p:99999", "http://[x"])
def test_proxies_that_are_not_supported_are_refused(text):
    with pytest.raises(RegistryConfigError, match="HTTP_PROXY"):
        chosen("http://h/", HTTP_PROXY=text)


def test_plain_http_goes_through_the_proxy(server, connect):
    connect.places.environ["HTTP_PROXY"] = f"http://user:p%40ss@{server.host}"
    repository = connect.access().to_write(DockerReference.parse("registry.test:5000/a/b"))
    assert head_blob(repository, Digest.of(b"")) is None
    asked = server.asked("HEAD")[0]
    assert asked.path.startswith("http://registry.test:5000/v2/a/b/blobs/")
    assert asked.headers["host"] == "registry.test:5000"
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"


def tunnel(target, seen):
    """A proxy that knows CONNECT and always leads to *target*."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            seen.append(head.decode())
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            server = socket.create_connection(target)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=pump, args=(one, other), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def pump(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_https_goes_through_a_tunnel(connect, tmp_path):
    from support import registry as registries
    from support.certificates import Authority

    authority = Authority(tmp_path)
    seen = []
    with registries.served(tls=authority.server()) as server:
        listener = tunnel(("127.0.0.1", server.port), seen)
        with listener:
            connect.places.environ["HTTPS_PROXY"] = f"http://u:p@127.0.0.1:{listener.getsockname()[1]}"
            repository = connect.access(tls_verify=False).to_write(DockerReference.parse("registry.test:5000/a/b"))
            assert head_blob(repository, Digest.of(b"")) is None
    assert seen[0].startswith("CONNECT registry.test:5000 HTTP/1.")
    assert "Proxy-Authorization: Basic dTpw" in seen[0]
    assert all("proxy-authorization" not in one.headers for one in server.log)


def test_a_proxy_that_refuses(server, connect):
    connect.places.environ["HTTPS_PROXY"] = f"http://{server.host}"
    repository = connect.access(tls_verify=None).to_write(DockerReference.parse("registry.test:5000/a/b"))
    with pytest.raises(RegistryUnreachableError, match="405"):
        head_blob(repository, Digest.of(b""))
    assert len(server.asked("CONNECT")) == 1
