// Main loop of a simulated board: what comes on the standard input goes to the pin rx as a UART has it, and what the
// pin tx says goes to the standard output.
//
// usage: serial_bridge REST
//   REST  cycles without anything on either line after which the board is taken to wait for its host
// All cycles are those of the clock behind the board's divider, where it has one. The clock runs while the board works, and
// stands still while it waits. SIGUSR1 presses the button. At the end of the standard input one line on the standard error:
// LEDs for the word, ready, trouble, and cycles. Verilator writes the `__` in a port's name as `___05F`.

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "Vdesign.h"
#include "design.h"
#include "verilated.h"

namespace {

constexpr int start_cycles = 4096;  // more than the reset after power-on takes
constexpr int press_cycles = 100;
constexpr int poll_cycles = 4096;  // how often the standard input is looked at while the board works

volatile std::sig_atomic_t pressed = 0;

class Board {
  public:
    Board() {
        context_.randReset(0);
        top_.rx = 1;
        top_.DESIGN_BUTTON = !design::pressed;
        for (int i = 0; i < start_cycles; ++i) cycle();
    }

    void press() {
        top_.DESIGN_BUTTON = design::pressed;
        for (int i = 0; i < press_cycles; ++i) cycle();
        top_.DESIGN_BUTTON = !design::pressed;
    }

    void queue(uint8_t byte) { bytes_.push_back(byte); }

    // One cycle of the clock behind the divider; whether anything was on a line.
    bool cycle() {
        const bool sent = send();
        for (int i = 0; i < design::divider; ++i) {
            top_.clk = 0;
            top_.eval();
            top_.clk = 1;
            top_.eval();
        }
        ++cycles_;
        return receive() || sent;
    }

    void report() const {
        std::fprintf(stderr, "%u %u %u %lld\n", top_.led, top_.led_ready, top_.led_trouble,
                     static_cast<long long>(cycles_));
    }

  private:
    // Towards the board: a start bit, eight bits of data, a stop bit.
    bool send() {
        if (out_left_ == 0) {
            if (bytes_.empty()) return false;
            out_bits_ = 0x200u | static_cast<unsigned>(bytes_.front()) << 1;
            bytes_.pop_front();
            out_left_ = 10 * design::divisor;
        }
        top_.rx = out_bits_ & 1;
        if (--out_left_ % design::divisor == 0) out_bits_ >>= 1;
        return true;
    }

    // From the board: looked at in the middle of each bit.
    bool receive() {
        if (in_time_ == 0) {
            if (top_.tx) return false;
            in_bits_ = 0;
        }
        const int bit = in_time_ / design::divisor;
        if (in_time_ % design::divisor == design::divisor / 2 && bit >= 1 && bit <= 8) in_bits_ |= top_.tx << (bit - 1);
        if (++in_time_ == 9 * design::divisor + design::divisor / 2) {
            in_time_ = 0;
            const uint8_t byte = in_bits_;
            if (!top_.tx || write(STDOUT_FILENO, &byte, 1) != 1) std::exit(1);
        }
        return true;
    }

    VerilatedContext context_;
    Vdesign top_{&context_};
    std::deque<uint8_t> bytes_;
    unsigned out_bits_ = 0;
    int out_left_ = 0;
    unsigned in_bits_ = 0;
    int in_time_ = 0;
    int64_t cycles_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: serial_bridge REST\n");
        return 1;
    }
    const int64_t rest = std::atoll(argv[1]);
    struct sigaction action = {};
    action.sa_handler = [](int) { pressed = 1; };
    sigaction(SIGUSR1, &action, nullptr);
    Board board;
    int64_t quiet = 0;
    for (;;) {
        if (pressed) {
            pressed = 0;
            board.press();
            quiet = 0;
        }
        pollfd input = {STDIN_FILENO, POLLIN, 0};
        if (poll(&input, 1, quiet < rest ? 0 : -1) > 0) {
            uint8_t bytes[256];
            const ssize_t count = read(STDIN_FILENO, bytes, sizeof(bytes));
            if (count <= 0) break;
            for (ssize_t i = 0; i < count; ++i) board.queue(bytes[i]);
            quiet = 0;
        }
        for (int i = 0; i < poll_cycles && quiet < rest; ++i) quiet = board.cycle() ? 0 : quiet + 1;
    }
    board.report();
    return 0;
}
