"""HTTP/1.1 responses as bytes, in pieces of any size: those that are understood, and those that are refused."""

import pytest

from arstore.registry.http.response import EndedError, MalformedError, read_response

DATA = b"0123456789"


class Source:
    """Bytes that come in pieces of *step*."""

    def __init__(self, data, step=0):
        self.data = data
        self.step = step or len(data) or 1

    def line(self, most):
        end = self.data.find(b"\n", 0, most + 1) + 1 or min(len(self.data), most + 1)
        return self.taken(end)

    def some(self, size):
        return self.taken(min(size, self.step))

    def taken(self, end):
        data, self.data = self.data[:end], self.data[end:]
        return data


def answer(*headers, body=b"", first=b"HTTP/1.1 200 OK"):
    return b"\r\n".join((first, *headers, b"", body))


def read(data, method="GET", step=0):
    """The response, and its body as far as a client reads it."""
    source = Source(data, step)
    response = read_response(source, method)
    left = 0 if response.is_empty else response.length
    parts = []
    while left is None or left > 0:
        piece = response.read(4 if left is None else min(4, left))
        if not piece:
            break
        parts.append(piece)
        left = None if left is None else left - len(piece)
    return response, b"".join(parts), source.data


CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"4\r\n0123\r\n6;a=b\r\n456789\r\n0\r\n"


@pytest.mark.parametrize("step", [1, 3, 0])
@pytest.mark.parametrize(
    ("data", "closes", "rest"),
    [
        (answer(b"Content-Length: 10", body=DATA), False, b""),
        (answer(b"content-length:10", body=DATA + b"more"), False, b"more"),
        (answer(b"Content-Length: 10", b"Connection: Keep-Alive, Close", body=DATA), True, b""),
        (answer(body=DATA), True, b""),
        (answer(CHUNKED, body=CHUNKS + b"\r\n"), False, b""),
        (answer(CHUNKED, body=CHUNKS + b"Trailer: x\r\n\r\nmore"), False, b"more"),
        (answer(CHUNKED, b"Content-Length: 3", body=CHUNKS + b"\r\n"), False, b""),
        (answer(CHUNKED, body=CHUNKS.replace(b"\r\n", b"\n") + b"\n"), False, b""),
        (answer(b"Content-Length: 10", body=DATA, first=b"HTTP/1.0 200"), True, b""),
        (answer(b"Content-Length: 10", b"Connection: keep-alive", body=DATA, first=b"HTTP/1.0 200 OK"), False, b""),
        (answer(first=b"HTTP/1.1 100 Continue") + answer(b"Content-Length: 10", body=DATA), False, b""),
        (answer(b"Link: </x>", first=b"HTTP/1.1 103 Early") + answer(b"Content-Length: 10", body=DATA), False, b""),
    ],
)
def test_where_a_body_ends(data, closes, rest, step):
    response, body, left = read(data, step=step)
    assert (response.status, body, response.will_close, left) == (200, DATA, closes, rest)


@pytest.mark.parametrize(
    ("method", "first"), [("HEAD", b"HTTP/1.1 200 OK"), ("GET", b"HTTP/1.1 204 x"), ("GET", b"HTTP/1.1 304 x")]
)
def test_answers_without_a_body(method, first):
    response, body, left = read(answer(b"Content-Length: 10", first=first, body=b"HTTP/1.1"), method)
    assert (body, response.length, response.will_close, left) == (b"", 10, False, b"HTTP/1.1")


def test_headers():
    response, _, _ = read(answer(b"A: 1", b"a:\t2 ", b"B: x\r\n\t y", b"Empty:", b"C: \xfc"))
    headers = response.headers
    assert headers.get_all("A") == ["1", "2"]
    assert headers.get("b") == "x y"
    assert headers.get("Empty", "z") == ""
    assert headers.get("C") == "ü"
    assert headers.get("Nothing", "z") == "z"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        answer(b"no header"),
        answer(b": x"),
        answer(b"a b: x"),
        answer(b" folded: x"),
        answer(b"\xfc: x"),
        answer(b"Transfer-Encoding: gzip"),
        answer(b"Transfer-Encoding: gzip, chunked"),
        answer(CHUNKED, CHUNKED, body=CHUNKS + b"\r\n"),
        answer(CHUNKED, body=b"4\r\n01234567\r\n0\r\n\r\n"),
        answer(CHUNKED, body=b"+4\r\n0123\r\n0\r\n\r\n"),
        answer(CHUNKED, body=b"0x4\r\n0123\r\n0\r\n\r\n"),
        answer(CHUNKED, body=b"\r\n0123\r\n0\r\n\r\n"),
        answer(CHUNKED, body=b"f" * 16 + b"\r\n" + DATA),
        answer(*[b"A: 1"] * 101),
        answer(b"A: " + b"x" * (1 << 16)),
        answer(first=b"HTTP/1.1 100 Continue") * 21,
    ],
)
def test_what_is_not_http(data):
    with pytest.raises(MalformedError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 200", answer(b"A: 1")[:-4], answer(CHUNKED, body=CHUNKS[:8]), answer(CHUNKED, body=CHUNKS)],
)
def test_what_ends_too_early(data):
    with pytest.raises(EndedError):
        read(data)
