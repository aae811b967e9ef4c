"""A data file opened: unpacked if it is compressed, its beginning at hand, and how far it has been read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from lorafit.errors import DataError

CHUNK = 1 << 20
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_MARKS = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
_BROKEN = (EOFError, OSError, RuntimeError, lzma.LZMAError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file with rows, or one inside a ZIP archive (`member`). named: whether the user named it (or its archive)."""

    path: Path
    member: str = ""
    named: bool = True

    @property
    def name(self) -> str:
        """As the user sees it in messages: the path, and the place in the archive."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def ending(self) -> str:
        """The ending of its name in small letters, without that of the compression."""
        name = Path(self.member or self.path.name)
        suffix = name.suffix.lower()
        return Path(name.stem).suffix.lower() if suffix in COMPRESSED else suffix

    @property
    def size(self) -> int:
        return self.path.stat().st_size if not self.member else 0


class Opened:
    """The bytes of a file after unpacking. head: the first of them, at most CHUNK."""

    def __init__(self, file: DataFile, raw: BinaryIO, stream: IO[bytes]) -> None:
        self.file, self.name, self._raw, self.stream = file, file.name, raw, stream
        self.head = self._read()

    def chunks(self) -> Iterator[bytes]:
        """All bytes, the head first, in pieces of at most CHUNK."""
        chunk = self.head
        while chunk:
            yield chunk
            chunk = self._read()

    @property
    def is_whole(self) -> bool:
        """Whether the head is the whole file."""
        return len(self.head) < CHUNK

    def place(self) -> int:
        """Bytes of the file on the disk that have been read; 0 within an archive, whose files have no size here."""
        return 0 if self.file.member else self._raw.tell()

    def _read(self) -> bytes:
        parts, missing = [], CHUNK
        while missing and (part := self._read_part(missing)):  # unpackers give less than what they are asked for
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _read_part(self, size: int) -> bytes:
        try:
            return self.stream.read(size)
        except _BROKEN as error:
            raise DataError(
                f"{self.name} cannot be unpacked: {error or 'it ends too early'}.\nIt is damaged: get it again."
            ) from None


@contextmanager
def open_file(file: DataFile) -> Iterator[Opened]:
    """Opens a file for reading. Raises DataError when it cannot be opened or unpacked."""
    try:
        raw = file.path.open("rb")
    except OSError as error:
        raise DataError(f"The data file {file.path} cannot be read: {error.strerror or error}.") from None
    with raw:
        inner = _member(file, raw) if file.member else raw
        yield Opened(file, raw, _unpacked(inner, file.name))


def members(path: Path) -> list[str] | None:
    """The files in a ZIP archive, None where the file is none. Raises DataError for a damaged one."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    except _BROKEN as error:
        raise DataError(f"{path} is a damaged ZIP archive: {error}.\nGet it again.") from None


def _member(file: DataFile, raw: BinaryIO) -> IO[bytes]:
    try:
        return zipfile.ZipFile(raw).open(file.member)
    except _BROKEN as error:
        raise DataError(f"{file.name} cannot be unpacked: {error}.") from None


def _unpacked(stream: IO[bytes], name: str) -> IO[bytes]:
    mark = stream.read(6)
    stream.seek(0)
    kind = next((kind for begin, kind in _MARKS if mark.startswith(begin)), None)
    if kind == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if kind == "bzip2":
        return bz2.BZ2File(stream)
    if kind == "xz":
        return lzma.LZMAFile(stream)
    if kind == "zstd":
        return _zstd(stream, name)
    return stream


def _zstd(stream: IO[bytes], name: str) -> IO[bytes]:
    try:
        import zstandard  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError:
        raise DataError(
            f"{name} is packed with Zstandard, for which the package zstandard is missing.\n"
            "Run: pip install zstandard (or unpack the file with `zstd -d`)."
        ) from None

    class Reader(io.RawIOBase):
        """zstandard's own reader names its errors as a class of its own, which is turned into an OSError here."""

        def __init__(self) -> None:
            self._stream: Any = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            try:
                return bytes(self._stream.read(size))
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from None

    return cast(IO[bytes], Reader())
