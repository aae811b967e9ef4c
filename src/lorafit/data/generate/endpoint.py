"""An OpenAI-compatible server: one chat completion a request, with retries, one pause for all, and a hidden key.

The few fields that are used (model, messages, temperature, max_tokens; choices, finish_reason, usage) are those that
every server of this protocol has, so that a plain HTTP client is enough.
"""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2

from lorafit.data.generate.ask import Failure, Messages, Reply
from lorafit.errors import DataError

LONGEST_WAIT = 60.0
LONGEST_PAUSE = 600.0  # a server that wants more than this is better asked later
# Retried: timed out, too early, too many, and faults of the server. Others of 4xx are the same the next time.
_AGAIN = {408, 409, 425, 429}
_USELESS = {
    401: "It does not accept the API key.",
    402: "It wants to be paid: check the account's balance.",
    403: "The API key may not use this model.",
    404: "It knows no such address or model. The address usually ends in /v1.",
}


class Endpoint:
    """Asks `address`/chat/completions. `settings` are further fields of the body, such as temperature; None leaves a
    field out. first_wait: seconds before the first retry, doubled each time. `retries` counts what was sent again."""

    group = 1

    def __init__(
        self,
        address: str,
        model: str,
        settings: Mapping[str, Any],
        key: str | None = None,
        timeout: float = 120.0,
        attempts: int = 6,
        first_wait: float = 1.0,
    ) -> None:
        self._address = address.rstrip("/") + "/chat/completions"
        self._body = {"model": model, **{name: value for name, value in settings.items() if value is not None}}
        self._key = key
        self._attempts, self._first_wait = attempts, first_wait
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 15.0)),
            limits=httpx2.Limits(max_connections=None),
        )
        self._pause_until = 0.0
        self._answered = False
        self._lock = threading.Lock()
        self.retries = 0

    def close(self) -> None:
        self._client.close()

    def ask(self, group: Sequence[Messages], stopping: threading.Event) -> list[Reply | Failure]:
        """Raises DataError where no request can succeed: nobody listens, the key or the model is refused."""
        return [self._ask(messages, stopping) for messages in group]

    def _ask(self, messages: Messages, stopping: threading.Event) -> Reply | Failure:
        body = {**self._body, "messages": [{"role": one.role, "content": one.content} for one in messages]}
        failure = Failure("stopped before it was sent")
        for attempt in range(self._attempts):
            if attempt:
                with self._lock:
                    self.retries += 1
            if stopping.wait(max(0.0, self._pause_until - time.monotonic())):
                return failure
            wait = min(LONGEST_WAIT, self._first_wait * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                response = self._client.post(self._address, json=body)
            except httpx2.ConnectError as error:
                if not self._answered:
                    raise DataError(
                        f"Nothing answers at {self._address}: {self._hidden(str(error))}. Is the server running?"
                    ) from None
                failure = Failure("no connection")
            except httpx2.TimeoutException:
                failure = Failure("timed out")
            except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
                raise DataError(f"{self._address} is no address: {error} It looks like http://host:8000/v1.") from None
            except httpx2.RequestError as error:
                failure = Failure(f"connection lost ({type(error).__name__})")
            else:
                self._answered = True
                if response.is_success:
                    reply = _read(response)
                    if isinstance(reply, Reply):
                        return reply
                    failure = reply
                else:
                    failure = self._refused(response)
                    if response.status_code not in _AGAIN and response.status_code < 500:
                        return failure
                    wait = self._asked_to_wait(response, wait)
            if attempt + 1 < self._attempts and stopping.wait(wait):
                break
        return failure

    def _refused(self, response: httpx2.Response) -> Failure:
        status, said = response.status_code, self._hidden(_message(response))
        if response.is_redirect:
            target = response.headers.get("location", "elsewhere")
            raise DataError(f"{self._address} points to {target}: give that address (without /chat/completions).")
        if status in _USELESS:
            raise DataError(f"{self._address} answers HTTP {status}: {said}\n{_USELESS[status]}")
        return Failure(f"HTTP {status}: {said}")

    def _asked_to_wait(self, response: httpx2.Response, wait: float) -> float:
        """Seconds until the next attempt. Where the server names a time, all threads wait for it."""
        asked = retry_after(response.headers.get("retry-after"))
        if asked is None:
            return wait
        if asked > LONGEST_PAUSE:
            raise DataError(
                f"{self._address} asks to wait {asked:.0f} seconds (HTTP {response.status_code}: "
                f"{self._hidden(_message(response))}).\nGive the same command again then: what was answered is kept."
            )
        with self._lock:
            self._pause_until = max(self._pause_until, time.monotonic() + asked)
        return 0.0

    def _hidden(self, text: str) -> str:
        """Servers quote the key in their messages; it is shown to nobody."""
        return text.replace(self._key, "***") if self._key else text


def retry_after(header: str | None) -> float | None:
    """Seconds from now that a Retry-After header names, as a number or as a date; None where it does not."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(moment.tzinfo or UTC)).total_seconds())


def _read(response: httpx2.Response) -> Reply | Failure:
    try:
        content = response.json()
        choice = content["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return Failure("the server's answer is not a chat completion")
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        return Failure("the server's content filter stopped the answer")
    if not isinstance(text, str):
        return Failure("the server's answer has no text")
    usage = content.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    counted = (tokens[0], tokens[1]) if isinstance(tokens[0], int) and isinstance(tokens[1], int) else None
    return Reply(text, counted, reason == "length")


def _message(response: httpx2.Response) -> str:
    """What a server says of an error, in a line."""
    try:
        content = response.json()
    except ValueError:
        content = response.text
    if isinstance(content, dict):
        content = content.get("error", content.get("message", content.get("detail", content)))
    if isinstance(content, dict):
        content = content.get("message", content)
    return " ".join(str(content).split())[:300] or response.reason_phrase
