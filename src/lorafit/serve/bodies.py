"""What clients send: OpenAI's request bodies. What is not supported and would change the answer is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lorafit.infer.engine import Sampling
from lorafit.records import Message
from lorafit.serve.limits import Limits
from lorafit.serve.refusals import Refused

# Fields that are accepted where they say nothing: these values leave the answer as it is.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "echo": (None, False),
    "suffix": (None, ""),
    "best_of": (None, 1),
    "min_p": (None, 0),
    "min_tokens": (None, 0),
}
Number = Annotated[float, Field(allow_inf_nan=False)]
SEEDS = 2**62


class StreamOptions(BaseModel):
    include_usage: bool = False


class Asked(BaseModel):
    """What the two kinds of completions have in common. Other fields are kept, to be looked at."""

    model_config = ConfigDict(extra="allow")

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: Number | None = Field(None, ge=0, le=100)
    top_p: Number | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=1 << 20)
    repetition_penalty: Number | None = Field(None, gt=0, le=100)
    seed: int | None = Field(None, ge=-SEEDS, le=SEEDS)
    n: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _nothing_unsupported(self) -> Asked:
        for name, value in (self.model_extra or {}).items():
            if name in NEUTRAL and value not in NEUTRAL[name]:
                raise ValueError(f"{name} is not supported here; leave it out")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only for stream=true")
        return self

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def stops(self) -> tuple[str, ...]:
        wanted = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(filter(None, wanted))

    def sampling(self, choice: int) -> Sampling:
        """How the choice of this number is drawn: with a seed, each from a seed of its own. OpenAI's temperature is 1
        where none is given."""
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=max(0, self.top_k or 0),
            top_p=1.0 if self.top_p is None else self.top_p,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            seed=None if self.seed is None else self.seed + choice,
        )


class Part(BaseModel):
    type: Literal["text"]
    text: str


class Turn(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None
    tool_calls: list[Any] | None = Field(None, max_length=0)

    def message(self) -> Message:
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())
        return Message("system" if self.role == "developer" else self.role, content)


class ChatBody(Asked):
    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @field_validator("top_logprobs")
    @classmethod
    def _top_needs_logprobs(cls, value: int | None, info: Any) -> int | None:
        if value and not info.data.get("logprobs"):
            raise ValueError("top_logprobs is only for logprobs=true")
        return value

    @property
    def wanted_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def wanted_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionBody(Asked):
    prompt: str | list[int] | list[str] | list[list[int]]
    logprobs: int | None = Field(None, ge=0, le=20)

    @property
    def wanted_logprobs(self) -> int | None:
        return self.logprobs

    @property
    def wanted_tokens(self) -> int | None:
        return self.max_tokens or 16  # as in OpenAI's interface

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, as texts or as token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]


class AdapterBody(BaseModel):
    name: str
    path: str


class LoadBody(BaseModel):
    """As vLLM has it."""

    lora_name: str
    lora_path: str


class UnloadBody(BaseModel):
    lora_name: str


Body = TypeVar("Body", bound=BaseModel)


def parse(kind: type[Body], raw: bytes) -> Body:
    """The body of a request. Raises Refused (400) with the first fault and the field that it is in."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in fault["loc"][:3])
        message = f"{where}: {fault['msg']}" if where else fault["msg"]
        raise Refused(400, message, str(fault["loc"][0]) if fault["loc"] else None) from None


def check(body: ChatBody | CompletionBody, limits: Limits) -> None:
    """Raises Refused (400) for a request that asks for more than the limits."""
    prompts = len(body.prompts) if isinstance(body, CompletionBody) else 1
    if prompts < 1:
        raise Refused(400, "prompt: there is none.", "prompt")
    if body.choices * prompts > limits.choices:
        raise Refused(
            400, f"n: {body.choices} choices for {prompts} prompts, at most {limits.choices} are answered.", "n"
        )
    if (body.wanted_tokens or 0) > limits.tokens:
        raise Refused(
            400, f"max_tokens: {body.wanted_tokens} is more than the {limits.tokens} allowed here.", "max_tokens"
        )
    if len(body.stops) > limits.stops or any(len(stop) > limits.stop_characters for stop in body.stops):
        raise Refused(
            400, f"stop: at most {limits.stops} texts of at most {limits.stop_characters} characters.", "stop"
        )
