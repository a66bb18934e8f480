"""What people see: colours where a terminal is, rupees in Indian grouping, columns, a line that is drawn anew."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from bittrade_client.money import to_btc

RED, GREEN, DIM, BOLD = "31", "32", "2", "1"


class Screen:
    """Writes to a terminal or a file; colours and the live line only to a terminal, and not with NO_COLOR."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.is_terminal = self.out.isatty() and os.environ.get("TERM") != "dumb"
        self._has_colour = self.is_terminal and not os.environ.get("NO_COLOR")
        self._live = ""

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._has_colour else text

    def line(self, text: str = "") -> None:
        """Write a line, above the live one if there is one."""
        if self._live:
            self.out.write(f"\r\x1b[K{text}\n{self._live}")
        else:
            self.out.write(f"{text}\n")
        self.out.flush()

    def live(self, text: str) -> None:
        """Draw the last line anew; where no terminal is, write a line."""
        if not self.is_terminal:
            self.line(text)
            return
        self._live = text
        self.out.write(f"\r\x1b[K{text}")
        self.out.flush()

    def end_live(self) -> None:
        if self._live:
            self.out.write("\n")
            self._live = ""

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write columns; figures (what begins with a sign, a digit or ₹) stand to the right."""
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        self.line(
            self.paint(
                "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)), BOLD
            ).rstrip()
        )
        for row in rows:
            cells = (
                cell.rjust(width) if cell[:1] in "+-₹₿0123456789" and cell else cell.ljust(width)
                for cell, width in zip(row, widths, strict=True)
            )
            self.line("  ".join(cells).rstrip())


def rupees(amount: int | None) -> str:
    """₹12,34,567"""
    if amount is None:
        return ""
    digits = str(abs(amount))
    head, tail = digits[:-3], digits[-3:]
    groups = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return f"{'-' if amount < 0 else ''}₹{','.join([*groups, tail])}"


def bitcoin(satoshis: int | None) -> str:
    """₿0.00024420"""
    return "" if satoshis is None else f"₿{to_btc(satoshis)}".replace("₿-", "-₿")


def clock(moment: datetime | None) -> str:
    """Return a time in the zone of this machine, to the second."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
