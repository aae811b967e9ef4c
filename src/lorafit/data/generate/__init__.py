"""Documents or seed instructions to instruction rows, by asking a model.

    requests = from_chunks(chunks, lambda text: [load_prompt("qa", language_of(text))], identity="my-model")
    generate(requests, endpoint.ask, Target(path), Limits(requests=1000), Checks(), Duplicates(), counts := Counts())

`prompt` reads the prompt files (`prompts/`), `request` makes the questions, `ask` says what answers look like,
`endpoint` asks an OpenAI-compatible server, `journal` keeps every answer on disk, `answers` reads rows out of them,
`checks` and `duplicates` refuse rows, `work` puts it all together. What answers is a callable: no model is seen here.
"""

from lorafit.data.generate.answers import Form
from lorafit.data.generate.ask import Ask, Failure, Messages, Reply
from lorafit.data.generate.checks import MENTIONS, Checks, Duplicates
from lorafit.data.generate.endpoint import Endpoint
from lorafit.data.generate.prompt import Prompt, built_in, language_of, load_prompt
from lorafit.data.generate.request import Request, from_chunks, from_seeds, read_seeds
from lorafit.data.generate.work import Counts, Limits, Target, generate

__all__ = [
    "MENTIONS",
    "Ask",
    "Checks",
    "Counts",
    "Duplicates",
    "Endpoint",
    "Failure",
    "Form",
    "Limits",
    "Messages",
    "Prompt",
    "Reply",
    "Request",
    "Target",
    "built_in",
    "from_chunks",
    "from_seeds",
    "generate",
    "language_of",
    "load_prompt",
    "read_seeds",
]
