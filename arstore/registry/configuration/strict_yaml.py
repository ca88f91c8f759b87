"""Strict reader of YAML files that other tools share (registries.d, skopeo's sync files).

Every scalar is read as a string. Repeated keys are refused, and so are deep nesting and merge keys, with which a small
file can expand to a huge one. Not in scope: what a file means.
"""

from __future__ import annotations

from typing import Any

from arstore.errors import HostError, RegistryConfigError
from arstore.oci.document import shown

_DEPTH = 20
_MERGE = "<<"


def parse_yaml(data: bytes, path: str) -> object:
    """The document in the file *path*: dictionaries, lists and strings. Raises RegistryConfigError, HostError."""
    # Imported here: it takes 20 ms, and few commands read YAML.
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise HostError("PyYAML", "is not installed, but is needed for YAML files", "install it with pip") from error

    class Loader(yaml.BaseLoader):  # type: ignore[misc]
        """Makes only strings, lists and dictionaries, and refuses repeated keys."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - yaml has no types
            self.depth += 1
            if self.depth > _DEPTH:
                raise RegistryConfigError(path, f"has more than {_DEPTH} levels")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401
            found: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, deep=True)
                where = f"line {key_node.start_mark.line + 1}"
                if not isinstance(key, str):
                    raise RegistryConfigError(path, f"{where}: a key is not a string")
                if key == _MERGE:
                    raise RegistryConfigError(path, f"{where}: merge keys (<<) are not supported")
                if key in found:
                    raise RegistryConfigError(path, f"{where}: the key {shown(key, 60)} occurs twice")
                found[key] = self.construct_object(value_node, deep=True)
            return found

    def construct(loader: Loader, node: Any) -> dict[Any, Any]:  # noqa: ANN401
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", construct)
    try:
        return yaml.load(data, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        problem = getattr(error, "problem", None) or "is not YAML"
        raise RegistryConfigError(path, f"{where}{shown(str(problem))}") from error
    except (RecursionError, ValueError) as error:
        raise RegistryConfigError(path, "is not valid YAML") from error
