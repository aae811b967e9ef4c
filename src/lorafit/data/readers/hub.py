"""Data sets of Hugging Face and ModelScope, streamed through their own libraries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lorafit.data.readers.columnar import dense
from lorafit.errors import DataError
from lorafit.records import Record, Source

_ID = re.compile(
    r"(?:(?P<hub>hf|huggingface|modelscope|ms):)?(?P<name>[\w.-]+/[\w.-]+|(?<=:)[\w.-]+)"
    r"(?::(?P<config>[\w.+-]+))?(?:@(?P<revision>[\w./-]+))?"
)


@dataclass(frozen=True, slots=True)
class HubSet:
    """A data set of a hub. Written `hf:OWNER/NAME:CONFIG@REVISION[SPLIT]`; all but the name may be left out."""

    hub: Literal["hf", "modelscope"]
    id: str
    config: str | None = None
    revision: str | None = None
    split: str | None = None

    @property
    def name(self) -> str:
        config = f":{self.config}" if self.config else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.hub}:{self.id}{config}{revision}{f'[{self.split}]' if self.split else ''}"


def parse_hub_set(name: str, split: str | None = None) -> HubSet | None:
    """The data set that a name means: `hf:…`, `modelscope:…`, or `OWNER/NAME` alone (Hugging Face); else None."""
    found = _ID.fullmatch(name)
    if not found:
        return None
    hub: Literal["hf", "modelscope"] = "modelscope" if found["hub"] in ("modelscope", "ms") else "hf"
    return HubSet(hub, found["name"], found["config"], found["revision"], split)


def read_hub_set(wanted: HubSet) -> Iterator[Record]:
    """The rows of a data set, as they come from the hub. Without a split, the training split or the only one is read.

    Raises DataError when the library is missing, or when it cannot give the data set.
    """
    rows = _open(wanted)
    number = 0
    try:
        for number, fields in enumerate(rows, start=1):
            yield Record(dense(fields), Source(wanted.name, number))
    except Exception as error:
        raise _failed(wanted, error, f"after row {number}") from error


def _open(wanted: HubSet) -> Any:
    load = _hugging_face if wanted.hub == "hf" else _modelscope
    try:
        opened = load(wanted)
    except DataError:
        raise
    except Exception as error:
        raise _failed(wanted, error) from error
    if not isinstance(opened, Mapping):
        return opened
    splits = list(opened)
    if "train" not in splits and len(splits) != 1:
        raise DataError(
            f"{wanted.name} has no split `train`, but {', '.join(splits)}.\n"
            f"Name one, as in {wanted.name}[{splits[0] if splits else 'SPLIT'}]."
        )
    return opened["train" if "train" in splits else splits[0]]


def _hugging_face(wanted: HubSet) -> Any:
    try:
        import datasets  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        raise _not_installed(wanted, "datasets", error) from None
    return datasets.load_dataset(wanted.id, wanted.config, revision=wanted.revision, split=wanted.split, streaming=True)


def _modelscope(wanted: HubSet) -> Any:
    try:
        from modelscope.msdatasets import MsDataset
    except ModuleNotFoundError as error:
        raise _not_installed(wanted, "modelscope", error) from None
    asked = {"subset_name": wanted.config, "version": wanted.revision, "split": wanted.split}
    return MsDataset.load(
        wanted.id, use_streaming=True, **{key: value for key, value in asked.items() if value is not None}
    )


def _not_installed(wanted: HubSet, extra: str, error: ModuleNotFoundError) -> DataError:
    return DataError(
        f"There is no file {wanted.id}, so {wanted.name} is a data set of a hub; "
        f"for that the package {error.name} is missing.\nRun: pip install 'lorafit[{extra}]'"
    )


def _failed(wanted: HubSet, error: Exception, where: str = "") -> DataError:
    hub = "Hugging Face" if wanted.hub == "hf" else "ModelScope"
    told = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    place = f", {where}" if where else ""
    return DataError(
        f"The data set {wanted.name}{place} cannot be read from {hub}: {told}\n"
        f"Is it spelt so, and are you online? Without a network, download it elsewhere and name its folder."
    )
