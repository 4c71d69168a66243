"""The backing store: how fast it is, and when the pages of a program have arrived."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf

from hw.layout import PAGE_HEAD_WORDS, PAGE_WORD_BITS, PAGE_ZEROS
from models.graph import ModelError

TICKS = 256     # of a cycle, in which the simulator counts


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


class Arrivals:
    """Follows the pager through a program's pages.

    Parameters
    ----------
    store : Store
    pages : sequence of (int, int, bool)
        As `page_sizes` returns them.
    """

    def __init__(self, store: Store, pages: Sequence[tuple[int, int, bool]]):
        self._store, self._pages = store, pages
        self._due = store.latency * TICKS      # when the next word is offered, in TICKS
        self._times: list[int] = []
        self._ready = 0                        # when the pager is done with the last page
        self._left, self._last = 0, 0.0        # words of the page, when its last one so far came

    def until(self, count: int, begin: Sequence[int]) -> int:
        """Cycle in which so many pages have arrived; ``begin``: when each descriptor began."""
        self._advance(begin, count)
        return self._times[count - 1]

    def during(self, begin: Sequence[int], end: int, pitch: float) -> int:
        """Words that come until ``end``, if each needs a cycle in which no lane reads weights.

        ``begin``: as above, of those so far; ``pitch``: cycles from one such cycle to the next.
        """
        return self._advance(begin, len(self._pages), end, pitch)

    def _advance(self, begin, count, end=inf, pitch=1.0):
        """Take pages until there are so many, or their words until a cycle; how many of these."""
        written = 0
        while len(self._times) < count:
            after, words, zeros = self._pages[len(self._times)]
            if not self._left:
                if after >= len(begin):
                    break
                self._take(self._ready)            # which descriptor must run
                self._take(begin[after] + 2)
                self._last, self._left = self._take(0), words
            if end == inf:
                self._finish(zeros)
            while self._left:
                ready = self._last + pitch
                if max(ready, 0 if zeros else self._due // TICKS) > end:
                    return written
                self._last = ready if zeros else self._take(ceil(ready))
                self._left, written = self._left - 1, written + 1
            self._ready = ceil(self._last) + 1
            self._times.append(ceil(self._last))
        return written

    def _finish(self, zeros):
        """Take the rest of a page: words as fast as they come, zeros one a cycle."""
        if zeros:
            self._last += self._left
        else:
            self._due += (self._left - 1) * self._store.interval
            self._last = self._take(0)
        self._left = 0

    def _take(self, ready):
        """The cycle in which the pager takes a word that it is ready for from a cycle on."""
        taken = max(-(-self._due // TICKS), ready)
        self._due = max(self._due + self._store.interval, (taken + 1) * TICKS)
        return taken


def page_sizes(stream: bytes) -> list[tuple[int, int, bool]]:
    """Of each page of a stream: the first descriptor that may run, words, whether they are zero."""
    sizes, position = [], 0
    while position < len(stream):
        after, count = (int.from_bytes(stream[n:n + 4], "little")
                        for n in (position, position + 4))
        words, zeros = count & (1 << PAGE_WORD_BITS) - 1, bool(count >> PAGE_ZEROS)
        if words:
            sizes.append((after, words, zeros))
        position += 4 * (PAGE_HEAD_WORDS + words * (not zeros))
    return sizes
