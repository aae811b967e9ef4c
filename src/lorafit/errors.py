"""Every error that lorafit raises on purpose.

    LorafitError            exit code 2 unless said otherwise
    ├── RecipeError         a recipe, an override or a flag
    ├── DataError           a data file, a row, a template
    ├── ModelError          a base model: name, files, format, device
    ├── AdapterError        targets, ranks, saved adapters
    ├── TrainingError       optimizer, schedule, a step that cannot go on
    ├── RunError            the run folder: exists already, missing, full disk
    ├── ExportError         merging and writing a model
    ├── PlanError           a plan that cannot be made: its device, its model, its settings
    ├── DoesNotFit          more memory is needed than there is (exit code 3)
    └── SelfCheckFailed     a check that lorafit makes of itself (exit code 4)

A message says what was asked, what was found, and how to mend it. To add an error, subclass the stage it belongs to.
"""


class LorafitError(Exception):
    """Something that the user can mend. The command line prints the message without a traceback."""

    exit_code = 2


class RecipeError(LorafitError):
    """A recipe, an override or a flag is wrong; all faults are in one message, and singly in `faults`."""

    def __init__(self, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class DataError(LorafitError, ValueError):
    """A data file, a row or a chat template is wrong; rows are named by file and number."""


class ModelError(LorafitError, ValueError):
    """A base model cannot be found, read or used."""


class AdapterError(LorafitError, ValueError):
    """An adapter does not fit the base: no target matched, a rank is too large, a saved adapter is of another base."""


class TrainingError(LorafitError, RuntimeError):
    """Training cannot start or cannot go on."""


class RunError(LorafitError, OSError):
    """The run folder cannot be created, written or read."""

    def __str__(self) -> str:
        # OSError would print an errno pair where there are two arguments.
        return str(self.args[0]) if self.args else ""


class ExportError(LorafitError, RuntimeError):
    """A model cannot be merged or written."""


class PlanError(LorafitError, ValueError):
    """A plan cannot be made: the device, the model or a setting is not understood."""


class DoesNotFit(LorafitError, MemoryError):
    """The device has not enough memory for what was asked."""

    exit_code = 3


class SelfCheckFailed(LorafitError, RuntimeError):
    """What lorafit made does not agree with its reference. This is never the user's fault: please report it."""

    exit_code = 4
