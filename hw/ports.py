"""Clients of the activation memory, and the arbiter that gives its ports to them in turn."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.cells.banks import concat
from hw.config import CoreConfig, bits_for


def read_latency(config: CoreConfig) -> int:
    """Cycles from an accepted read request to its data: RAM and arbiter, if that has registers."""
    return config.ram_latency + config.pipelined


def line_address_bits(config: CoreConfig) -> int:
    """Bits of a client's line address: one more than the memory needs, so that overruns show."""
    return config.act_addr_bits + 1


def read_client(config: CoreConfig) -> wiring.Signature:
    """Read requests of one client, seen from the client.

    ``valid & ready`` accepts ``addr``; ``done`` is high with ``data`` exactly ``read_latency``
    cycles later, in order, whether the client is ready or not.
    """
    return wiring.Signature({
        "valid": Out(1), "ready": In(1), "addr": Out(line_address_bits(config)),
        "done": In(1), "data": In(config.line_bits)})


def write_client(config: CoreConfig) -> wiring.Signature:
    """Writes of one client, seen from the client; ``mask`` has ``config.line_masks`` bits."""
    return wiring.Signature({
        "valid": Out(1), "ready": In(1), "addr": Out(line_address_bits(config)),
        "data": Out(config.line_bits), "mask": Out(config.line_masks)})


def word_client(config: CoreConfig) -> wiring.Signature:
    """Writes of a client that has 32 bits at a time: word ``word`` of line ``addr``."""
    return wiring.Signature({
        "valid": Out(1), "ready": In(1), "addr": Out(line_address_bits(config)),
        "word": Out(bits_for(config.line_words)), "data": Out(32)})


def as_line(config: CoreConfig, client) -> tuple[Value, Value]:
    """Mask and data of the line that a `word_client` or `write_client` writes."""
    if "mask" in client.signature.members:
        return client.mask, client.data
    mask = concat(*(client.word == n * config.mask_bytes // 4 for n in range(config.line_masks)))
    return mask, client.data.replicate(config.line_words)


def ram_port(config: CoreConfig) -> wiring.Signature:
    """One port of the activation memory, seen from its user."""
    return wiring.Signature({
        "en": Out(1), "we": Out(config.line_masks), "addr": Out(config.act_addr_bits),
        "w_data": Out(config.line_bits), "r_data": In(config.line_bits)})


class PortArbiter(wiring.Component):
    """Fixed-priority arbiter of one port of the activation memory.

    Parameters
    ----------
    config : CoreConfig
    writers, readers : int
        Number of clients; a lower index goes first, writers before readers.

    Members
    -------
    w{i} : In(write_client), r{i} : In(read_client)
    ram : Out(ram_port)
    error : Out(1)
        High for a cycle after a request left the memory; that request neither reads nor writes.

    Behaviour
    ---------
    One request a cycle; the port sees it a cycle later where ``config.pipelined``, read data
    return after ``read_latency(config)`` cycles.
    """

    def __init__(self, config: CoreConfig, writers: int, readers: int):
        self.config, self.writers, self.readers = config, writers, readers
        super().__init__(
            {f"w{i}": In(write_client(config)) for i in range(writers)}
            | {f"r{i}": In(read_client(config)) for i in range(readers)}
            | {"ram": Out(ram_port(config)), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        writers = [getattr(self, f"w{i}") for i in range(self.writers)]
        readers = [getattr(self, f"r{i}") for i in range(self.readers)]
        addr = Signal(line_address_bits(self.config))
        grants = Signal(len(readers))
        write = Signal()
        taken = 0
        for index, client in enumerate(writers + readers):
            m.d.comb += client.ready.eq(~taken if index else 1)
            taken = client.valid if index == 0 else taken | client.valid
        for index, client in enumerate(readers):
            m.d.comb += grants[index].eq(client.valid & client.ready)
        mask, data = Signal(self.config.line_masks), Signal(self.config.line_bits)
        m.d.comb += [addr.eq(_first(writers + readers, "addr")),
                     mask.eq(_first(writers, "mask")), data.eq(_first(writers, "data")),
                     write.eq(Cat(client.valid for client in writers).any())]

        inside = addr < self.config.act_lines
        domain = m.d.sync if self.config.pipelined else m.d.comb
        domain += [
            self.ram.en.eq((write | grants.any()) & inside),
            self.ram.we.eq(mask & (write & inside).replicate(len(mask))),
            self.ram.addr.eq(addr),
        ]
        if writers:
            domain += self.ram.w_data.eq(data)
        m.d.sync += self.error.eq((write | grants.any()) & ~inside)
        stages = grants
        for stage in range(read_latency(self.config)):
            delayed = Signal(len(readers), name=f"granted{stage}")
            m.d.sync += delayed.eq(stages)
            stages = delayed
        for client, done in zip(readers, stages, strict=True):
            m.d.comb += [client.done.eq(done), client.data.eq(self.ram.r_data)]
        return m


def _first(clients: list, member: str):
    """Member of the first client that is valid, or of the last one, whose ``valid`` comes late."""
    value = getattr(clients[-1], member) if clients else 0
    for client in reversed(clients[:-1]):
        value = Mux(client.valid, getattr(client, member), value)
    return value
