"""Chinese of sentences that other rooms make; `sentences.py` says what stands in braces."""

from lorafit.studio.words import (
    core_advice,
    core_data,
    core_doctor,
    core_faults,
    core_machine,
    core_plan,
    core_results,
    core_rows,
    core_studio,
)

PARTS = (
    core_doctor,
    core_data,
    core_rows,
    core_plan,
    core_advice,
    core_faults,
    core_machine,
    core_results,
    core_studio,
)
SENTENCES: dict[str, str] = {english: chinese for part in PARTS for english, chinese in part.SENTENCES.items()}
