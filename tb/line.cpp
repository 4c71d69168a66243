// Drives a Verilated core behind its host link at its two pins: commands on stdin, answers on
// stdout, both little-endian 32-bit words (tb/linked.py is the other end).
//
//   SEND  count bytes...   bytes follow those that are still to be sent, without a pause -> 0
//   RUN   cycles           until a byte came, at most so many -> cycles, count, bytes...
//   PAUSE cycles           the line idles before the next byte that SEND gives -> 0
//   RESET cycles           -> 0
//   COUNT                  -> cycles so far, times the core was started, cycles it ran unarmed
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <vector>

#include "../sim/pipe.h"
#include "Vsim_top.h"
#include "verilated.h"

namespace {

enum Command : uint32_t { kSend = 1, kRun = 2, kPause = 3, kReset = 4, kCount = 5 };
constexpr uint32_t kPause32 = 1u << 31;

class Board {
public:
    Board() : top_{new Vsim_top{&context_}} {
        top_->rx = 1;
        top_->clk = 0;
        top_->eval();
        divisor_ = top_->divisor;
        reset(8);
    }

    ~Board() { top_->final(); }

    void reset(uint32_t cycles) {
        top_->rst = 1;
        for (uint32_t i = 0; i < cycles; ++i) step();
        top_->rst = 0;
    }

    void step() {
        send();
        top_->clk = 0;
        top_->eval();
        receive();
        starts += top_->started;
        wrong += top_->started && !top_->armed;
        top_->clk = 1;
        top_->eval();
        ++count;
    }

    std::deque<uint32_t> outgoing;
    std::vector<uint32_t> incoming;
    uint32_t count = 0, starts = 0, wrong = 0;

private:
    void send() {
        if (left_) {
            --left_;
        } else if (bits_ > 1) {
            bits_ >>= 1;
            top_->rx = bits_ & 1;
            left_ = divisor_ - 1;
            if (bits_ == 1) top_->rx = 1, bits_ = 0;  // the end marker is the stop bit
        } else if (!outgoing.empty()) {
            const uint32_t item = outgoing.front();
            outgoing.pop_front();
            if (item & kPause32) {
                left_ = item & ~kPause32;
                top_->rx = 1;
            } else {
                bits_ = 0x200 | item << 1;
                top_->rx = 0;
                left_ = divisor_ - 1;
            }
        }
    }

    void receive() {
        if (phase_ < 0) {
            if (!top_->tx) phase_ = 0, shift_ = 0;
        } else {
            ++phase_;
        }
        if (phase_ < 0 || phase_ % divisor_ != divisor_ / 2) return;
        const int bit = phase_ / divisor_;
        if (bit >= 1 && bit <= 8) shift_ |= top_->tx << (bit - 1);
        if (bit == 9) {
            if (top_->tx) incoming.push_back(shift_);
            phase_ = -1;
        }
    }

    VerilatedContext context_;
    std::unique_ptr<Vsim_top> top_;
    int divisor_ = 0, left_ = 0, phase_ = -1;
    uint32_t bits_ = 0, shift_ = 0;
};

}  // namespace

int main() {
    Board board;
    uint32_t command;
    while (get(command)) {
        switch (command) {
            case kSend:
                for (uint32_t n = need(); n; --n) board.outgoing.push_back(need());
                put(0);
                break;
            case kRun: {
                const uint32_t limit = need(), start = board.count;
                while (board.incoming.empty() && board.count - start < limit) board.step();
                put(board.count - start);
                put(board.incoming.size());
                for (uint32_t byte : board.incoming) put(byte);
                board.incoming.clear();
                break;
            }
            case kPause:
                board.outgoing.push_back(kPause32 | need());
                put(0);
                break;
            case kReset:
                board.outgoing.clear();
                board.reset(need());
                put(0);
                break;
            case kCount:
                put(board.count);
                put(board.starts);
                put(board.wrong);
                break;
            default:
                return 4;
        }
        std::fflush(stdout);
    }
    return 0;
}
