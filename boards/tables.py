"""The table of boards."""

from rich.table import Table

from boards.catalog import BOARDS


def board_table() -> Table:
    """Return a row per board: device, core, clock, UART, flash."""
    table = Table(title="boards: systolith build --board NAME")
    for name in ("name", "board", "device", "core"):
        table.add_column(name, no_wrap=True)
    for name in ("MHz", "baud, most", "flash", "image at", "room"):
        table.add_column(name, justify="right")
    table.add_column("UART", overflow="fold")
    for board in BOARDS.values():
        flash = board.flash
        table.add_row(board.name, board.title, board.platform_class.device, board.preset,
                      f"{board.core_hz / 1e6:g}", f"{board.max_baud:,}",
                      f"{flash.size >> 20} MiB", f"{flash.image:#x}", f"{flash.image_room:,}",
                      board.uart_text)
    return table
