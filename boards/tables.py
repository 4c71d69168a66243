"""The table of boards."""

from rich.table import Table

from boards.catalog import BOARDS


def board_table() -> Table:
    """Return a row per board: device, core, clock, UART, flash."""
    table = Table(title="boards: systolith build --board NAME")
    for name in ("name", "device"):
        table.add_column(name, no_wrap=True)
    table.add_column("core", overflow="fold", min_width=12)
    for name in ("MHz", "baud, most", "flash", "image at"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("flashed by", overflow="fold", min_width=14)
    table.add_column("UART", overflow="fold", min_width=18)
    for board in BOARDS.values():
        flash = board.flash
        table.add_row(board.name, board.platform_class.device, board.core,
                      f"{board.core_hz / 1e6:g}", f"{board.max_baud:,}",
                      f"{flash.size >> 20} MiB", f"{flash.image:#x}",
                      "DFU, by openFPGALoader" if board.dfu else "openFPGALoader",
                      board.uart_text)
    return table
