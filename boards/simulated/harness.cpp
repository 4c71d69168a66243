// A board in Verilator behind a pseudo-terminal: bytes from there go bit by bit to the pin rx, and
// what comes from the pin tx goes back. Inside is the board's SPI flash.
//
//   simulate FD CLOCK DIVISOR LAG [ADDRESS FILE]
//
// FD is the master of the terminal, CLOCK a file of 8 bytes that counts the cycles, DIVISOR the clock
// cycles per bit, LAG the cycles from the end of a pulse of the flash's clock to new outputs; the
// bytes of FILE lie in the flash from ADDRESS on.
// It ends when nobody has the terminal open any more. The host is heard after the boot: what it sent
// before is lost on a board.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "Vsim_top.h"
#include "verilated.h"

namespace {

constexpr int kLookCycles = 256;    // between two looks at the terminal
constexpr int kQuietCycles = 64;    // after a read: the boot has ended
constexpr int kHeadPulses = 32, kDummyPulses = 8;
constexpr uint32_t kAwake = 0xAB, kRead = 0x0B, kReadDual = 0x3B, kReadQuad = 0x6B;
constexpr size_t kAddresses = 1 << 24;

// Answers reads over 1, 2 and 4 wires; asleep until it is woken.
class Flash {
public:
    Flash(int lag, size_t address, std::vector<uint8_t> bytes)
        : lag_(lag), address_(address), bytes_(std::move(bytes)), late_(lag + 1) {}

    void rise(bool pin) {
        if (++pulses_ <= kHeadPulses) head_ = head_ << 1 | pin;
        if (pulses_ == 8) opcode_ = head_ & 0xFF;
    }

    // The outputs change: `wires` of them, the lowest one on wire `first`.
    void fall() {
        const int step = pulses_ - kHeadPulses - kDummyPulses;
        const int wires = opcode_ == kRead ? 1 : opcode_ == kReadDual ? 2 : 4;
        if (asleep_ || step < 0 || !(opcode_ == kRead || opcode_ == kReadDual || opcode_ == kReadQuad))
            return;
        const size_t bit = static_cast<size_t>(step) * wires, first = wires == 1;
        const size_t at = (head_ % kAddresses + bit / 8) % kAddresses - address_;
        const uint32_t byte = at < bytes_.size() ? bytes_[at] : 0xFF;
        const uint32_t mask = (1 << wires) - 1;
        enable_ = mask << first;
        output_ = (byte >> (8 - bit % 8 - wires) & mask) << first;
    }

    void select(bool selected) {
        if (!selected && pulses_) {
            if (pulses_ >= 8 && opcode_ == kAwake) asleep_ = false;
            read_ |= pulses_ > kHeadPulses + kDummyPulses && opcode_ != kAwake;
            pulses_ = enable_ = 0;
            opcode_ = 0;
        }
        quiet_ = selected ? 0 : quiet_ + 1;
        booted_ |= read_ && quiet_ > kQuietCycles;      // pages may be read later
    }

    // Once a cycle: what the pins have now.
    std::pair<uint32_t, uint32_t> pins() {
        late_[now_ % late_.size()] = {enable_, output_};
        return late_[++now_ % late_.size()];
    }

    bool booted() const { return booted_; }

private:
    int lag_, pulses_ = 0, quiet_ = 0;
    size_t address_, now_ = 0;
    std::vector<uint8_t> bytes_;
    std::vector<std::pair<uint32_t, uint32_t>> late_;
    uint32_t head_ = 0, opcode_ = 0, enable_ = 0, output_ = 0;
    bool asleep_ = true, read_ = false, booted_ = false;
};

// Bits of bytes, one every so many cycles.
class Line {
public:
    explicit Line(int divisor) : divisor_(divisor) {}

    bool send() {
        if (left_ == 0 && bits_ == 0 && !queue.empty()) {
            bits_ = 1u << 9 | queue.front() << 1;      // start bit, byte, stop bit
            queue.pop_front();
            count_ = 10;
            left_ = divisor_;
        }
        const bool level = bits_ ? bits_ & 1 : true;
        if (bits_ && --left_ == 0) {
            bits_ = --count_ ? bits_ >> 1 : 0;
            left_ = bits_ ? divisor_ : 0;
        }
        return level;
    }

    // Takes the level of a cycle; true when a byte is complete.
    bool receive(bool level, uint8_t& byte) {
        if (wait_ == 0) {
            if (!level) wait_ = divisor_ + divisor_ / 2, taken_ = 0;
            return false;
        }
        if (--wait_) return false;
        if (taken_ == 8) return true;                  // in the middle of the stop bit
        byte_ = byte_ >> 1 | level << 7;
        byte = byte_;
        ++taken_;
        wait_ = divisor_;
        return false;
    }

    std::deque<uint8_t> queue;

private:
    int divisor_, left_ = 0, count_ = 0, wait_ = 0, taken_ = 0;
    uint32_t bits_ = 0;
    uint8_t byte_ = 0;
};

void run(int terminal, volatile uint64_t* now, Line line, Flash flash) {
    VerilatedContext context;
    const std::unique_ptr<Vsim_top> top{new Vsim_top{&context}};
    std::vector<uint8_t> buffer(4096);
    bool clock = false;
    for (uint64_t cycle = 0;; ++cycle) {
        *now = cycle;
        if (cycle % kLookCycles == 0 && line.queue.empty() && flash.booted()) {
            const ssize_t count = read(terminal, buffer.data(), buffer.size());
            if (count > 0) line.queue.insert(line.queue.end(), buffer.begin(), buffer.begin() + count);
            else if (count == 0 || errno != EAGAIN) break;
        }
        top->rx = line.send();
        const auto [enable, output] = flash.pins();
        top->flash_oe = enable;
        top->flash_o = output;
        top->clk = 0;
        top->eval();
        if (!clock && top->flash_sck) flash.rise(top->flash_dq & 1);
        clock = top->flash_sck;
        uint8_t byte;
        if (line.receive(top->tx, byte)) while (write(terminal, &byte, 1) < 0 && errno == EAGAIN) {}
        top->clk = 1;
        top->eval();
        if (clock && !top->flash_sck) flash.fall();
        clock = top->flash_sck;
        flash.select(!top->flash_cs_n);
    }
    top->final();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5 && argc != 7) return 2;
    const int terminal = std::atoi(argv[1]);
    fcntl(terminal, F_SETFL, fcntl(terminal, F_GETFL) | O_NONBLOCK);
    const int clock = open(argv[2], O_RDWR);
    void* now = mmap(nullptr, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, clock, 0);
    if (now == MAP_FAILED) return 3;
    std::vector<uint8_t> bytes;
    size_t address = 0;
    if (argc == 7) {
        std::ifstream file{argv[6], std::ios::binary};
        if (!file) return 3;
        address = std::strtoul(argv[5], nullptr, 0);
        bytes.assign(std::istreambuf_iterator<char>{file}, {});
    }
    run(terminal, static_cast<uint64_t*>(now), Line{std::atoi(argv[3])},
        Flash{std::atoi(argv[4]), address, std::move(bytes)});
    return 0;
}
