"""The graph that is traced once answers like the model for any rows, tokens and past."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from lorafit.errors import ExportError
from lorafit.export import onnx_model
from lorafit.export.onnx_model import FILE, require_onnx, write_onnx

pytestmark = pytest.mark.slow  # torch's exporter alone takes ten seconds
for needed in onnx_model.NEEDED:
    pytest.importorskip(needed, reason="ONNX export needs the extra `onnx`")


@pytest.fixture(scope="module")
def folder(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("onnx")
    write_onnx(llama, made, "float32")
    return made


def asked(folder: Path, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Any = None) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / FILE))
    named = [one for one in session.get_inputs() if one.name.startswith("past")]
    past = past or [np.zeros((len(ids), one.shape[1], 0, one.shape[3]), dtype=np.float32) for one in named]
    inputs = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "position_ids": positions.numpy()}
    return session.run(None, inputs | {one.name: value for one, value in zip(named, past, strict=True)})


@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (3, 11)])
def test_padded_rows_of_any_length(llama: Path, folder: Path, rows: int, tokens: int) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    ids = torch.randint(0, 512, (rows, tokens), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, : tokens // 2] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    wanted = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits.detach().numpy()
    found = asked(folder, ids, mask, positions)[0]
    assert np.abs(found - wanted)[mask.numpy() > 0].max() < 1e-4


def test_what_is_kept_goes_on(llama: Path, folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    ids = torch.randint(0, 512, (2, 9), generator=torch.Generator().manual_seed(2))
    wanted = model(input_ids=ids).logits.detach().numpy()
    past, found = None, []
    for start, end in ((0, 4), (4, 5), (5, 9)):
        positions = torch.arange(start, end).expand(2, -1)
        logits, *past = asked(folder, ids[:, start:end], torch.ones(2, end, dtype=torch.long), positions, past)
        found.append(logits)
    assert np.abs(np.concatenate(found, axis=1) - wanted).max() < 1e-4


def test_eight_bits_are_near_and_smaller(folder: Path, tmp_path: Path) -> None:
    onnx_model._quantize(folder / FILE, tmp_path / FILE)
    ids = torch.arange(6)[None]
    exact, rounded = (asked(one, ids, torch.ones_like(ids), ids)[0] for one in (folder, tmp_path))
    assert 1e-4 < np.abs(exact - rounded).max() < 0.3 * np.abs(exact).max()
    assert (tmp_path / f"{FILE}.data").stat().st_size < 0.7 * (folder / f"{FILE}.data").stat().st_size


def test_a_package_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(ExportError, match=r"needs no_such_package: pip install 'lorafit\[onnx\]'"):
        require_onnx()
