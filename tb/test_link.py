# amaranth: UnusedElaboratable=no
"""The blocks of the host link against their contracts."""

import pytest
from amaranth import Module
from amaranth.lib import wiring

from hw.config import ConfigError
from hw.link.crc import SerialCrc
from hw.link.decoder import Decoder
from hw.link.encoder import Encoder
from hw.link.slots import Slots
from hw.link.uart import Receiver, Transmitter
from tb.bench import run_cocotb
from tb.test_cells import Bundle


class Reader(wiring.Component):
    """Slots, and the decoder that reads them, perhaps through a register."""

    def __init__(self, latency: int):
        self._kept = latency - Slots.READ_LATENCY
        self.slots, self.decoder = Slots(), Decoder(latency)
        inner = {"addr", "data"}
        members = {name: member for part in (self.slots, self.decoder)
                   for name, member in part.signature.members.items() if name not in inner}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.slots, m.submodules.decoder = slots, decoder = self.slots, self.decoder
        wiring.connect(m, wiring.flipped(self.i), slots.i)
        wiring.connect(m, decoder.o, wiring.flipped(self.o))
        m.d.comb += [
            slots.hold.eq(self.hold), self.pending.eq(slots.pending),
            slots.release.eq(self.release), decoder.start.eq(self.start),
            decoder.index.eq(self.index), self.end.eq(decoder.end), self.sound.eq(decoder.sound),
            slots.addr.eq(decoder.addr)]
        stage = m.d.sync if self._kept else m.d.comb
        stage += decoder.data.eq(slots.data)
        return m


def test_blocks_of_the_link_keep_their_contracts(tmp_path):
    parts = {"encoder": Encoder(1), "kept_encoder": Encoder(2), "reader": Reader(1),
             "kept": Reader(2),
             "crc": SerialCrc(),
             "rx_fast": Receiver(4), "rx_slow": Receiver(24), "tx_fast": Transmitter(4),
             "tx_slow": Transmitter(24)}
    run_cocotb(Bundle(parts), "tb.cocotb_link", name="link", work_dir=tmp_path,
               parameters={"seed": 8})


@pytest.mark.parametrize("divisor", [3, 4096, 8.0])
def test_divisor_must_be_in_range(divisor):
    with pytest.raises(ConfigError, match=r"divisor must be an integer in 4\.\.4095, not"):
        Receiver(divisor)
