"""An Ollama Modelfile: the GGUF file, its template in Go's language, and what ends an answer.

Ollama does not run Jinja. Most chat templates put fixed texts around each turn; those texts are found by rendering
turns with marks in them, and put together again in Go. Whether the result is the Jinja template is then tried on
dialogues; where it is not, the Modelfile has no template and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorafit.data.template import Renderer
from lorafit.errors import DataError
from lorafit.records import Message

SYSTEM, USER, ANSWER, USER_2 = (f"«{mark}»" for mark in ("system", "first", "answer", "second"))


@dataclass(frozen=True, slots=True)
class Turns:
    """The fixed texts of a chat template. begin: before all; default_system: what it says where no system prompt is
    given; system: around a system prompt, or, where `folded`, around it inside the first user turn; user: before a
    question; answer: between a question and its answer; end: behind an answer; ask: what asks for the next one."""

    begin: str
    system: tuple[str, str]
    folded: bool
    user: str
    answer: str
    end: str
    ask: str
    default_system: str = ""

    def render(self, turns: Sequence[Mapping[str, str]]) -> str:
        """What the Go template of these texts gives."""
        if turns[0]["role"] != "system" and self.default_system:
            turns = [{"role": "system", "content": self.default_system}, *turns]
        text = self.begin
        system = turns[0]["content"] if turns[0]["role"] == "system" else ""
        for number, turn in enumerate(turns):
            if turn["role"] == "system":
                text += "" if self.folded else self.system[0] + system + self.system[1]
            elif turn["role"] == "user":
                folded = self.folded and system and number <= 1
                text += self.user + (self.system[0] + system + self.system[1] if folded else "") + turn["content"]
                text += self.ask if number == len(turns) - 1 else ""
            else:
                text += self.answer + turn["content"] + self.end
        return text

    def go(self) -> str:
        """The same as a Go template, as Ollama runs it: all texts are quoted, so no space is lost."""
        system = _quoted(self.system[0]) + "%s" + _quoted(self.system[1])
        first = "{{ if and $.System (le $i 1) }}" + system % "{{ $.System }}" + "{{ end }}" if self.folded else ""
        alone = "" if self.folded else '{{ if eq .Role "system" }}' + system % "{{ .Content }}" + "{{ end }}"
        return (
            f"{_quoted(self.begin)}{{{{ range $i, $_ := .Messages }}}}{alone}"
            f'{{{{ if eq .Role "user" }}}}{_quoted(self.user)}{first}{{{{ .Content }}}}'
            f"{{{{ if eq (len (slice $.Messages $i)) 1 }}}}{_quoted(self.ask)}{{{{ end }}}}"
            f'{{{{ else if eq .Role "assistant" }}}}{_quoted(self.answer)}{{{{ .Content }}}}{_quoted(self.end)}'
            "{{ end }}{{ end }}"
        )


def modelfile(file: str, renderer: Renderer, adds_begin: bool, adapter: str | None = None) -> tuple[str, str | None]:
    """The text of a Modelfile for the GGUF `file` beside it, and a remark where its template could not be written.

    `renderer` is what the model was trained with; `adds_begin`: the file says that the begin-of-text token is added to
    every text, so the template must not have it too.
    """
    lines = [f"FROM ./{file}"]
    if adapter:
        lines.append(f"ADAPTER ./{adapter}")
    turns = read_turns(renderer, adds_begin)
    remark = None
    if turns is None:
        remark = "the chat template has no equal in Ollama's language, so the Modelfile has none: write its TEMPLATE"
        lines.append(f"# {remark}")
    else:
        lines.append(f'TEMPLATE """{turns.go()}"""')
        if turns.default_system:
            lines.append(f"SYSTEM {_as_value(turns.default_system)}")
    lines += [f"PARAMETER stop {_as_value(stop)}" for stop in stop_words(renderer)]
    return "\n".join(lines) + "\n", remark


def stop_words(renderer: Renderer) -> list[str]:
    """The texts that end an answer: the end-of-turn tokens, and what begins the next question in a plain template."""
    tokens = renderer.tokenizer.convert_ids_to_tokens(renderer.stop_ids)
    return [*dict.fromkeys([*tokens, *renderer.template.stops])]


def read_turns(renderer: Renderer, adds_begin: bool) -> Turns | None:
    """The fixed texts of the renderer's template, None where it does more than put texts around turns."""
    begin = renderer.tokenizer.bos_token or ""

    def rendered(turns: Sequence[Mapping[str, str]]) -> str:
        text = renderer.text([Message(**turn) for turn in turns], ask=True)  # type: ignore[arg-type]
        return text.removeprefix(begin) if adds_begin and begin else text

    try:
        candidates = list(_candidates(rendered))
        dialogues = [(turns, rendered(turns)) for turns in _dialogues()]
    except DataError:
        return None
    same = [one for one in candidates if all(one.render(turns) == text for turns, text in dialogues)]
    # Several cuts give the same text; the plainest is the one where what stops an answer belongs to its end.
    stops = stop_words(renderer)
    return next((one for one in same if any(stop in one.end for stop in stops)), same[0] if same else None)


def _candidates(rendered: Callable[[Sequence[Mapping[str, str]]], str]) -> Iterator[Turns]:
    """Ways to cut what stands between marks into the texts of each turn, those with the longest `user` first."""
    plain = _between(rendered(_turns(USER, ANSWER, USER_2)), USER, ANSWER, USER_2)
    asked = _between(rendered([{"role": "system", "content": SYSTEM}, *_turns(USER)]), SYSTEM, USER)
    if plain is None or asked is None:
        return
    head, answer, between, ask = plain
    before, inside, _ = asked
    for length in range(len(_common_end(head, between)), -1, -1):
        user = head[len(head) - length :]
        begin, end = head.removesuffix(user), between.removesuffix(user)
        if before == head:
            yield Turns(begin, ("", inside), True, user, answer, end, ask)
        elif inside.endswith(user):
            around = before.removeprefix(begin), inside.removesuffix(user)
            if before.startswith(begin):
                yield Turns(begin, around, False, user, answer, end, ask)
            elif begin.startswith(before) and begin.endswith(around[1]):
                default = begin.removeprefix(before).removesuffix(around[1])
                yield Turns("", (before, around[1]), False, user, answer, end, ask, default)


def _turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(contents)]


def _dialogues() -> list[list[dict[str, str]]]:
    system = {"role": "system", "content": "Be brief."}
    one, three, five = _turns("Hi?"), _turns("Hi?", "Yes.", "And?"), _turns("a", "b", "c", "d", "e")
    return [one, three, five, [system, *one], [system, *three], [system, *five]]


def _between(text: str, *marks: str) -> list[str] | None:
    """What stands before, between and behind marks that stand in this order, each once."""
    parts = []
    for mark in marks:
        if text.count(mark) != 1:
            return None
        before, _, text = text.partition(mark)
        parts.append(before)
    return [*parts, text]


def _common_end(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    return one[len(one) - length :]


def _as_value(text: str) -> str:
    """A text in a Modelfile, whose quotes know no escapes: line breaks stand in it as they are."""
    return f'"""{text}"""' if '"' in text else f'"{text}"'


def _quoted(text: str) -> str:
    """A text as a string in Go; empty for none."""
    return "{{ " + json.dumps(text, ensure_ascii=False) + " }}" if text else ""
