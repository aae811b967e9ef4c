"""The adapters in memory: loaded when a request needs them, given up when others need the place, the idle ones first.

Only the engine's thread calls this.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter, OrderedDict
from typing import Any

from peft import PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lorafit.errors import AdapterError
from lorafit.infer.engine import Engine
from lorafit.serve.adapter import PREFIX, WEIGHTS, Adapter


class Shelf:
    """At most `limit` adapters on the engine's model, a plain one at first."""

    def __init__(self, engine: Engine, limit: int) -> None:
        self.engine, self.limit = engine, limit
        self._plain = engine.adapters.model
        self.loads = self.evictions = 0
        self.load_seconds = 0.0
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()  # in the order of their last use
        self._uses: Counter[str] = Counter()
        self._model: Any = None  # PEFT's, as soon as there is an adapter

    def __len__(self) -> int:
        return len(self._loaded)

    def take(self, adapter: Adapter) -> bool:
        """Have an adapter ready for a request; False when all places are those of running requests.

        Raises AdapterError when its files are not what they were.
        """
        if adapter.key not in self._loaded:
            if len(self._loaded) >= self.limit and not self._evict():
                return False
            self._load(adapter)
        self._loaded.move_to_end(adapter.key)
        self._uses[adapter.key] += 1
        return True

    def give_back(self, adapter: Adapter) -> None:
        """A request with this adapter has ended."""
        self._uses[adapter.key] -= 1
        self.drop_retired(adapter)

    def drop_retired(self, adapter: Adapter) -> None:
        """Unload an adapter that was removed or replaced, once nobody uses it."""
        if adapter.retired and not self._uses[adapter.key] and adapter.key in self._loaded:
            self._unload(adapter.key)

    def clear(self) -> Any:
        """Take everything off the model; returns it, plain. What is asked for again is loaded again."""
        if self._model is not None:
            self._model.base_model.unload()
            vars(self._plain).pop("peft_config", None)
            self._model = None
        self._loaded.clear()
        self._uses.clear()
        return self._plain

    def _evict(self) -> bool:
        idle = next((key for key in self._loaded if not self._uses[key]), None)
        if idle is None:
            return False
        self._unload(idle)
        self.evictions += 1
        return True

    def _load(self, adapter: Adapter) -> None:
        began = time.perf_counter()
        if self._model is None:
            self._model = self._wrapped(adapter)
            self.engine.adapters.model = self._model
        put_on(self._model, adapter)
        self._loaded[adapter.key] = adapter
        self.loads += 1
        self.load_seconds += time.perf_counter() - began

    def _wrapped(self, adapter: Adapter) -> Any:
        """PEFT's model with the layers of the first adapter, without its weights."""
        try:
            return PeftModel(self._plain, adapter.config, adapter.key, low_cpu_mem_usage=True)
        except (ValueError, KeyError, RuntimeError) as error:
            vars(self._plain).pop("peft_config", None)
            raise AdapterError(f"The adapter in {adapter.folder} cannot be loaded: {error}") from error

    def _unload(self, key: str) -> None:
        adapter = self._loaded.pop(key)
        del self._uses[key]
        _delete(self._model, key)
        # Loaded again before the engine's next step, it would seem to the engine to have changed under its requests.
        adapter.renew()


def put_on(model: Any, adapter: Adapter) -> None:
    """Put an adapter onto a PEFT model, under its key. Raises AdapterError for files that do not fit their config."""
    try:
        state = load_file(adapter.folder / WEIGHTS, device=str(next(model.parameters()).device))
        if adapter.key in model.peft_config or not _insert(model, adapter, state):
            _insert_by_peft(model, adapter, state)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        if adapter.key in model.peft_config:
            _delete(model, adapter.key)
        if isinstance(error, AdapterError):
            raise
        reason = " ".join(str(error).split())
        raise AdapterError(f"The adapter in {adapter.folder} cannot be loaded: {reason}") from error


def _insert_by_peft(model: Any, adapter: Adapter, state: dict[str, Tensor]) -> None:
    """PEFT's own way: for the first adapter, for layers that had none, for all that is not plain LoRA."""
    if adapter.key not in model.peft_config:
        model.add_adapter(adapter.key, adapter.config, low_cpu_mem_usage=True)
    unexpected = set_peft_model_state_dict(model, state, adapter.key, low_cpu_mem_usage=True).unexpected_keys
    missing = [name for name, value in model.named_parameters() if value.is_meta and f".{adapter.key}" in name]
    if unexpected or missing:
        odd = [*unexpected, *missing]
        raise AdapterError(f"{adapter.folder} does not fit its config: {len(odd)} weights, such as {odd[0]}.")
    model.eval().requires_grad_(False)


def _delete(model: Any, key: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that another one becomes the active one
        model.delete_adapter(key)


def _insert(model: Any, adapter: Adapter, state: dict[str, Tensor]) -> bool:
    """Put a plain LoRA onto layers that have had one before; False, and nothing done, where it is anything else.

    This is what PEFT's add_adapter comes to, without its walk through the whole model for every layer: about a tenth
    of its time.
    """
    config = adapter.config
    odd = (
        "use_dora",
        "lora_bias",
        "modules_to_save",
        "trainable_token_indices",
        "target_parameters",
        "layer_replication",
    )
    if any(getattr(config, name, None) for name in odd) or config.is_prompt_learning:
        return False
    paths = sorted({key.partition(".lora_")[0] for key in state})
    layers = dict(model.base_model.model.named_modules())  # get_base_model wants an active adapter
    chosen = {path: layers.get(path.removeprefix(PREFIX)) for path in paths}
    factors = {f"{path}.lora_{part}.weight" for path in paths for part in "AB"}
    if factors != set(state) or not all(_takes_plain(layer) for layer in chosen.values()):
        return False
    for path, layer in chosen.items():
        _insert_pair(layer, adapter, path.removeprefix(PREFIX), *(state[f"{path}.lora_{part}.weight"] for part in "AB"))
    model.peft_config[adapter.key] = config
    return True


def _takes_plain(layer: Any) -> bool:
    return (
        isinstance(layer, LoraLayer)
        and not isinstance(layer, ParamWrapper)
        and isinstance(layer.get_base_layer(), (nn.Linear, Conv1D))
    )


def _insert_pair(layer: Any, adapter: Adapter, path: str, a_rI: Tensor, b_Or: Tensor) -> None:
    key, config, rank = adapter.key, adapter.config, a_rI.shape[0]
    alphas = config.alpha_pattern or {}
    alpha = alphas.get(get_pattern_key(alphas.keys(), path), config.lora_alpha)
    layer.lora_A[key], layer.lora_B[key] = _linear(a_rI), _linear(b_Or)
    layer.lora_dropout[key] = nn.Identity()
    layer.r[key], layer.lora_alpha[key] = rank, alpha
    layer.scaling[key] = alpha / (math.sqrt(rank) if config.use_rslora else rank)
    layer.use_rslora[key], layer.use_dora[key], layer.lora_bias[key] = config.use_rslora, False, False


def _linear(weight_OI: Tensor) -> nn.Linear:
    # Made small: what it begins with is thrown away.
    made = nn.Linear(1, 1, bias=False)
    made.weight = nn.Parameter(weight_OI.float(), requires_grad=False)
    made.out_features, made.in_features = weight_OI.shape
    return made
