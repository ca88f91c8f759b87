"""The tests' registry: threads on loopback, correct unless a fault is set, with a log of all requests.

    with registry.served() as server:
        server.put_image("a/b", "1", picture)
        server.fault("GET", "/blobs/", cut=1)        # once: the body ends after its first byte
        ...
        assert server.log[-1].authorization == ""

Distribution-spec 1.1: manifests, blobs with ranges, uploads of every kind, tags in pages, referrers. Authorisation is
none, Basic, or tokens that it issues itself under `/token` (of this server, or of another one as `realm`).
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from arstore.digest import Digest, is_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.images import Picture

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_RIGHTS = {"pull": "pull", "push": "pull,push", "delete": "delete"}
_UPLOAD = "blobs/uploads/"


@dataclass
class Logged:
    """A request as received, and the status of the reply (0 before it is sent)."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    status: int = 0
    size: int = 0
    form: dict[str, list[str]] = field(default_factory=dict)

    @property
    def authorization(self) -> str:
        """The Authorization header, "" without one."""
        return self.headers.get("authorization", "")


@dataclass
class Reply:
    """A reply, and how it goes wrong: `cut` ends the connection after so many bytes of the body, with a reset if
    `reset`; `stall` waits there for so many seconds; `drip` waits after every byte.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    cut: int | None = None
    reset: bool = False
    stall: float = 0
    drip: float = 0
    length: int | None = None
    """Content-Length, if it is not the body's; -1 for none."""


@dataclass
class Fault:
    """A fault of requests of *method* whose path matches: it happens `times` times, after `skip` requests."""

    method: str
    pattern: str
    change: Callable[[Reply], Reply]
    times: int = 1
    skip: int = 0
    before: bool = False
    """The request has no effect."""

    def takes(self, method: str, path: str) -> bool:
        """Whether the fault applies to this request, which is counted."""
        if self.times <= 0 or self.method not in {"*", method} or not re.search(self.pattern, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Auth:
    """Required credentials. `basic`: users by name; `realm`: tokens ("" for the registry's `/token`)."""

    users: dict[str, str] = field(default_factory=dict)
    tokens: bool = False
    realm: str = ""
    anonymous: bool = False
    """Whether a client without credentials gets a token for pulling."""
    lifetime: float = 300
    uses: int = 1_000_000
    """Requests that one token is good for."""
    oauth: bool = True
    sign: Callable[[list[str]], str] | None = None
    """Makes a token for scopes, for another registry that requires tokens of this server."""
    challenge: str = ""
    """The whole header, in place of the correct one."""


class Registry:
    """The state of a registry, and the log of its requests."""

    def __init__(self, auth: Auth | None = None, referrers: bool = True, page: int = 0) -> None:
        self.auth = auth
        self.referrers = referrers
        self.page = page
        self.least_chunk = 0
        self.largest = 0
        """The most bytes of an accepted request body; 0 for no limit."""
        self.mounts = True
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: dict[str, list[Any]] = {}
        self.sending: Callable[[Logged, int], object] = lambda _entry, _count: None
        """Called before so many bytes of a body are sent."""
        self.to_tls = b""
        """Reply to a client that tries TLS although there is none."""
        self.answering = 0
        """Requests that are being answered."""
        self.send_buffer = 0
        """Size of the kernel's send buffer in bytes; 0 for the default."""
        self.log: list[Logged] = []
        self.faults: list[Fault] = []
        self.url = ""
        self.port = 0
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        """Host and port, as in references."""
        return f"127.0.0.1:{self.port}"

    def asked(self, method: str = "", pattern: str = "") -> list[Logged]:
        """The requests of this method whose path matches."""
        return [one for one in self.log if method in {"", one.method} and re.search(pattern, one.path)]

    def fault(
        self, method: str, pattern: str, times: int = 1, skip: int = 0, before: bool = False, **changes: Any
    ) -> Fault:
        """Make requests go wrong: *changes* are members of Reply, `header=(name, value)`, or `change=function`."""
        function = changes.pop("change", None)
        header = changes.pop("header", None)

        def change(reply: Reply) -> Reply:
            if function is not None:
                reply = function(reply)
            if header is not None:
                kept = [one for one in reply.headers if one[0].lower() != header[0].lower()]
                reply = replace(reply, headers=kept + ([] if header[1] is None else [header]))
            return replace(reply, **changes)

        made = Fault(method, pattern, change, times, skip, before)
        self.faults.append(made)
        return made

    # --- contents ---------------------------------------------------------------------------------------------------

    def put_blob(self, repository: str, data: bytes) -> str:
        """Add a blob; return its digest."""
        digest = Digest.of(data)
        self.blobs.setdefault(repository, {})[digest] = data
        return digest

    def put_manifest(self, repository: str, raw: bytes, media_type: str, tag: str = "") -> str:
        """Add a manifest; return its digest."""
        digest = Digest.of(raw)
        self.manifests.setdefault(repository, {})[digest] = (media_type, raw)
        if tag:
            self.tags.setdefault(repository, {})[tag] = digest
        return digest

    def put_image(self, repository: str, tag: str, picture: Picture) -> str:
        """Add an image; return its digest."""
        for data in (picture.config, *(layer.blob for layer in picture.layers)):
            self.put_blob(repository, data)
        return self.put_manifest(repository, picture.manifest, picture.media_type, tag)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    registry: Registry

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            if self.rfile.peek(1)[:1] == b"\x16" and self.registry.url.startswith("http:"):
                # A client that tries TLS: other servers refuse it at once, most of them in HTTP.
                self.wfile.write(self.registry.to_tls)
                self.close_connection = True
                return
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def do_GET(self) -> None:  # the base class's name
        with self.registry.lock:
            self.registry.answering += 1
        try:
            self._serve()
        finally:
            with self.registry.lock:
                self.registry.answering -= 1

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        self._body = b""
        self._entry = Logged("CONNECT", self.path, {}, {key.lower(): value for key, value in self.headers.items()})
        self.registry.log.append(self._entry)
        self._send(Reply(405, []))

    # --- one request ------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        self.place = unquote(parts.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        self._entry = Logged(self.command, self.path, self.query, headers)
        self._body: bytes | None = None
        with self.registry.lock:
            self.registry.log.append(self._entry)
            fault = next((one for one in self.registry.faults if one.takes(self.command, self.path)), None)
        if fault is not None and fault.before:
            self._send(fault.change(Reply(500, [])))
            return
        reply = self._reply()
        self._send(reply if fault is None else fault.change(reply))

    def _send(self, reply: Reply) -> None:
        self._entry.status = reply.status
        self._drain()
        self.send_response_only(reply.status)
        names = {name.lower() for name, _ in reply.headers}
        for name, value in reply.headers:
            self.send_header(name, value)
        length = len(reply.body) if reply.length is None else reply.length
        if length >= 0 and "content-length" not in names and reply.status != 204:
            self.send_header("Content-Length", str(length))
        if length < 0:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        step = 1 if reply.drip else 64 << 10
        if self.registry.send_buffer:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.registry.send_buffer)
        for place in range(0, len(body), step):
            self.registry.sending(self._entry, min(step, len(body) - place))
            self.wfile.write(body[place : place + step])
            self._entry.size = min(place + step, len(body))
            if reply.drip:
                time.sleep(reply.drip)
        if reply.stall:
            self.wfile.flush()
            time.sleep(reply.stall)
        if reply.cut is not None or reply.reset:
            self.close_connection = True
            if reply.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _drain(self) -> bytes:
        if self._body is None:
            length = int(self.headers.get("Content-Length") or 0)
            self._body = self.rfile.read(length) if length else b""
        return self._body

    def _reply(self) -> Reply:
        registry = self.registry
        if self.place.startswith("/token"):
            return self._token()
        if not self.place.startswith("/v2/"):
            return Reply(404, [])
        match = re.fullmatch(r"/v2/(.+?)/(blobs/uploads/|blobs|manifests|tags|referrers)/?(.*)", self.place)
        if match is None:
            return self._denied("") or Reply(200, [], b"{}")
        self.repository, kind, name = match.groups()
        action = "pull" if self.command in {"GET", "HEAD"} and kind != _UPLOAD else "push"
        if self.command == "DELETE" and kind != _UPLOAD:
            action = "delete"
        refused = self._denied(action)
        if refused is not None:
            return refused
        if registry.largest and int(self.headers.get("Content-Length") or 0) > registry.largest:
            return _error(413, "SIZE_INVALID", "too large")
        kinds = {
            "blobs": self._blob,
            "manifests": self._manifest,
            "tags": self._tags,
            "referrers": self._referrers,
            _UPLOAD: self._upload,
        }
        return kinds[kind](name)

    # --- authorisation ----------------------------------------------------------------------------------------------

    def _denied(self, action: str) -> Reply | None:
        auth = self.registry.auth
        if auth is None:
            return None
        given = self.headers.get("Authorization", "")
        if not auth.tokens:
            user, _, password = base64.b64decode(given.removeprefix("Basic ") or b"").decode().partition(":")
            if given.startswith("Basic ") and auth.users.get(user) == password:
                return None
            return self._challenged(auth.challenge or 'Basic realm="test"')
        scope = f"repository:{self.repository}:{action}" if action else ""
        wanted = f"repository:{self.repository}:{_RIGHTS[action]}" if action else ""
        known = self.registry.tokens.get(given.removeprefix("Bearer "))
        realm = auth.realm or f"{self.registry.url}/token"
        challenge = auth.challenge or f'Bearer realm="{realm}",service="test"'
        if wanted and not auth.challenge:
            challenge += f',scope="{wanted}"'
        if known is None or known[1] < time.monotonic() or known[2] <= 0:
            return self._challenged(challenge + (',error="invalid_token"' if known else ""))
        known[2] -= 1
        rights = [one for one in known[0] if not scope or one.startswith(f"repository:{self.repository}:")]
        actions = {word for one in rights for word in one.rpartition(":")[2].split(",")}
        if scope and not actions & {action, "*"}:
            return self._challenged(f'{challenge},error="insufficient_scope"')
        return None

    def _challenged(self, challenge: str) -> Reply:
        reply = _error(401, "UNAUTHORIZED", "authentication required")
        return replace(reply, headers=[*reply.headers, ("WWW-Authenticate", challenge)])

    def _token(self) -> Reply:
        auth = self.registry.auth or Auth()
        fields = self.query
        if self.command == "POST":
            if not auth.oauth:
                return Reply(404, [])
            fields = self._entry.form = parse_qs(self._drain().decode())
            secret = fields.get("refresh_token", fields.get("password", [""]))[0]
            user = next((name for name, one in auth.users.items() if one == secret), "")
            scopes = [word for one in fields.get("scope", []) for word in one.split()]
        else:
            scopes = fields.get("scope", [])
            given = self.headers.get("Authorization", "")
            pair = base64.b64decode(given.removeprefix("Basic ") or b"").decode()
            user, _, password = pair.partition(":")
            user = user if auth.users.get(user) == password and user else ""
            if given and not user:
                return _error(401, "UNAUTHORIZED", "wrong user name or password")
        if not user and not auth.anonymous:
            return _error(401, "UNAUTHORIZED", "no anonymous tokens")
        if not user:
            scopes = [one.rpartition(":")[0] + ":pull" for one in scopes]
        value = f"token-{uuid.uuid4().hex}" if auth.sign is None else auth.sign(scopes)
        self.registry.tokens[value] = [scopes, time.monotonic() + auth.lifetime, auth.uses]
        document = {"token": value, "expires_in": int(auth.lifetime)}
        if self.command == "POST":
            document = {"access_token": value, "expires_in": int(auth.lifetime)}
        return _json(200, document)

    # --- what there is ----------------------------------------------------------------------------------------------

    def _blob(self, digest: str) -> Reply:
        blobs = self.registry.blobs.get(self.repository, {})
        data = blobs.get(digest)
        if data is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if self.command == "DELETE":
            del blobs[digest]
            return Reply(202, [])
        headers = [("Content-Type", "application/octet-stream"), ("Docker-Content-Digest", digest)]
        asked = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", self.headers.get("Range", ""))
        if asked is None:
            return Reply(200, headers, data)
        first, last = int(asked[1]), int(asked[2] or len(data) - 1)
        if first >= len(data):
            return Reply(416, [("Content-Range", f"bytes */{len(data)}")])
        headers.append(("Content-Range", f"bytes {first}-{last}/{len(data)}"))
        return Reply(206, headers, data[first : last + 1])

    def _manifest(self, reference: str) -> Reply:
        tags = self.registry.tags.setdefault(self.repository, {})
        manifests = self.registry.manifests.setdefault(self.repository, {})
        if self.command == "PUT":
            return self._put_manifest(reference)
        digest = tags.get(reference, reference)
        if digest not in manifests:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if self.command == "DELETE":
            if is_digest(reference):
                del manifests[digest]
                gone = [tag for tag, one in tags.items() if one == digest]
            else:
                gone = [reference]
            for tag in gone:
                del tags[tag]
            return Reply(202, [])
        media_type, raw = manifests[digest]
        return Reply(200, [("Content-Type", media_type), ("Docker-Content-Digest", digest)], raw)

    def _put_manifest(self, reference: str) -> Reply:
        raw = self._drain()
        document = json.loads(raw)
        digest = str(Digest.of(raw))
        named = [one["digest"] for one in document.get("layers", [])]
        named += [document["config"]["digest"]] if "config" in document else []
        known = self.registry.blobs.get(self.repository, {})
        missing = [one for one in named if one not in known]
        if missing:
            return _error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", *missing)
        tag = "" if is_digest(reference) else reference
        self.registry.put_manifest(self.repository, raw, self.headers["Content-Type"], tag)
        headers = [("Location", f"/v2/{self.repository}/manifests/{digest}"), ("Docker-Content-Digest", digest)]
        if self.registry.referrers and document.get("subject"):
            headers.append(("OCI-Subject", document["subject"]["digest"]))
        return Reply(201, headers)

    def _tags(self, _: str) -> Reply:
        tags = sorted(self.registry.tags.get(self.repository, {}))
        if self.repository not in self.registry.manifests:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        headers = []
        if self.registry.page:
            after = self.query.get("last", [""])[0]
            rest = [tag for tag in tags if tag > after]
            tags = rest[: self.registry.page]
            if len(rest) > len(tags):
                headers.append(("Link", f'</v2/{self.repository}/tags/list?n=1&last={tags[-1]}>; rel="next"'))
        reply = _json(200, {"name": self.repository, "tags": tags})
        return replace(reply, headers=reply.headers + headers)

    def _referrers(self, digest: str) -> Reply:
        if not self.registry.referrers:
            return _error(404, "NOT_FOUND", "no such page")
        entries = []
        for own, (media_type, raw) in self.registry.manifests.get(self.repository, {}).items():
            document = json.loads(raw)
            if (document.get("subject") or {}).get("digest") == digest:
                kind = document.get("artifactType") or document.get("config", {}).get("mediaType", "")
                entry = {"mediaType": media_type, "digest": own, "size": len(raw), "artifactType": kind}
                entries.append({**entry, "annotations": document.get("annotations", {})})
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return replace(_json(200, document), headers=[("Content-Type", OCI_INDEX)])

    def _upload(self, session: str) -> Reply:
        uploads = self.registry.uploads
        if self.command == "POST":
            return self._begin()
        data = uploads.get(session)
        if data is None:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        if self.command == "DELETE":
            del uploads[session]
            return Reply(204, [])
        if self.command in {"PATCH", "PUT"}:
            asked = re.fullmatch(r"([0-9]+)-([0-9]+)", self.headers.get("Content-Range", ""))
            body = self._drain()
            if asked is not None and int(asked[1]) != len(data):
                return self._progress(session, 416)
            data += body
        if self.command != "PUT":
            return self._progress(session, 202 if self.command == "PATCH" else 204)
        digest = self.query["digest"][0]
        del uploads[session]
        if Digest.of(bytes(data)) != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.registry.put_blob(self.repository, bytes(data))
        return Reply(201, [("Location", f"/v2/{self.repository}/blobs/{digest}")])

    def _begin(self) -> Reply:
        self._drain()
        source, digest = self.query.get("from", [""])[0], self.query.get("mount", [""])[0]
        if digest and self.registry.mounts and digest in self.registry.blobs.get(source, {}):
            self.registry.put_blob(self.repository, self.registry.blobs[source][digest])
            return Reply(201, [("Location", f"/v2/{self.repository}/blobs/{digest}")])
        session = uuid.uuid4().hex
        self.registry.uploads[session] = bytearray()
        return self._progress(session, 202)

    def _progress(self, session: str, status: int) -> Reply:
        last = max(len(self.registry.uploads[session]) - 1, 0)
        headers = [
            ("Location", f"/v2/{self.repository}/{_UPLOAD}{session}?_state={uuid.uuid4().hex}"),
            ("Range", f"0-{last}"),
        ]
        if self.registry.least_chunk:
            headers.append(("OCI-Chunk-Min-Length", str(self.registry.least_chunk)))
        return Reply(status, headers)


def _json(status: int, document: object) -> Reply:
    return Reply(status, [("Content-Type", "application/json")], json.dumps(document).encode())


def _error(status: int, code: str, message: str, *digests: str) -> Reply:
    details: list[dict[str, Any]] = [{"detail": {"digest": one}} for one in digests] or [{}]
    return _json(status, {"errors": [{"code": code, "message": message, **detail} for detail in details]})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def served(
    auth: Auth | None = None, referrers: bool = True, page: int = 0, tls: Any = None, registry: Registry | None = None
) -> Iterator[Registry]:
    """A registry on a free port; with *tls*, a server's context, it speaks https."""
    registry = Registry(auth, referrers, page) if registry is None else registry
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    registry.port = server.server_address[1]
    registry.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{registry.port}"
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
