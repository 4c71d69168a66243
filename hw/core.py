"""The complete core: clusters, memories, sequencer and host port."""

from itertools import pairwise

from amaranth import ClockDomain, Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.cells.ram import RamRW
from hw.cluster import Cluster
from hw.config import CoreConfig
from hw.delay import delayed
from hw.dispatch import Dispatch
from hw.host import HostPort, wishbone
from hw.loader import Loader
from hw.pager import Pager
from hw.params import ParamMemory
from hw.ports import PortArbiter, as_line, write_client
from hw.sequencer import Sequencer
from hw.stores import store_port
from hw.weights import WeightBanks


class Core(wiring.Component):
    """An int8 inference core behind one Wishbone port.

    Parameters
    ----------
    config : CoreConfig

    Members
    -------
    clk, rst : In(1)
        Only control and host port are reset; for FLUSH_CYCLES afterwards they clear the rest, whose
        registers have no reset: that would be a wire to every one of them. Without any reset the
        core starts from its configuration.
    bus : In(wishbone)
    irq : Out(1)
        High from the end of a program (done or failed) until the next start.
    pages : In(stream of 32-bit words), rewind : Out(1)
        The backing store, where config.pages: see `hw.pager.Pager`.

    Behaviour
    ---------
    ``docs/core.md`` describes programs and the address map. Hold reset for 3 us after
    configuration on the iCE40 (its RAMs are not ready before).
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        backing = {"pages": In(stream.Signature(unsigned(32))), "rewind": Out(1)}
        super().__init__({"clk": In(1), "rst": In(1), "bus": In(wishbone(config)), "irq": Out(1)}
                         | (backing if config.pages else {}))

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.domains.sync = domain = ClockDomain(reset_less=True)
        domain.clk = self.clk
        host, sequencer, reset = HostPort(config), Sequencer(config), ResetInserter(self.rst)
        m.submodules.host, m.submodules.sequencer = reset(host), reset(sequencer)
        m.submodules.loader = loader = Loader(config)
        m.submodules.weights = weights = WeightBanks(config)
        m.submodules.params = params = ParamMemory(config)
        clusters = [Cluster(config, index) for index in range(config.P)]
        wiring.connect(m, wiring.flipped(self.bus), host.bus)
        m.d.comb += [
            sequencer.start.eq(host.start), sequencer.stop.eq(host.stop),
            sequencer.program.eq(host.program), host.busy.eq(sequencer.busy),
            host.done.eq(sequencer.done), host.error.eq(sequencer.error),
            host.index.eq(sequencer.index), host.cycles.eq(sequencer.cycles),
            self.irq.eq(sequencer.done), loader.clear.eq(sequencer.clear),
        ]
        pager = self._pager(m, host, sequencer) if config.pages else None
        for index, cluster in enumerate(clusters):
            m.submodules[f"cluster{index}"] = cluster
            m.d.comb += [
                getattr(weights, f"addrs{index}").eq(cluster.weight_addrs),
                cluster.weights.eq(getattr(weights, f"o{index}")),
                getattr(params, f"addr{index}").eq(cluster.param_addr),
                cluster.params.eq(getattr(params, f"o{index}")),
            ]
        self._stores(m, host, loader, pager, sequencer, weights, params, clusters)
        arbiters = self._activations(m, host, loader, pager, sequencer, clusters)
        self._control(m, loader, pager, sequencer, clusters, arbiters)
        return m

    def _pager(self, m, host, sequencer):
        """The pager with its port, its WAITs and its time-out."""
        m.submodules.pager = pager = Pager(self.config)
        wiring.connect(m, wiring.flipped(self.pages), pager.pages)
        m.d.comb += [
            self.rewind.eq(pager.rewind), pager.running.eq(sequencer.busy & ~sequencer.clear),
            pager.index.eq(sequencer.index), pager.clear.eq(sequencer.clear),
            pager.tick.eq(sequencer.tick), pager.patience.eq(host.patience),
            sequencer.error_store.eq(pager.late),
        ]
        return pager

    def _control(self, m, loader, pager, sequencer, clusters, arbiters):
        """The descriptor that runs, to the clusters one after the other; what all units answer.

        Both pass registers (``config.settle_cycles``): these wires cross the whole device.
        """
        m.submodules.dispatch = dispatch = Dispatch(self.config)
        m.d.comb += [
            dispatch.d.eq(sequencer.d), dispatch.check.eq(sequencer.check),
            dispatch.launch.eq(sequencer.launch),
            loader.d.eq(dispatch.order), loader.start.eq(dispatch.load),
            clusters[0].d.eq(dispatch.order), clusters[0].start.eq(dispatch.work),
        ]
        stage = m.d.sync if self.config.pipelined else m.d.comb
        stage += clusters[0].clear.eq(sequencer.clear)
        for first, second in pairwise(clusters):
            stage += [second.d.eq(first.d), second.start.eq(first.start),
                      second.clear.eq(first.clear)]
        pagers = [pager] if pager else []
        if pager:
            m.d.comb += [pager.wanted.eq(dispatch.order.groups), pager.start.eq(dispatch.wait)]
            if self.config.P == 2:
                m.d.sync += clusters[0].pause.eq(pager.pause)
                # A cycle without a row (`issued` is late by one), as a write finds it at the banks.
                wait = Cluster.weights_after(self.config) - 2
                m.d.comb += pager.quiet.eq(delayed(m, sequencer.issued[0] == 0, wait))
        stage += [
            sequencer.units_idle.eq(self._all(u.idle for u in [loader, *pagers, *clusters])),
            sequencer.written.eq(self._all(c.written for c in clusters)),
            *(count.eq(c.issued) for count, c in zip(sequencer.issued, clusters, strict=True)),
            sequencer.feed_stall.eq(clusters[0].feed_stall),
            sequencer.drain_stall.eq(clusters[0].drain_stall),
            sequencer.progress.eq(self._any(c.issued.any() for c in clusters)
                                  | self._any(p.progress for p in pagers)
                                  | self._any(a.ram.en for a in arbiters)),
            sequencer.error_descriptor.eq(self._any(c.error_patch for c in clusters)),
            sequencer.error_address.eq(self._any(u.error for u in [loader, *pagers, *arbiters])
                                       | self._any(c.error_address for c in clusters)),
        ]

    def _stores(self, m, host, loader, pager, sequencer, weights, params, clusters):
        """Loader, pager (busy) and host (idle, where it may) write what else there is."""
        store = loader.store
        if self.config.host_stores:
            store, loading = store_port(self.config).create(), Signal()
            m.d.sync += loading.eq(~loader.idle)      # before its first line comes
            for name in store.signature.members:
                sources = [getattr(u.store, name) for u in (host, loader, pager) if u]
                m.d.sync += getattr(store, name).eq(
                    self._any(sources) if name.endswith("_en") else
                    Mux(sequencer.busy, Mux(loading, sources[1], sources[-1]), sources[0]))
            if pager:
                m.d.comb += pager.free.eq(~loading)
        m.d.comb += [
            weights.w_en.eq(store.weight_en), weights.w_addr.eq(store.weight_addr),
            weights.w_data.eq(store.weight_data), params.w_en.eq(store.param_en),
            params.w_addr.eq(store.word_addr), params.w_data.eq(store.word_data),
        ]
        for cluster in clusters:
            m.d.comb += [cluster.t_en.eq(store.table_en), cluster.t_addr.eq(store.word_addr),
                         cluster.t_data.eq(store.word_data)]
            if self.config.row_masks:
                m.d.comb += [cluster.masks.en.eq(store.mask_en),
                             cluster.masks.addr.eq(store.word_addr),
                             cluster.masks.data.eq(store.word_data)]

    def _activations(self, m, host, loader, pager, sequencer, clusters):
        """The activation memory and who shares which of its ports."""
        config = self.config
        m.submodules.act = act = RamRW(config.memory, config.line_bits, config.act_lines, config.F,
                                       config.line_masks)
        feeds, residuals = [c.feed for c in clusters], [c.residual for c in clusters]
        writes, words = [c.w for c in clusters], write_client(config).create()
        counts, other = sequencer.w.valid, ~sequencer.w.valid
        words_from = {sequencer.w: counts, host.w: other}        # whose turn it is when
        if pager and not config.host_stores:
            words_from |= {host.w: other & host.w.valid, pager.w: other & ~host.w.valid}
        m.d.comb += words.valid.eq(self._any(w.valid for w in words_from))
        for source, chosen in words_from.items():
            m.d.comb += source.ready.eq(words.ready & chosen)
            with m.If(chosen):
                mask, data = as_line(config, source)
                m.d.comb += [words.addr.eq(source.addr), words.mask.eq(mask), words.data.eq(data)]
        # Feeders read all the time, the host a word now and then: it does not wait for them.
        others = [sequencer.r, host.r]
        if config.F == 1:
            shares = [([*writes, words], [*residuals, *others, *feeds, loader.r])]
        elif config.P == 1:
            shares = [([], feeds), ([*writes, words], [*residuals, *others, loader.r])]
        else:
            shares = [([writes[0], words], [residuals[0], *others, feeds[0], loader.r]),
                      (writes[1:], residuals[1:] + feeds[1:])]
        arbiters = []
        for index, (writers, readers) in enumerate(shares):
            arbiter = PortArbiter(config, len(writers), len(readers))
            m.submodules[f"arbiter{index}"] = arbiter
            for n, client in enumerate(writers):
                wiring.connect(m, client, getattr(arbiter, f"w{n}"))
            for n, client in enumerate(readers):
                wiring.connect(m, client, getattr(arbiter, f"r{n}"))
            wiring.connect(m, arbiter.ram, getattr(act, f"p{index}"))
            arbiters.append(arbiter)
        return arbiters

    @staticmethod
    def _any(bits):
        """OR of the bits."""
        result = 0
        for bit in bits:
            result = result | bit
        return result

    @staticmethod
    def _all(bits):
        """AND of the bits."""
        result = 1
        for bit in bits:
            result = result & bit
        return result
