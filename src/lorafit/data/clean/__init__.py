"""Cleaning with a receipt: rules between convert and split, each with its own switch. docs/cleaning.md names them."""

from lorafit.data.clean.receipt import Receipt, RuleReceipt
from lorafit.data.clean.settings import CleanSettings
from lorafit.data.clean.stage import Cleaned, Cleaner, clean

__all__ = ["CleanSettings", "Cleaned", "Cleaner", "Receipt", "RuleReceipt", "clean"]
