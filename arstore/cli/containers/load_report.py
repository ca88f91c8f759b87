"""The output of `load`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.containers.options.new_container import out_of_memory
from arstore.cli.images.imports import besides, image_document, in_the_store
from arstore.cli.images.skipped import skipped_lines
from arstore.cli.terminal.output import write_json, write_line

if TYPE_CHECKING:
    from typing import Any

    from arstore.cli.session import Session
    from arstore.pipeline.load import Loaded, LoadOptions
    from arstore.store.store import Store

_TOLD = 10
"""Most paths that are listed one by one: those that stayed in the images directory, or could not be imported."""


def render(session: Session, store: Store, loaded: Loaded, options: LoadOptions) -> None:
    """Print what was loaded, and on stderr what was not."""
    from arstore.api.importing import moved_since

    session.done = in_the_store([loaded.image, *(image.digest for image in loaded.imported)])
    if session.json:
        write_json({**_document(loaded), **besides(moved_since(store, 0), store.cleared)})
    else:
        write_line(loaded.image, *loaded.names)
        for image in loaded.imported:
            write_line(image.digest, *image.names)
    for path, skipped in loaded.skipped.items():
        for line in skipped_lines(skipped.entries, skipped.count):
            session.note(f"{path}: {line}")
    for failure in loaded.failed[:_TOLD]:
        session.warn(f"{failure.path}: {failure.error}")
    if len(loaded.failed) > _TOLD:
        session.warn(f"{len(loaded.failed) - _TOLD} more could not be imported")
    for path in loaded.kept[:_TOLD]:
        session.warn(f"{path}: kept in the images directory, because it was created or changed during the import")
    if len(loaded.kept) > _TOLD:
        session.warn(f"{len(loaded.kept) - _TOLD} more were kept there")
    if loaded.oom_killed:
        session.warn(out_of_memory(loaded.label, options.container.memory))
    if loaded.set_aside:
        session.note(f"{loaded.label}: what an earlier run had left was moved to {loaded.set_aside}")
    for line in _summary(loaded):
        session.note(f"{loaded.label}: {line}")


def _summary(loaded: Loaded) -> list[str]:
    """Return the lines of the summary."""
    lines = []
    if loaded.exit_code == 0 and not loaded.imported and not loaded.failed:
        lines.append("the run left no images (use `arstore import` to import an archive without running an image)")
    if not loaded.has_run and loaded.imported and loaded.exit_code is None:
        lines.append("its last run had succeeded, so it was not run again (use --rerun for that)")
    if loaded.imported:
        known = sum(is_known(image) for image in loaded.imported)
        there = f", {known} of them already in the store" if known else ""
        lines.append(f"imported {len(loaded.imported)} image{'s' if len(loaded.imported) > 1 else ''}{there}")
    parts = {"import": "importing the pipeline", "run": "the run", "leavings": "importing what it left"}
    told = [f"{words} {loaded.seconds[part]:.1f} s" for part, words in parts.items() if part in loaded.seconds]
    if loaded.has_run:
        lines.append("took: " + ", ".join(told))
    return lines


def is_known(image: Any) -> bool:  # noqa: ANN401 - a TakenImage, whose module is not loaded yet
    """Return whether the store already had every layer of *image*."""
    return all(layer.reused for layer in image.layers)


def _document(loaded: Loaded) -> dict[str, Any]:
    from arstore.api.importing import imported_images

    return {
        "pipeline": {
            "image": loaded.image,
            "names": list(loaded.names),
            "container": loaded.container,
            "exit_code": loaded.exit_code,
            "oom_killed": loaded.oom_killed,
            "has_run": loaded.has_run,
        },
        "seconds": {part: round(seconds, 3) for part, seconds in loaded.seconds.items()},
        "imported": list(map(image_document, imported_images(loaded.imported))),
        "skipped": [
            {"path": path, **document} for path, skipped in loaded.skipped.items() for document in skipped.documents()
        ],
        "skipped_count": sum(skipped.count for skipped in loaded.skipped.values()),
        "failed": [{"path": failure.path, "error": str(failure.error)} for failure in loaded.failed],
        "kept": list(loaded.kept),
        "set_aside": loaded.set_aside,
    }
