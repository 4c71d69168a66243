"""The contents of the backing store: pages as the pager takes them."""

from dataclasses import dataclass

import numpy as np

from hw.config import CoreConfig
from hw.layout import PAGE_HEAD_WORDS, PAGE_MASK_WORDS, PAGE_PACKED, Space


@dataclass(frozen=True, kw_only=True)
class Page:
    """Words that the pager writes.

    Parameters
    ----------
    space : Space
    byte : int
        First byte in that space; of Space.ACT counted from the start of the homes.
    after : int
        Number of the first descriptor that may run while it is written.
    words : int
        That are written: of parameters three a channel.
    data : bytes
        As the stream has them.
    packed : bool
        Data are masks, and the words that are not zero.
    """

    space: Space
    byte: int
    after: int
    words: int
    data: bytes
    packed: bool


def make_page(config: CoreConfig, space: Space, byte: int, after: int, block: bytes) -> Page:
    """A part of a block as a page, packed where that is shorter and the pager can unpack it."""
    words = np.frombuffer(block, "<u4")
    if config.host_stores and space == Space.PARAM:
        words = words.reshape(-1, 4)[:, :3].ravel()
    plain = words.astype("<u4").tobytes()
    short = packed(words) if config.host_stores else plain
    return Page(space=space, byte=byte, after=after, words=len(words),
                data=min(plain, short, key=len), packed=len(short) < len(plain))


def packed(words: np.ndarray) -> bytes:
    """Words that are not zero, behind a mask of each group; only the first group may be short."""
    first = -len(words) % PAGE_MASK_WORDS     # words that are missing before it
    groups = np.pad(words, (first, 0)).reshape(-1, PAGE_MASK_WORDS)
    masks = np.packbits(groups != 0, axis=1, bitorder="little").view("<u4")
    masks[0] >>= first
    both = np.hstack((masks, groups))
    sent = np.pad(groups != 0, ((0, 0), (1, 0)), constant_values=True)
    return both[sent].astype("<u4").tobytes()


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
        head = (page.after, page.words | page.packed << PAGE_PACKED, page.space << 29 | byte // 4)
        assert len(head) == PAGE_HEAD_WORDS
        words += b"".join(word.to_bytes(4, "little") for word in head) + page.data
    return bytes(words + bytes(4 * PAGE_HEAD_WORDS)) if pages else b""
