"""What the advice rests on: each source with what exactly it says. docs/advice.md tells how each was checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """name, where: as they are cited; says: what of it the advice takes."""

    name: str
    where: str
    says: str

    @property
    def cited(self) -> str:
        """Name and place: `QLoRA, arXiv 2305.14314`."""
        return f"{self.name}, {self.where}" if self.where else self.name


DATA = Source("your data", "", "counted as `lorafit data` counts")
CONFIG = Source("its config.json", "", "the base as it will be built, counted without weights")
PLAN = Source("the plan", "", "the training step simulated for the device, as `lorafit plan` does (docs/planning.md)")
CONVENTION = Source("convention", "", "a habit of the field: no paper and no measurement of ours stands behind it")

LORA = Source(
    "LoRA",
    "arXiv 2106.09685, table 18",
    "GPT-2 Medium on E2E: the held-out loss falls from 1.23 at rank 1 to 1.16 at rank 16 and no further up to 1,024; "
    "BLEU is best at rank 4",
)
QLORA_RATE = Source(
    "QLoRA",
    "arXiv 2305.14314, table 9",
    "learning rate 2e-4 up to 13B and 1e-4 for 33B and 65B; dropout 0.1 up to 13B and 0.05 above; 16 examples an "
    "update; the learning rate constant",
)
QLORA_LAYERS = Source(
    "QLoRA",
    "arXiv 2305.14314, section 4",
    "4-bit bases matched 16-bit ones once adapters were on every linear layer; the rank then hardly mattered; with a "
    "given memory, more parameters in fewer bits answered better (MMLU, Elo)",
)
RSLORA = Source(
    "rsLoRA",
    "arXiv 2312.03732",
    "dividing by the rank with alpha fixed slows the learning of higher ranks; so alpha has to grow with the rank",
)
FORGETS = Source(
    "LoRA Learns Less and Forgets Less",
    "arXiv 2405.09673",
    "7B on code and mathematics, 100,000 instructions or 20 billion tokens of text: usual low ranks learn "
    "substantially less than full fine-tuning and forget less; LoRA keeps the base better than dropout or weight decay",
)
LIMA = Source(
    "LIMA",
    "arXiv 2305.11206",
    "65B, all weights, 1,000 chosen rows, 15 epochs; answers still became better while the held-out loss rose",
)
REGRET = Source(
    "LoRA Without Regret",
    "Thinking Machines, 2025",
    "LoRA equals full fine-tuning on small and medium data if it is on every layer, at about 10 times its learning "
    "rate; large batches cost LoRA more",
)
CAPACITY = Source(
    "capacity",
    "arXiv 2404.05405; LoRA Without Regret",
    "a weight holds about two bits, a trained token brings about one: a rough count, as the doctor makes it "
    "(docs/doctor/rank-too-small.md)",
)
OUR_RATES = Source("our runs", "LOG.md", "4e-3 taught a base of 3M parameters its task, 5e-3 one of 260K")
OUR_BANDS = Source(
    "the doctor",
    "docs/doctor/learning-rate-too-high.md",
    "from 100 million parameters on 2e-5 to 5e-3 is usual; between its bounds a guess of ours, not a measurement",
)
OUR_DROPOUT = Source("our measurement", "docs/performance.md", "dropout costs 13 % of the time of an update")
DOCTOR_UPDATES = Source(
    "the doctor",
    "docs/doctor/too-few-updates.md",
    "fewer than 40 updates hardly change a model; 60 are aimed at",
)
