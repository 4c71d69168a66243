"""The backing store: how fast it is, and when the pages of a program have arrived."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from math import ceil

import numpy as np

from hw.layout import PAGE_HEAD_WORDS, PAGE_MASK_WORDS, PAGE_PACKED, PAGE_WORD_BITS
from models.graph import ModelError

TICKS = 256     # of a cycle, in which the simulator counts
FOREVER = 1 << 60   # cycles


@dataclass(frozen=True, kw_only=True)
class Store:
    """A memory that delivers a stream of words.

    Parameters
    ----------
    rate : Fraction
        Bytes per cycle, 1/256 .. 4: half a byte is quad SPI flash at the core's clock.
    latency : int
        Cycles from the start of a program to the first word, 0 .. 2^20.
    """

    rate: Fraction = Fraction(1, 2)
    latency: int = 32

    def __post_init__(self):
        if not Fraction(1, 256) <= self.rate <= 4:
            raise ModelError(f"the backing store's rate must be in 1/256..4 bytes per cycle, not "
                             f"{self.rate}; quad SPI flash has 0.5")
        if not 0 <= self.latency <= 1 << 20:
            raise ModelError(f"the backing store's latency must be in 0..{1 << 20} cycles, not "
                             f"{self.latency}; take a smaller one")

    @classmethod
    def parse(cls, rate: str, latency: str) -> "Store":
        """A store from text.

        Raises
        ------
        ModelError
            One of them is no number or out of range.
        """
        if not re.fullmatch(r"\d{1,4}([./]\d{1,4})?", rate) or re.fullmatch(r".*/0+", rate):
            raise ModelError(f"--store-rate must be bytes per cycle such as 0.5 or 1/2, not "
                             f"{rate!r}; quad SPI flash has 0.5")
        if not re.fullmatch(r"\d{1,9}", latency):
            raise ModelError(f"--store-latency must be a number of cycles, not {latency!r}; "
                             f"for example 32")
        return cls(rate=Fraction(rate), latency=int(latency))

    @property
    def interval(self) -> int:
        """From one word to the next, in TICKS."""
        return int(4 * TICKS / self.rate)


class Kind(IntEnum):
    """What the pager does with a page, step by step."""

    ZERO = 0      # writes a word of zero
    WORD = 1      # takes a word and writes it
    MASK = 2      # takes a mask
    END = 3       # no more


@dataclass(frozen=True, kw_only=True)
class Content:
    """A page of a stream.

    Parameters
    ----------
    after : int
        The first descriptor that may run.
    steps : numpy.ndarray of Kind
        Without END.
    """

    after: int
    steps: np.ndarray

    @property
    def words(self) -> int:
        """That the pager writes."""
        return int((self.steps != Kind.MASK).sum())

    @property
    def packed(self) -> bool:
        """Its first word is a mask."""
        return bool(self.steps[0] == Kind.MASK)

    def runs(self) -> list[tuple[int, int]]:
        """Of each step that takes a word, and END: how many words of zero precede it, its kind."""
        steps = np.append(self.steps, Kind.END)
        taking = np.flatnonzero(steps)
        zeros = np.diff(taking, prepend=-1) - 1
        return list(zip(zeros.tolist(), steps[taking].tolist(), strict=True))


class Arrivals:
    """Follows the pager through a program's pages.

    Parameters
    ----------
    store : Store
    pages : sequence of Content
    """

    def __init__(self, store: Store, pages: Sequence[Content]):
        self._interval, self._pages = store.interval, pages
        self._due = store.latency * TICKS      # when the next word is offered, in TICKS
        self._times: list[int] = []
        self._ready = 0                        # when the pager is done with the last page
        self._left: list[tuple[int, int]] = [] # runs of the page, the last one first
        self._last = 0.0                       # when its last step so far was

    def until(self, count: int, begin: Sequence[int]) -> int:
        """Cycle in which so many pages have arrived; ``begin``: when each descriptor began."""
        self._advance(begin, count)
        return self._times[count - 1]

    def during(self, begin: Sequence[int], end: int, pitch: float) -> int:
        """Words written until ``end``, if each needs a cycle in which no lane reads weights.

        ``begin``: as above, of those so far; ``pitch``: cycles from one such cycle to the next.
        """
        return self._advance(begin, len(self._pages), end, pitch)

    def _advance(self, begin, count, end=FOREVER, pitch=1.0):
        """Write pages until there are so many, or their words until a cycle; how many of these."""
        written = 0
        while len(self._times) < count:
            page = self._pages[len(self._times)]
            if not self._left:
                if page.after >= len(begin):
                    break
                self._take(self._ready)            # which descriptor must run
                self._take(begin[page.after] + 2)
                self._last, self._left = self._take(0), page.runs()[::-1]
            if end == FOREVER and not page.packed:     # at once, but for the last word
                self._due += len(self._left[2:]) * self._interval
                del self._left[2:]
            while self._left:
                zeros, kind = self._left.pop()
                some = int(min(zeros, (end - self._last) // pitch))
                self._last += some * pitch
                ready = self._last + (1 if kind == Kind.MASK else pitch)
                offered = 0 if kind == Kind.END else max(ready, self._due // TICKS)
                written += some
                if some < zeros or offered > end:
                    self._left.append((zeros - some, kind))
                    return written
                if kind != Kind.END:
                    self._last = self._take(ceil(ready))
                    written += kind == Kind.WORD
            self._ready = ceil(self._last) + 1
            self._times.append(ceil(self._last))
        return written

    def _take(self, ready):
        """The cycle in which the pager takes a word that it is ready for from a cycle on."""
        taken = max(-(-self._due // TICKS), ready)
        self._due = max(self._due + self._interval, (taken + 1) * TICKS)
        return taken


def contents(stream: bytes) -> list[Content]:
    """The pages of a stream."""
    words, found, position = np.frombuffer(stream, "<u4"), [], 0
    while position < len(words):
        after, count = words[position:position + 2].tolist()
        position += PAGE_HEAD_WORDS
        left = count & (1 << PAGE_WORD_BITS) - 1
        steps = [] if count >> PAGE_PACKED else [np.full(left, Kind.WORD, np.uint8)]
        position += sum(map(len, steps))
        while count >> PAGE_PACKED and left:
            size = (left - 1) % PAGE_MASK_WORDS + 1
            mask = np.unpackbits(words[position:position + 1].view(np.uint8), bitorder="little")
            steps += [np.array([Kind.MASK], np.uint8), mask[:size]]
            position += 1 + int(mask[:size].sum())
            left -= size
        if steps and len(steps[0]):
            found.append(Content(after=after, steps=np.concatenate(steps)))
    return found
