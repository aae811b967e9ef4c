"""The expected time: worked by hand, and where nothing can be said."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig

from lorafit.adapters.settings import AdapterSettings
from lorafit.plan.clock import SPREAD, Band, band, update_band, with_usual_speed
from lorafit.plan.devices import Device, find_device
from lorafit.plan.fit import assumed_batch
from lorafit.plan.simulate import Job, simulate
from lorafit.plan.tracker import Operation
from lorafit.records import Fit

CARD = Device("a card", "cuda", 24 << 30, 1e12, 1e14, True, 0, "made up")
HOST = replace(CARD, name="a processor", kind="cpu", bandwidth=2e10, matrix_rate=1e12)


def seconds(operations: list[Operation], device: Device = CARD, dtype: torch.dtype = torch.bfloat16) -> Band:
    found = band(operations, device, dtype)
    assert found is not None
    return found


def test_an_operation_takes_the_longest_of_arithmetic_bytes_and_launch() -> None:
    cases = [
        (Operation("forward", "mm", 7.2e13, 8.0), 1.0),  # 0.72 of the rate
        (Operation("forward", "mul", 8.0, 8e11), 1.0),  # 0.80 of the bandwidth
        (Operation("forward", "mul", 0.0, 8.0, count=1000), 6e-3),  # the host takes longer than 2 us a kernel
    ]
    for operation, middle in cases:
        found = seconds([operation])
        assert found.low == pytest.approx(middle / SPREAD) and found.high == pytest.approx(middle * SPREAD)
        assert found.middle == pytest.approx(middle)


def test_the_host_is_beside_a_card_and_in_the_way_of_a_processor() -> None:
    product = Operation("forward", "mm", 7.2e13, 8.0)
    issued = [replace(product, flops=7.2e7, count=10**6)]  # a second of arithmetic, six to issue
    assert seconds(issued).middle == pytest.approx(6.0)
    assert band([product], CARD, host_operations=10**6) == seconds(issued)
    alone, with_small = seconds([product], HOST), seconds([product, Operation("forward", "add", 0, 0, 10**6)], HOST)
    assert with_small.low > alone.low + 1 and with_small.high > alone.high + 1


def test_what_is_known_to_be_undercosted_widens_the_slow_side_only() -> None:
    plain, dequantising = (seconds([Operation("forward", name, 0.0, 8e11)]) for name in ("mul", "dequantize_4bit"))
    assert dequantising.low == plain.low and dequantising.high > 2 * plain.high
    product, attention = (seconds([Operation("forward", name, 1e14, 1.0)]) for name in ("mm", "_flash_attention"))
    assert attention.low == product.low and attention.high == pytest.approx(2 * product.high)


def test_float32_is_outside_the_tensor_cores() -> None:
    product = [Operation("forward", "mm", 1e14, 1.0)]
    for name, slower in (("rtx4090", 2), ("a100 80gb", 16), ("v100 16gb pcie", 8), ("l40s", 4), ("l40", 2), ("l4", 4)):
        card = find_device(name)
        half, whole = seconds(product, card, torch.float16), seconds(product, card, torch.float32)
        assert whole.low == pytest.approx(slower * half.low), name
        # bfloat16 without its own units is made in float32
        assert seconds(product, card) == (half if card.bfloat16 else whole), name
    unknown = seconds(product, CARD, torch.float32)
    assert unknown.low == pytest.approx(2 * seconds(product).low) and unknown.high > 10 * unknown.low
    mac = find_device("m3 max 64gb")
    assert seconds(product, mac, torch.float32) == seconds(product, mac, torch.float16)


def test_nothing_is_said_where_a_speed_or_the_arithmetic_is_unknown() -> None:
    product = Operation("forward", "mm", 1e14, 1.0)
    assert band([product], find_device("24GB")) is None
    assert band([product], replace(CARD, bandwidth=None)) is None
    assert band([product], HOST, torch.float32) is None, "measured in bfloat16"
    assert band([product], replace(HOST, bfloat16=False), torch.float32) is not None
    eight_bits = Operation("forward", "int8_mixed_scaled_mm", 0.0, 1.0)
    assert band([product, eight_bits], CARD) is None
    assert band([product, replace(eight_bits, flops=1e14)], CARD) is not None


def test_usual_speeds_are_for_the_unknown_only() -> None:
    assert with_usual_speed(CARD) == CARD
    for text in ("24GB", "cpu 16GB"):
        usual = with_usual_speed(find_device(text))
        assert usual.bandwidth and usual.matrix_rate and usual.memory_bytes == find_device(text).memory_bytes


def job(recompute: str = "none", method: str = "lora", optimizer: str = "adamw") -> Job:
    config = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=300
    )
    batch = assumed_batch(2, 64, 64)
    adapter = AdapterSettings(method=method, rank=4)
    return Job(config, "cuda", torch.bfloat16, "none", True, adapter, optimizer, Fit(64, recompute), (batch, batch))


def test_rows_grow_with_the_update_and_the_optimizer_does_not() -> None:
    trace, of = simulate(job()), job()
    one, two, three = (update_band(trace, of, CARD, tokens) for tokens in (128, 256, 384))
    assert one and two and three
    assert three.low - two.low == pytest.approx(two.low - one.low)
    assert one.low > two.low - one.low > 0, "what is done once is in the first"


def test_weights_that_are_trained_and_activations_on_the_host_take_time() -> None:
    def of(job: Job, device: Device) -> Band:
        found = update_band(simulate(job), job, device, 128)
        assert found is not None
        return found

    # so slow that bytes alone count
    slow = replace(CARD, bandwidth=1e4)
    full, eighths = of(job(method="none"), slow), of(job(method="none", optimizer="adamw-8bit"), slow)
    trained = simulate(job(method="none")).trained
    assert full.low - eighths.low == pytest.approx(trained * 12 / 1e4)
    assert of(job("offload"), CARD).low > of(job("layers"), CARD).low
