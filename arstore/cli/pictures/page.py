"""A page: HTML that needs no network, and that a browser lets do nothing but run its one script.

Its policy (Content-Security-Policy) names the hashes of the script and the style. So nothing else in the page runs,
whatever names it contains, and nothing is loaded from anywhere.
"""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from arstore.cli.pictures.markup import data_script, tag, text

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="arstore {version}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def page(title: str, body: str, data: object, style: tuple[str, ...], script: tuple[str, ...]) -> bytes:
    """Return a page. *body* is markup, *style* and *script* are the names of files next to this module."""
    from arstore import __version__

    styles, scripts = ("".join(map(_asset, names)) for names in (style, script))
    policy = f"default-src 'none'; style-src {_hash(styles)}; script-src {_hash(scripts)}; base-uri 'none'"
    return _PAGE.format(
        policy=text(policy),
        version=text(__version__),
        title=text(title),
        style=styles,
        body=body,
        data=data_script(data),
        script=scripts,
    ).encode()


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str, name: str = "") -> str:
    """Return a table. A heading that ends in `>` is for numbers. The cells are text, the first of a row its heading."""
    titles = [title.removesuffix(">") for title in head]
    kinds = [{"class": "number"} if title.endswith(">") else {} for title in head]
    heads = "".join(tag("th", {"scope": "col", **kind}, text(one)) for one, kind in zip(titles, kinds, strict=True))
    lines = []
    for number, row in enumerate(rows):
        first = tag("th", {"scope": "row"}, tag("bdi", {}, text(row[0])))
        others = [
            tag("td", {**kind, "data-label": title}, tag("bdi", {}, text(cell)))
            for cell, kind, title in zip(row[1:], kinds[1:], titles[1:], strict=True)
        ]
        lines.append(tag("tr", {"data-row": number}, first, *others))
    content = (
        tag("caption", {}, text(caption)),
        tag("thead", {}, tag("tr", {}, heads)),
        tag("tbody", {}, "\n".join(lines)),
    )
    return tag("table", {"id": name} if name else {}, *content)


def _asset(name: str) -> str:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return file.read()


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
