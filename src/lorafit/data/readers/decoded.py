"""Bytes to text as they come: the encoding is seen from the first bytes that show it, and nothing is held."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from lorafit.data.encoding import decode
from lorafit.errors import DataError

# Bytes that are no part of a longer character in any encoding that is known here.
_BORDERS = b'\n ",'
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


class Decoder:
    """Text of the chunks of a file. encoding: as it was found, "utf-8" as long as all is ASCII."""

    def __init__(self, name: str) -> None:
        self.name, self.encoding, self._line = name, "utf-8", 1
        self._decoder: codecs.IncrementalDecoder | None = None

    def decoded(self, chunks: Iterable[bytes], is_whole: bool = False) -> Iterator[str]:
        """The chunks as text, without a byte order mark. is_whole: the first chunk is all there is.

        Raises DataError, naming the line, for bytes that are no text in the encoding.
        """
        for chunk in chunks:
            if self._decoder is None and chunk.isascii() and b"\0" not in chunk:
                text = chunk.decode("ascii")
            else:
                if self._decoder is None:
                    self.encoding = self._encoding(chunk, is_whole)
                    self._decoder = codecs.getincrementaldecoder(self.encoding)()
                text = self._decode(chunk)
            yield text
            self._line += text.count("\n")
        if self._decoder is not None and (text := self._decode(b"", final=True)):
            yield text

    def _encoding(self, chunk: bytes, is_whole: bool) -> str:
        if is_whole:
            return decode(chunk, self.name)[1]
        if chunk.startswith(_WIDE_MARKS) or b"\0" in chunk:
            even = chunk[: len(chunk) // 4 * 4]
            try:
                return decode(even, self.name)[1]
            except DataError:
                return decode(even[:-2], self.name)[1]  # the other half of a character of UTF-16 is in the next chunk
        border = max(chunk.rfind(byte) for byte in _BORDERS) + 1
        return decode(chunk[:border] or chunk, self.name)[1]

    def _decode(self, chunk: bytes, final: bool = False) -> str:
        assert self._decoder is not None
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            line = self._line + error.object[: error.start].count(b"\n")
            found = f"{error.object[error.start]:#04x}" if error.start < len(error.object) else "the end"
            raise DataError(
                f"{self.name}, line {line}: this is not {self.encoding}, as the rest of the file is ({found}).\n"
                "Mend or remove these bytes, or save the file again as UTF-8."
            ) from None


def lines(chunks: Iterable[str]) -> Iterator[str]:
    """The lines of a text without their ends. Only \\n and \\r\\n end one: U+2028 may stand in a row of JSON."""
    pieces: list[str] = []
    for chunk in chunks:
        if "\n" not in chunk:
            pieces.append(chunk)
            continue
        found = ("".join(pieces) + chunk).split("\n")
        pieces = [found.pop()]
        yield from found
    if last := "".join(pieces):
        yield last
