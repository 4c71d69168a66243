# amaranth: UnusedElaboratable=no
"""Reader and boot against a flash that objects: images, damage, pages, and what is refused."""

from dataclasses import asdict

from hw.flash.boot import Boot
from hw.flash.layout import FlashConfig
from tb.bench import run_cocotb
from tb.test_cells import Bundle

SMALL = {"address": 0x20000, "room": 256, "clock_hz": 1_000_000}
CONFIGS = {      # with the cycles that the flash answers late
    "quad": (FlashConfig(**SMALL), 0),
    "dual": (FlashConfig(**SMALL, width=2), 0),
    "single": (FlashConfig(**SMALL, width=1), 0),
    "late": (FlashConfig(**SMALL, sample=2), 1),
    "slow": (FlashConfig(**SMALL, width=2, sample=3, pace=2), 1),
}


def test_boot_and_reader_keep_their_contract(tmp_path):
    parts = {name: Boot(config) for name, (config, _) in CONFIGS.items()}
    run_cocotb(Bundle(parts), "tb.cocotb_flash", name="boots", work_dir=tmp_path,
               parameters={name: {"config": asdict(config), "lag": lag}
                           for name, (config, lag) in CONFIGS.items()})
