// Main loop of the compiled batch simulator: drives whole clips through the accelerator and writes what comes out.
//
// usage: batch FRAMES OUT FIRST CLIPS STEPS DUE LIMIT [IMAGE]
//   FRAMES  int32, all clips one after the other, each STEPS frames of `design::inputs` elements
//   OUT     written: for each clip int32 logits, DUE rows; int32 (label, score), DUE rows; int64 cycles
//   FIRST   number of the first clip to run, CLIPS how many
//   DUE     rows of logits that a clip gives
//   LIMIT   cycles without any transfer after which the design counts as hanging
//   IMAGE   uint32 words for the load port, `design::load_words` for each transfer
// A line on the standard output after each clip. Verilator writes the `__` in a port's name as `___05F`. What goes wrong is one line on the standard error, and status 1.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vdesign.h"
#include "design.h"
#include "verilated.h"

namespace {

[[noreturn]] void fail(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
    std::exit(1);
}

int32_t extend(uint64_t bits, int width, bool is_signed) {
    const uint64_t value = bits & ((uint64_t{1} << width) - 1);
    const bool negative = is_signed && (value >> (width - 1));
    return static_cast<int32_t>(negative ? static_cast<int64_t>(value) - (int64_t{1} << width)
                                         : static_cast<int64_t>(value));
}

template <typename Port> void drive(Port& port, const uint32_t* words) {
    uint64_t value = words[0];
    if (sizeof(Port) > 4) value |= static_cast<uint64_t>(words[1]) << 32;
    port = static_cast<Port>(value);
}

template <std::size_t Words> void drive(VlWide<Words>& port, const uint32_t* words) {
    for (std::size_t i = 0; i < Words; ++i) port[i] = words[i];
}

template <typename Item> std::vector<Item> read_file(const char* path, long offset, std::size_t count) {
    std::FILE* const file = std::fopen(path, "rb");
    std::vector<Item> items(count);
    if (!file || std::fseek(file, offset, SEEK_SET) || std::fread(items.data(), sizeof(Item), count, file) != count) {
        fail("cannot read %s", path);
    }
    std::fclose(file);
    return items;
}

class Bench {
  public:
    explicit Bench(int64_t limit) : limit_{limit} {
        context_.randReset(0);
        top_.i___05Fvalid = 0;
        top_.o_logits___05Fready = 1;
        top_.o_decision___05Fready = 1;
        reset();
    }

    void reset() {
        top_.rst = 1;
        settle();
        edge();
        top_.rst = 0;
    }

#ifdef DESIGN_LOADS
    void load(const char* path) {
        const auto words = read_file<uint32_t>(path, 0, design::load_transfers * design::load_words);
        top_.i_load___05Fvalid = 1;
        for (std::size_t i = 0; i < design::load_transfers; ++i) {
            drive(top_.i_load___05Fpayload, &words[i * design::load_words]);
            settle();
            if (!top_.i_load___05Fready) fail("the load port is not ready between frames");
            edge();
        }
        top_.i_load___05Fvalid = 0;
    }
#endif

    // Run one clip; cycles from its first transfer to its last.
    int64_t run(int64_t clip, const int32_t* frames, int64_t steps, int64_t due, int32_t* logits, int32_t* decisions) {
        const int64_t elements = steps * design::inputs, scores = due * design::outputs;
        int64_t sent = 0, scored = 0, decided = 0, column = 0, begun = -1, latest = cycle_;
        top_.i___05Fvalid = elements > 0;
        offer(frames, 0, column, elements);
        while (sent < elements || scored < scores || decided < due) {
            settle();
            bool moved = false;
            if (top_.o_logits___05Fvalid) {
                const uint64_t payload = top_.o_logits___05Fpayload;
                if (scored == scores) fail("clip %ld: more logits than the model gives", static_cast<long>(clip));
                if ((payload >> design::score_bits & 1) != ((scored + 1) % design::outputs == 0)) {
                    fail("clip %ld: 'last' is not with the last label", static_cast<long>(clip));
                }
                logits[scored++] = extend(payload, design::score_bits, design::score_signed);
                moved = true;
            }
            if (top_.o_decision___05Fvalid) {
                const uint64_t payload = top_.o_decision___05Fpayload;
                if (decided == due) fail("clip %ld: more decisions than the model gives", static_cast<long>(clip));
                decisions[2 * decided] = extend(payload, design::label_bits, false);
                decisions[2 * decided + 1] = extend(payload >> design::label_bits, design::score_bits, design::score_signed);
                ++decided;
                moved = true;
            }
            if (top_.frame_error) fail("clip %ld: a frame was dropped", static_cast<long>(clip));
            const bool accepted = top_.i___05Fvalid && top_.i___05Fready;
            if (accepted && begun < 0) begun = cycle_;
            edge();
            if (accepted) {
                ++sent;
                if (++column == design::inputs) column = 0;
                top_.i___05Fvalid = sent < elements;
                if (sent < elements) offer(frames, sent, column, elements);
#ifdef DESIGN_PULSE
                top_.clear = 0;
#endif
            }
            if (moved || accepted) latest = cycle_;
            if (cycle_ - latest > limit_) {
                fail("clip %ld: nothing moved for %ld cycles", static_cast<long>(clip), static_cast<long>(limit_));
            }
        }
        return cycle_ - begun;
    }

    // Run on without input: nothing more may come.
    void drain() {
        for (int64_t i = 0; i < limit_; ++i) {
            settle();
            if (top_.o_logits___05Fvalid || top_.o_decision___05Fvalid) fail("an output that no frame asked for");
            edge();
        }
    }

  private:
    void settle() {
        top_.clk = 0;
        top_.eval();
    }

    void edge() {
        top_.clk = 1;
        top_.eval();
        ++cycle_;
    }

    void offer(const int32_t* frames, int64_t index, int64_t column, int64_t elements) {
        const uint32_t data = static_cast<uint32_t>(frames[index]) & ((uint32_t{1} << design::input_bits) - 1);
        const uint32_t last = column == design::inputs - 1;
        const uint32_t end = design::marks_end && index == elements - 1;
        top_.i___05Fpayload = data | last << design::input_bits | end << (design::input_bits + 1);
#ifdef DESIGN_PULSE
        top_.clear = index == 0;
#endif
    }

    VerilatedContext context_;
    Vdesign top_{&context_};
    int64_t cycle_ = 0;
    int64_t limit_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 8) fail("usage: batch FRAMES OUT FIRST CLIPS STEPS DUE LIMIT [IMAGE]");
    const long first = std::atol(argv[3]), clips = std::atol(argv[4]), steps = std::atol(argv[5]);
    const long due = std::atol(argv[6]), limit = std::atol(argv[7]);
    const std::size_t elements = static_cast<std::size_t>(steps) * design::inputs;
    std::FILE* const out = std::fopen(argv[2], "wb");
    if (!out) fail("cannot write %s", argv[2]);
    Bench bench{limit};
#ifdef DESIGN_LOADS
    if (argc < 9) fail("the design needs a weight image");
    bench.load(argv[8]);
#endif
    std::vector<int32_t> logits(static_cast<std::size_t>(due) * design::outputs), decisions(2 * due);
    for (long clip = first; clip < first + clips; ++clip) {
        const long offset = static_cast<long>(clip * elements * sizeof(int32_t));
        const auto frames = read_file<int32_t>(argv[1], offset, elements);
        if (design::clears_by_reset) bench.reset();
        const int64_t cycles = bench.run(clip, frames.data(), steps, due, logits.data(), decisions.data());
        if (std::fwrite(logits.data(), sizeof(int32_t), logits.size(), out) != logits.size() ||
            std::fwrite(decisions.data(), sizeof(int32_t), decisions.size(), out) != decisions.size() ||
            std::fwrite(&cycles, sizeof(cycles), 1, out) != 1) {
            fail("cannot write %s", argv[2]);
        }
        std::printf("%ld\n", clip - first + 1);
        std::fflush(stdout);
    }
    bench.drain();
    if (std::fclose(out)) fail("cannot write %s", argv[2]);
    return 0;
}
