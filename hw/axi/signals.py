"""AXI4-Lite and AXI4-Stream as signatures, and as ports with the names that tools expect."""

from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

OKAY, SLVERR = 0, 2      # responses
BEAT = data.StructLayout({"data": 32, "keep": 4, "last": 1})    # of a tensor's stream
PAGE_BEAT = data.StructLayout({"data": 32, "last": 1})          # of the backing store's


def axi_lite(address_bits: int) -> wiring.Signature:
    """AXI4-Lite, 32-bit data, byte addresses; seen from the manager."""
    return wiring.Signature({
        "awaddr": Out(address_bits), "awprot": Out(3), "awvalid": Out(1), "awready": In(1),
        "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
        "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        "araddr": Out(address_bits), "arprot": Out(3), "arvalid": Out(1), "arready": In(1),
        "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1)})


def axi_stream(beat: data.StructLayout) -> wiring.Signature:
    """AXI4-Stream, seen from the transmitter: tdata for field data of a beat, and so on."""
    return wiring.Signature({f"t{name}": Out(field.shape) for name, field in beat}
                            | {"tvalid": Out(1), "tready": In(1)})


def flat(prefix: str, interface: wiring.Member) -> dict[str, wiring.Member]:
    """Ports ``prefix_name`` in the place of an interface: Amaranth would call them prefix__name."""
    return {f"{prefix}_{name}": port for name, port in interface.signature.members.items()}


def connect_lite(m: Module, component, prefix: str, axi):
    """Connect flat ports of a component to an AXI4-Lite interface of its submodule."""
    for name, port in axi.signature.members.items():
        outer, inner = getattr(component, f"{prefix}_{name}"), getattr(axi, name)
        m.d.comb += inner.eq(outer) if port.flow is In else outer.eq(inner)


def connect_stream(m: Module, component, prefix: str, inner):
    """Connect flat ports of a component to a stream of its submodule whose payload is a beat."""
    valid, ready = (getattr(component, f"{prefix}_{name}") for name in ("tvalid", "tready"))
    beat = [(getattr(component, f"{prefix}_t{name}"), inner.payload[name])
            for name, _ in inner.payload.shape()]
    if inner.signature.members["ready"].flow is In:           # it leaves
        m.d.comb += [valid.eq(inner.valid), inner.ready.eq(ready),
                     *(port.eq(part) for port, part in beat)]
    else:
        m.d.comb += [inner.valid.eq(valid), ready.eq(inner.ready),
                     *(part.eq(port) for port, part in beat)]
