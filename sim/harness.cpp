// Drives the Verilated core over its Wishbone port: commands on stdin, answers on stdout, both
// little-endian 32-bit words (sim/device.py is the other end).
//
//   WRITE space offset count words...        -> refused words
//   READ  space offset count                 -> refused words, words...
//   WATCH count (trigger first lines)...     -> 0
//   RUN   limit (two words)                  -> finished, status, cycles, snapshots; then for each:
//                                               watch number, bytes, words...
//   PAGES latency interval count words...    -> 0
//
// PAGES gives the backing store its contents: its first word comes `latency` cycles after rewind
// ends, each other `interval` / 256 cycles after the one before, but not before that was taken.
//
// A mirror of the activation memory follows every write that leaves on its ports. When the line
// `trigger` is written during RUN (the counters behind a descriptor, so its layer has ended), the
// lines of each watch with that trigger are copied kBehind cycles later, when its last outputs are
// there (hw.drain.Drain.ahead) and before later layers reuse them. An argument names a VCD file for
// the waveforms of the first RUN.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pipe.h"
#include "Vsim_top.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

enum Command : uint32_t { kWrite = 1, kRead = 2, kWatch = 3, kRun = 4, kPages = 5 };
constexpr uint32_t kControl = 3, kStatus = 4, kCycles = 6;  // word offsets in space 0
constexpr int kAnswerCycles = 1 << 17;  // the bus must answer within these, in a run, too
constexpr int kStartCycles = 8;  // irq of a former run is low by then
constexpr int kBehind = 8;  // outputs are in the memory so long after their counters
constexpr int kPollCycles = 64;

struct Watch {
    uint32_t trigger, first, lines;
};

struct Snapshot {
    uint32_t watch;
    std::vector<uint8_t> bytes;
};

// The backing store.
struct Store {
    std::vector<uint32_t> words;
    uint64_t latency = 0, interval = 0;  // cycles; 1/256 cycles
    size_t next = 0;
    uint64_t due = 0;                    // 1/256 cycles: when the next word is there

    bool offers(uint64_t now) const { return next < words.size() && now << 8 >= due; }

    void rewind(uint64_t now) {
        next = 0;
        due = (now + latency) << 8;
    }

    void take(uint64_t now) {
        ++next;
        due = std::max(due + interval, (now + 1) << 8);
    }
};

class Core {
public:
    Core(const std::string& trace) : top_{new Vsim_top{&context_}} {
#if VM_TRACE
        if (!trace.empty()) {
            context_.traceEverOn(true);
            vcd_.reset(new VerilatedVcdC);
            top_->trace(vcd_.get(), 99);
            vcd_->open(trace.c_str());
        }
#endif
        top_->eval();
        line_bytes_ = top_->line_bytes;
        top_->rst = 1;
        for (int i = 0; i < 8; ++i) step();
        top_->rst = 0;
        step();
    }

    ~Core() {
        top_->final();
        close_trace();
    }

    // One access; returns false when the core answers with err or not at all.
    bool access(uint32_t space, uint32_t offset, bool write, uint32_t& word) {
        top_->cyc = top_->stb = 1;
        top_->we = write;
        top_->space = space;
        top_->offset = offset;
        top_->dat_w = word;
        bool answered = false, good = false;
        for (int i = 0; i < kAnswerCycles && !answered; ++i) {
            settle();
            answered = top_->ack || top_->err;
            good = top_->ack && !top_->err;
            if (good && !write) word = top_->dat_r;
            edge();
        }
        top_->cyc = top_->stb = top_->we = 0;
        step();
        return good;
    }

    bool run(uint64_t limit, uint32_t& status, uint32_t& cycles) {
        snapshots.clear();
        uint32_t word = 1;
        status = cycles = 0;
        running_ = true;
        bool good = access(0, kControl, true, word);
        const uint64_t start = count_;
        bool busy = good;
        for (int i = 0; i < kStartCycles; ++i) step();
        while (busy && count_ - start < limit) {
            for (int i = 0; i < kPollCycles && !top_->irq; ++i) step();
            good = access(0, kStatus, false, status);
            busy = good && (status & 1);
        }
        running_ = false;
        while (!due_.empty()) copy();
        close_trace();
        return good && !busy && access(0, kCycles, false, cycles);
    }

    std::vector<Watch> watches;
    std::vector<Snapshot> snapshots;
    Store store;

private:
    void settle() {
        top_->clk = 0;
        top_->page_valid = offered_ = store.offers(count_);
        if (offered_) top_->page = store.words[store.next];
        top_->eval();
        dump();
    }

    void edge() {
        snoop(top_->p0_mask, top_->p0_addr, &top_->p0_data[0]);
        snoop(top_->p1_mask, top_->p1_addr, &top_->p1_data[0]);
        while (!due_.empty() && due_.front().first <= count_) copy();
        if (top_->rewind) store.rewind(count_ + 1);
        else if (offered_ && top_->page_ready) store.take(count_);
        top_->clk = 1;
        top_->eval();
        dump();
        ++count_;
    }

    void step() {
        settle();
        edge();
    }

    void close_trace() {
#if VM_TRACE
        if (vcd_) vcd_->close();
        vcd_.reset();
#endif
    }

    void dump() {
#if VM_TRACE
        if (vcd_ && running_) vcd_->dump(time_);
#endif
        time_ += 5;
    }

    void snoop(uint64_t mask, uint32_t line, const WData* data) {
        if (!mask) return;
        const size_t base = static_cast<size_t>(line) * line_bytes_;
        if (mirror_.size() < base + line_bytes_) mirror_.resize(base + line_bytes_);
        for (uint32_t i = 0; i < line_bytes_; ++i)
            if (mask >> i & 1) mirror_[base + i] = data[i / 4] >> (8 * (i % 4));
        if (!running_) return;
        for (uint32_t i = 0; i < watches.size(); ++i)
            if (watches[i].trigger == line) due_.push_back({count_ + kBehind, i});
    }

    void copy() {
        const uint32_t i = due_.front().second;
        const Watch& watch = watches[i];
        const size_t first = static_cast<size_t>(watch.first) * line_bytes_;
        const size_t size = static_cast<size_t>(watch.lines) * line_bytes_;
        if (mirror_.size() < first + size) mirror_.resize(first + size);
        snapshots.push_back({i, {mirror_.begin() + first, mirror_.begin() + first + size}});
        due_.pop_front();
    }

    VerilatedContext context_;
    std::unique_ptr<Vsim_top> top_;
#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> vcd_;
#endif
    std::vector<uint8_t> mirror_;
    std::deque<std::pair<uint64_t, uint32_t>> due_;
    uint32_t line_bytes_ = 0;
    uint64_t count_ = 0, time_ = 0;
    bool running_ = false, offered_ = false;
};

void transfer(Core& core, bool write) {
    const uint32_t space = need(), offset = need(), count = need();
    uint32_t refused = 0;
    std::vector<uint32_t> words(count);
    for (uint32_t i = 0; i < count; ++i) {
        if (write) words[i] = need();
        refused += !core.access(space, offset + i, write, words[i]);
    }
    put(refused);
    if (!write) std::fwrite(words.data(), sizeof(uint32_t), count, stdout);
}

void watch(Core& core) {
    core.watches.resize(need());
    for (Watch& item : core.watches) {
        item.trigger = need();
        item.first = need();
        item.lines = need();
    }
    put(0);
}

void pages(Core& core) {
    core.store.latency = need();
    core.store.interval = need();
    core.store.words.resize(need());
    for (uint32_t& word : core.store.words) word = need();
    put(0);
}

void run(Core& core) {
    const uint64_t low = need(), high = need();
    uint32_t status, cycles;
    put(core.run(low | high << 32, status, cycles));
    put(status);
    put(cycles);
    put(core.snapshots.size());
    for (const Snapshot& item : core.snapshots) {
        put(item.watch);
        put(item.bytes.size());
        std::fwrite(item.bytes.data(), 1, item.bytes.size(), stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
    Core core{argc > 1 ? argv[1] : ""};
    uint32_t command;
    while (get(command)) {
        switch (command) {
            case kWrite: transfer(core, true); break;
            case kRead: transfer(core, false); break;
            case kWatch: watch(core); break;
            case kRun: run(core); break;
            case kPages: pages(core); break;
            default: return 4;
        }
        std::fflush(stdout);
    }
    return 0;
}
