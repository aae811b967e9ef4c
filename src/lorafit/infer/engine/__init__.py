"""The decoding engine that evaluation, chat and serving share."""

from lorafit.infer.engine.engine import Engine
from lorafit.infer.engine.request import GREEDY, Completion, Handle, Request, Sampling, TokenLogprob

__all__ = ["GREEDY", "Completion", "Engine", "Handle", "Request", "Sampling", "TokenLogprob"]
