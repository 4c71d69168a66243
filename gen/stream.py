"""The contents of the backing store: pages as the pager takes them."""

from dataclasses import dataclass

import numpy as np

from hw.config import CoreConfig
from hw.layout import PAGE_HEAD_WORDS, PAGE_ZEROS, Space


@dataclass(frozen=True, kw_only=True)
class Page:
    """Bytes that the pager writes.

    Parameters
    ----------
    space : Space
    byte : int
        First byte in that space; of Space.ACT counted from the start of the homes.
    after : int
        Number of the first descriptor that may run while it is written.
    data : bytes
        As the stream has them: of parameters three words a channel.
    zeros : int
        Words of zero in the place of data.
    """

    space: Space
    byte: int
    after: int
    data: bytes = b""
    zeros: int = 0

    @property
    def head(self) -> tuple[int, int]:
        """The first two words of its header."""
        return self.after, self.zeros | 1 << PAGE_ZEROS if self.zeros else len(self.data) // 4


def cut(config: CoreConfig, space: Space, byte: int, after: int, data: bytes,
        run: int) -> list[Page]:
    """A part of a block as pages: runs of at least ``run`` words of zero need not be sent."""
    words = np.frombuffer(data, "<u4")
    if space == Space.PARAM:
        words = words.reshape(-1, 4)[:, :3].reshape(-1)
    if not config.host_stores or space == Space.PARAM:
        return [Page(space=space, byte=byte, after=after, data=words.tobytes())]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], words == 0, [0])))).reshape(-1, 2)
    found, position = [], 0
    for begin, end in [*edges[edges[:, 1] - edges[:, 0] >= run].tolist(), (len(words),) * 2]:
        if begin > position:
            found.append(Page(space=space, byte=byte + 4 * position, after=after,
                              data=words[position:begin].tobytes()))
        if end > begin:
            found.append(Page(space=space, byte=byte + 4 * begin, after=after, zeros=end - begin))
        position = end
    return found


def stream(pages: tuple[Page, ...], config: CoreConfig, home: int) -> bytes:
    """The contents of the backing store: each page behind its header, and an end.

    Parameters
    ----------
    home : int
        First line of the homes.
    """
    words = bytearray()
    for page in pages:
        byte = page.byte + (home * config.V if page.space == Space.ACT else 0)
        head = (*page.head, page.space << 29 | byte // 4)
        assert len(head) == PAGE_HEAD_WORDS
        words += b"".join(word.to_bytes(4, "little") for word in head) + page.data
    return bytes(words + bytes(4 * PAGE_HEAD_WORDS)) if pages else b""
