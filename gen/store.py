"""The backing store: how fast it is, and when the pages of a program have arrived."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

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

    def until(self, count: int, begin: Sequence[int]) -> int:
        """Cycle in which so many pages have arrived; ``begin``: when each descriptor began."""
        while len(self._times) < count:
            after, words, zeros = self._pages[len(self._times)]
            self._take(self._ready)            # which descriptor must run
            self._take(begin[after] + 2)
            for _ in range(PAGE_HEAD_WORDS - 2):
                last = self._take(0)
            if zeros:
                last += words
            else:
                self._due += (words - 1) * self._store.interval
                last = self._take(0)
            self._ready = last + 1
            self._times.append(last)
        return self._times[count - 1]

    def during(self, begin: Sequence[int], end: int, pitch: float) -> int:
        """Words that need a cycle without a row until ``end``, in the descriptor that began last.

        ``pitch``: cycles from one such cycle to the next.
        """
        return 0

    def _take(self, ready):
        """The cycle in which the pager takes a word that it is ready for from a cycle on."""
        taken = max(-(-self._due // TICKS), ready)
        self._due = max(self._due + self._store.interval, (taken + 1) * TICKS)
        return taken


class Stealing(Arrivals):
    """Pages into weights that two clusters read: a word needs a cycle in which one does not."""

    def __init__(self, store: Store, pages: Sequence[tuple[int, int, bool]]):
        super().__init__(store, pages)
        self._left, self._last = 0, 0.0        # words of the page, when its last one so far came

    def until(self, count: int, begin: Sequence[int]) -> int:
        """See `Arrivals.until`; WAIT leaves the weights alone."""
        self._advance(begin, None, count)
        return self._times[count - 1]

    def during(self, begin: Sequence[int], end: int, pitch: float) -> int:
        """See `Arrivals.during`."""
        return self._advance(begin, end, len(self._pages), pitch)

    def _advance(self, begin, end, count, pitch=1.0):
        """Take words until a cycle, or pages until there are so many; how many words."""
        written = 0
        while len(self._times) < count:
            after, words, zeros = self._pages[len(self._times)]
            if not self._left:
                if after >= len(begin):
                    return written
                self._take(self._ready)
                self._take(begin[after] + 2)
                self._last, self._left = self._take(0), words
            while self._left:
                ready = self._last + pitch
                if end is not None and max(ready, 0 if zeros else self._due // TICKS) > end:
                    return written
                self._last = ready if zeros else self._take(ceil(ready))
                self._left, written = self._left - 1, written + 1
            self._ready = ceil(self._last) + 1
            self._times.append(ceil(self._last))
        return written


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
