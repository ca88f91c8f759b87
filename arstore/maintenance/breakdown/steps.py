"""The build step that made each layer, from the history in the configs of images, to name layers for people."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.oci.config import ImageConfig
    from arstore.store.store import Store, StoredImage

_LONGEST = 160
_SHELLS = frozenset({"/bin/sh", "/bin/bash"})
"""Texts that buildah writes for every layer that `buildah run` or `copy` makes: they do not identify a layer."""
_SHELL = pattern(r"^(?:/bin/sh -c )?#\(nop\)\s*|^/bin/sh -c ")
_TRAILER = "# buildkit"


class Step(NamedTuple):
    """The place of a layer in an image, from 1, *of* how many; and the text of the step, which may be empty."""

    number: int
    of: int
    text: str


def steps_of(store: Store, images: Iterable[StoredImage]) -> dict[str, Step]:
    """Return the step of each layer of *images*, by diff ID; the first image that has a layer names it.

    Images whose config cannot be read are skipped.
    """
    found: dict[str, Step] = {}
    for image in images:
        with suppress(ArstoreError, OSError):
            for diff_id, step in _steps(store.config(image)):
                if diff_id not in found or (step.text and not found[diff_id].text):
                    found[diff_id] = step
    return found


def _steps(config: ImageConfig) -> Iterable[tuple[str, Step]]:
    texts = [entry.created_by or entry.comment for entry in config.history if not entry.empty_layer]
    count = len(config.diff_ids)
    for number, diff_id in enumerate(config.diff_ids):
        text = texts[number] if number < len(texts) else ""
        yield str(diff_id), Step(number + 1, count, shortened(text))


def shortened(text: str) -> str:
    """Return the text of a step without what builders add, on one line, cut after 160 characters."""
    # Only the beginning matters, and a config may have megabytes of it.
    text = " ".join(text[: 4 * _LONGEST].split()).removesuffix(_TRAILER).strip()
    if text in _SHELLS:
        return ""
    text, count = _SHELL.subn("", text, count=1)
    if count and text and not text.split(" ", 1)[0].isupper():
        text = f"RUN {text}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
