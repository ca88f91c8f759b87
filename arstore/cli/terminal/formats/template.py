"""Go templates: the part of text/template that formats of container tools use. Parsed once, rendered for each row.

    {{.A.B}} {{json .}} {{len .X}} {{index .Map "k"}} {{join .List ","}} {{printf "%-8s" .A}} {{.A | upper}}
    {{if eq .A "x"}}...{{else if .B}}...{{else}}...{{end}} {{range .X}}...{{else}}...{{end}} {{range $i, $x := .X}}
    {{with .X}}...{{end}} {{$x := .A}} {{- trimmed -}} {{/* comment */}}

Not here: `define`, `template`, `block`, `call` and methods with arguments; they are errors. Everything is bounded: the
length of the template, its nesting, the steps of one rendering and the length of the output. No code is executed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from arstore.cli.terminal.formats.errors import refused
from arstore.cli.terminal.formats.functions import FUNCTIONS, MOST_OUTPUT, FunctionError
from arstore.cli.terminal.formats.values import MISSING, Fields, is_true, printed
from arstore.cli.terminal.formats.words import Action, Text, Word, number, parts, string
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_STEPS = 1_000_000
_DEEPEST = 50
_LAZY = ("and", "or")
_CONTROL = ("if", "else", "end", "range", "with", "define", "template", "block", "break", "continue")


class Path(NamedTuple):
    """Fields of a value: `.A.B`, `$x.A`, `(...).A`; *base* is None for the dot."""

    base: object
    names: tuple[tuple[str, int], ...]


class Variable(NamedTuple):
    """`$x`; `$` is the document."""

    name: str
    position: int


class Literal(NamedTuple):
    """A string, a number, true, false or nil."""

    value: object


class Call(NamedTuple):
    """A function and its arguments."""

    name: str
    arguments: tuple[object, ...]
    position: int


class Output(NamedTuple):
    """A pipeline that is printed, or that sets a variable."""

    value: object
    sets: str = ""


class Block(NamedTuple):
    """`if`, `with` or `range`; *variables* are those that it sets."""

    kind: str
    value: object
    body: tuple[object, ...]
    otherwise: tuple[object, ...]
    variables: tuple[str, ...]
    position: int


class Template:
    """A parsed template."""

    def __init__(self, text: str, *, escapes: bool = False) -> None:
        r"""With *escapes*, `\t` and `\n` in the text are a tab and a line break.

        Raises UsageError, with the position, for what is not a template or not known here.
        """
        found = list(parts(text))
        if escapes:
            found = [Text(_unescaped(one.text)) if isinstance(one, Text) else one for one in found]
        self._body = _Parser(found).document()

    def render(self, data: object) -> str:
        """Return the output for *data*. Raises UsageError for an unknown field, and for too much output."""
        run = _Run(data)
        run.execute(self._body, data)
        return "".join(run.found)


def _unescaped(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n")


class _Parser:
    """Builds the nodes."""

    def __init__(self, found: list[Text | Action]) -> None:
        self._parts = found[::-1]
        self._words: list[Word] = []

    def document(self) -> tuple[object, ...]:
        body, end = self._body(0)
        if end is not None:
            raise refused(end.words[0].position, f"{end.words[0].text} without if, with or range")
        return body

    def _body(self, depth: int) -> tuple[tuple[object, ...], Action | None]:
        """Return the nodes up to `else` or `end`, and that action; None at the end of the template."""
        nodes: list[object] = []
        while self._parts:
            part = self._parts.pop()
            if isinstance(part, Text):
                nodes.append(part)
                continue
            if depth > _DEEPEST:
                raise refused(part.position, f"is nested more than {_DEEPEST} times")
            first = part.words[0]
            if first.kind == "name" and first.text in {"else", "end"}:
                return tuple(nodes), part
            if first.kind == "name" and first.text in {"if", "with", "range"}:
                nodes.append(self._block(part, depth))
            else:
                nodes.append(self._output(part))
        return tuple(nodes), None

    def _block(self, action: Action, depth: int) -> Block:
        opening = action.words[0]
        variables, value = self._control(action.words[1:], opening)
        body, end = self._body(depth + 1)
        otherwise: tuple[object, ...] = ()
        if end is not None and end.words[0].text == "else":
            rest = end.words[1:]
            if rest[0].kind == "name" and rest[0].text in {"if", "with"}:
                otherwise = (self._block(Action(rest, end.position), depth + 1),)
                return Block(opening.text, value, body, otherwise, variables, opening.position)
            self._require_end(rest[0])
            otherwise, end = self._body(depth + 1)
        if end is None:
            raise refused(opening.position, f"{opening.text} has no end")
        if end.words[0].text == "else":
            raise refused(end.words[0].position, "a second else")
        self._require_end(end.words[1])
        return Block(opening.text, value, body, otherwise, variables, opening.position)

    def _control(self, words: Sequence[Word], opening: Word) -> tuple[tuple[str, ...], object]:
        kinds = [(word.kind, word.text) for word in words]
        if ("mark", ":=") not in kinds:
            return (), self._whole(words)
        cut = kinds.index(("mark", ":="))
        names = [word.text for word in words[:cut] if word.kind == "variable"]
        shape = [word.text if word.kind == "mark" else word.kind for word in words[:cut]]
        if shape not in (["variable"], ["variable", ",", "variable"]) or (len(names) == 2 and opening.text != "range"):
            raise refused(words[0].position, "only variables can be set with :=")
        return tuple(names), self._whole(words[cut + 1 :])

    def _output(self, action: Action) -> Output:
        words = action.words
        is_variable = words[0].kind == "variable" and len(words) > 2 and words[1].text in {":=", "="}
        if is_variable:
            return Output(self._whole(words[2:]), words[0].text)
        return Output(self._whole(words))

    def _whole(self, words: Sequence[Word]) -> object:
        """Return the pipeline that *words* are, to their end."""
        self._words = list(words)[::-1]
        value = self._pipeline(0)
        self._require_end(self._words[-1])
        return value

    def _require_end(self, word: Word) -> None:
        if word.kind != "end":
            raise refused(word.position, f"unexpected {word.text!r}")

    def _pipeline(self, depth: int) -> object:
        value = self._command(depth, None)
        while self._words[-1].text == "|" and self._words[-1].kind == "mark":
            self._words.pop()
            value = self._command(depth, value)
        return value

    def _command(self, depth: int, piped: object) -> object:
        """Read a function with its arguments, or one operand; *piped* is the last argument, if there is one."""
        word = self._words[-1]
        if word.kind == "name" and word.text not in {"true", "false", "nil"}:
            self._words.pop()
            arguments = []
            while not self._ends_command():
                arguments.append(self._operand(depth))
            if piped is not None:
                arguments.append(piped)
            return _call(word, arguments)
        value = self._operand(depth)
        if piped is not None or not self._ends_command():
            wrong = self._words[-1] if not self._ends_command() else word
            raise refused(wrong.position, "only a function takes values")
        return value

    def _ends_command(self) -> bool:
        word = self._words[-1]
        return word.kind == "end" or (word.kind == "mark" and word.text in {"|", ")"})

    def _operand(self, depth: int) -> object:
        if depth > _DEEPEST:
            raise refused(self._words[-1].position, f"is nested more than {_DEEPEST} times")
        word = self._words.pop()
        if word.kind == "string":
            return Literal(string(word))
        if word.kind == "number":
            return Literal(number(word))
        if word.kind == "field":
            return self._path(None, [(word.text[1:], word.position)])
        if word.kind == "variable":
            return self._path(Variable(word.text, word.position), [])
        if word.kind == "name":
            literals = {"true": True, "false": False, "nil": None}
            return Literal(literals[word.text]) if word.text in literals else _call(word, [])
        if word.text == ".":
            return Path(None, ())
        if word.text == "(":
            value = self._pipeline(depth + 1)
            if self._words[-1].text != ")":
                raise refused(word.position, "the parenthesis has no end")
            self._words.pop()
            return self._path(value, [])
        raise refused(word.position, f"unexpected {word.text!r}" if word.text else "a value is missing")

    def _path(self, base: object, names: list[tuple[str, int]]) -> object:
        while self._words[-1].kind == "field" and not self._words[-1].spaced:
            word = self._words.pop()
            names.append((word.text[1:], word.position))
        return Path(base, tuple(names)) if names or base is None else base


def _call(word: Word, arguments: list[object]) -> Call:
    if word.text in _LAZY:
        least, most = 1, None
    elif word.text in FUNCTIONS:
        _, least, most = FUNCTIONS[word.text]
    else:
        kind = "action" if word.text in _CONTROL else "function"
        known = ", ".join(sorted((*FUNCTIONS, *_LAZY)))
        raise refused(word.position, f"the {kind} {word.text} is not known", f"the functions are {known}")
    if len(arguments) < least or (most is not None and len(arguments) > most):
        raise refused(word.position, f"{word.text} does not take {len(arguments)} values")
    return Call(word.text, tuple(arguments), word.position)


class _Run:
    """One rendering: variables, steps left, and the output so far."""

    def __init__(self, document: object) -> None:
        self._variables: dict[str, object] = {"$": document}
        self._steps = _MOST_STEPS
        self._length = 0
        self.found: list[str] = []

    def execute(self, nodes: tuple[object, ...], dot: object) -> None:
        for node in nodes:
            self._step()
            if isinstance(node, Text):
                self._write(node.text)
            elif isinstance(node, Output):
                value = self._value(node.value, dot)
                if node.sets:
                    self._variables[node.sets] = value
                else:
                    self._write(printed(value))
            elif isinstance(node, Block):
                self._block(node, dot)

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MOST_OUTPUT:
            raise refused(0, f"the output has more than {MOST_OUTPUT >> 20} million characters")
        self.found.append(text)

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise refused(0, f"takes more than {_MOST_STEPS} steps")

    def _block(self, node: Block, dot: object) -> None:
        value = self._value(node.value, dot)
        if node.kind == "range":
            self._range(node, value, dot)
        elif is_true(value):
            for name in node.variables:
                self._variables[name] = value
            self.execute(node.body, value if node.kind == "with" else dot)
        else:
            self.execute(node.otherwise, dot)

    def _range(self, node: Block, value: object, dot: object) -> None:
        if value is None or value is MISSING:
            items: list[tuple[object, object]] = []
        elif isinstance(value, dict):
            items = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, list | tuple):
            items = list(enumerate(value))
        else:
            raise refused(node.position, "range takes a list or a map")
        for key, item in items:
            self._step()
            self._variables.update(zip(node.variables[::-1], (item, key), strict=False))
            self.execute(node.body, item)
        if not items:
            self.execute(node.otherwise, dot)

    def _value(self, node: object, dot: object) -> object:
        self._step()
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Variable):
            if node.name not in self._variables:
                raise refused(node.position, f"the variable {node.name} is not set")
            return self._variables[node.name]
        if isinstance(node, Path):
            value = dot if node.base is None else self._value(node.base, dot)
            for name, position in node.names:
                value = _field(value, name, position)
            return value
        assert isinstance(node, Call)
        if node.name in _LAZY:
            return self._lazy(node, dot)
        try:
            return FUNCTIONS[node.name][0](*(self._value(one, dot) for one in node.arguments))
        except FunctionError as error:
            raise refused(node.position, str(error)) from None

    def _lazy(self, node: Call, dot: object) -> object:
        value: object = None
        for one in node.arguments:
            value = self._value(one, dot)
            if is_true(value) is (node.name == "or"):
                break
        return value


def _field(value: object, name: str, position: int) -> object:
    if isinstance(value, Fields):
        try:
            return value.find(name)
        except KeyError:
            _refuse_field(name, position, value)
    if isinstance(value, dict):
        return value.get(name, MISSING)
    if value is None or value is MISSING:
        return MISSING
    return _refuse_field(name, position, {})


def _refuse_field(name: str, position: int, known: dict[str, object]) -> NoReturn:
    hint = f"the fields are {', '.join(known)}" if known else ""
    raise refused(position, f"there is no field {name} here", hint)
