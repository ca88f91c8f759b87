"""Go templates: what they print, and how errors name their place."""

from __future__ import annotations

import pytest

from arstore.cli.terminal.formats import template as templates
from arstore.cli.terminal.formats.template import Template
from arstore.cli.terminal.formats.values import Fields, Twofold
from arstore.errors import UsageError

DATA = Fields(
    ID="abc",
    Names=["a", "b"],
    State=Fields(Status="running", Pid=5, Up=True),
    Labels={"k": "v", "a": "1"},
    Nothing=None,
    Size=Twofold("1.5 kB", 1500),
    Ratio=2.0,
)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("plain", "plain"),
        ("{{.ID}}|{{ .ID }}", "abc|abc"),
        ("{{.id}} {{.State.pid}}", "abc 5"),
        ("{{.Names}} {{.Labels}} {{.State}}", "[a b] map[a:1 k:v] {running 5 true}"),
        ("{{.Nothing}} {{.Labels.none}} {{.Ratio}}", "<nil> <no value> 2"),
        ("{{json .}}", None),
        ("{{json .Names}}{{json .Size}}", '["a","b"]1500'),
        ("{{.Size}} {{.State.Up}}", "1.5 kB true"),
        ("{{len .Names}} {{len .ID}} {{len .Nothing}}", "2 3 0"),
        ('{{index .Labels "k"}} {{index .Names 1}} [{{index .Labels "none"}}]', "v b []"),
        ('{{join .Names ","}} {{.ID | upper}} {{"A" | lower | printf "%s-%3s|" .ID | print}}', None),
        ('{{printf "%-5s|%5s|%03d|%q|%v|%%" .ID .ID .State.Pid .ID .Names}}', 'abc  |  abc|005|"abc"|[a b]|%'),
        ('{{if eq .State.Status "running"}}up{{else}}down{{end}}', "up"),
        ("{{if .Nothing}}1{{else if .ID}}2{{else}}3{{end}}", "2"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Nothing}}x{{else}}none{{end}}", "5none"),
        ("{{range .Names}}<{{.}}>{{end}}{{range .Nothing}}x{{else}}empty{{end}}", "<a><b>empty"),
        ("{{range $i, $x := .Names}}{{$i}}={{$x}}{{$.ID}} {{end}}", "0=aabc 1=babc "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;k=v;"),
        ("{{$x := .ID}}{{$x}}{{$x = .Names}}{{$x}}", "abc[a b]"),
        ("a  {{- .ID -}}  b {{/* no */}}c", "aabcb c"),
        ("{{(index .Names 0) | upper}}{{(.State).Pid}}", "A5"),
        ("{{and .ID .Nothing}} {{or .Nothing .ID}} {{not .ID}}", "<nil> abc false"),
        ("{{lt .State.Pid 6}} {{ge .Size 1500}} {{ne .ID `abc`}} {{eq .ID `x` `abc`}}", "true true false true"),
        ("{{slice .ID 1 2}} {{truncate .ID 2}} {{split `a-b` `-`}} {{title .ID}} [{{pad .ID 1 2}}]", None),
    ],
)
def test_output(text, output):
    found = Template(text).render(DATA)
    if output is not None:
        assert found == output


def test_escapes_are_for_text_only():
    assert Template(r'a\t{{.ID}}\n{{"\t"}}', escapes=True).render(DATA) == "a\tabc\n\t"
    assert Template(r"a\t").render(DATA) == r"a\t"


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("{{.Nope}}", 3, "no field Nope"),
        ("ab{{.State.Nope}}", 11, "no field Nope"),
        ("{{.ID.X}}", 6, "no field X"),
        ("{{.ID", 1, "no }}"),
        ("{{.ID}", 6, "unexpected '}'"),
        ("{{nope .}}", 3, "function nope is not known"),
        ('{{define "x"}}{{end}}', 3, "action define is not known"),
        ('{{template "x"}}', 3, "template is not known"),
        ("{{call .ID}}", 3, "function call is not known"),
        ("{{if .ID}}", 3, "if has no end"),
        ("{{end}}", 3, "without if"),
        ("{{else}}", 3, "without if"),
        ("{{if .ID}}{{else}}{{else}}{{end}}", 21, "second else"),
        ("{{.ID 3}}", 7, "only a function"),
        ("{{.ID | 3}}", 9, "only a function"),
        ("{{}}", 3, "value is missing"),
        ("{{range .ID}}{{end}}", 3, "range takes"),
        ("{{len}}", 3, "does not take 0"),
        ("{{len .State.Pid}}", 3, "len takes"),
        ("{{index .Names 7}}", 3, "has 2 items"),
        ('{{printf "%d" .ID}}', 3, "%d takes"),
        ('{{printf "%s"}}', 3, "fewer values"),
        ('{{printf "%z" 1}}', 3, "does not know %z"),
        ("{{eq .Names .Names}}", 3, "cannot be compared"),
        (r'{{"\q"}}', 3, "unknown escape"),
        ("{{(.ID}}", 3, "parenthesis has no end"),
        ("{{$x}}", 3, "$x is not set"),
        ("{{/* x", 3, "comment has no end"),
        ("{{.ID}}{{#}}", 10, "unexpected '#'"),
    ],
)
def test_an_error_names_its_place(text, place, why):
    with pytest.raises(UsageError) as caught:
        Template(text).render(DATA)
    assert str(caught.value).startswith(f"--format: character {place}: ")
    assert why in str(caught.value)


def test_everything_is_bounded(monkeypatch):
    deep = "{{if .ID}}" * 60 + "{{end}}" * 60
    for text in (deep, "{{" + "(" * 60 + ".ID" + ")" * 60 + "}}", "x" * 70_000, "{{if .ID}}" + "{{else if .ID}}" * 60):
        with pytest.raises(UsageError):
            Template(text)
    many = Fields(X=["x"] * 2000)
    with pytest.raises(UsageError, match="steps"):
        Template("{{range .X}}{{range $.X}}{{end}}{{end}}").render(many)
    monkeypatch.setattr(templates, "MOST_OUTPUT", 1000)
    with pytest.raises(UsageError, match="output"):
        Template("{{range .X}}x{{end}}").render(many)
    with pytest.raises(UsageError):
        Template('{{printf "%9999s" .ID | printf "%9999s%s" .ID}}').render(DATA)
