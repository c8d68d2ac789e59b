// Simulation of a gate netlist, 64 independent runs at a time: bit k of every word belongs to run k.
//
// Nodes are evaluated in topological order, and only when an input changed. Without delays no net glitches. With delays,
// each node turns the waveforms of its inputs within half a clock cycle into that of its output; the clock network has no
// delays. Logic has no loops, so one pass is enough. Changes and time at 1 are counted for every net, exactly, over the
// runs that are to be counted; what delays add is counted beside them. The cell functions are in functions.inc,
// generated from the Liberty file. Memory macros keep a word of 64 runs for every bit they hold.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "waveforms.hpp"

struct Flop {
    int32_t clock, data, clear, preset, state;
};

// Nets of the pins of a memory macro; no mask means that whole words are written.
struct Macro {
    int32_t clock, enable, write, read;
    std::vector<int32_t> address, data_in, mask, data_out;
    std::vector<Word> contents;  // [address][bit]
    std::vector<int32_t> watched;
    std::vector<Word> before;  // of the watched pins when they last settled
    std::vector<int64_t> changes, enabled;
    std::vector<int64_t> glitches, enabled_glitches;  // changes beyond those of settled values
    int64_t edges[8];                                 // by enable, write, read
    std::vector<Delay> delays;                        // from the clock to each output
    double energies[8] = {};                          // of a clock edge, by enable, write, read
};

struct Record {
    int64_t cycle;
    int32_t port;
    int32_t run;
    Word payload[4];
};

// Time at 1 is kept as the sum of the times of all falling edges less those of all rising ones.
struct Net {
    int64_t toggles = 0, high = 0;
    int64_t glitches = 0;  // changes beyond those of settled values
    double lost = 0;       // what narrow pulses lack to full swings
    int32_t first_reader = 0, end_reader = 0, first_flop = 0, end_flop = 0;
};

const int32_t MOST_PINS = 32;  // inputs of a node

struct Simulator {
    std::vector<int32_t> function, first_input, inputs, output;
    std::vector<int32_t> readers, flops_of;
    std::vector<Flop> flops;
    std::vector<Macro> macros;
    std::vector<Word> values;
    std::vector<Net> nets;
    std::vector<Word> dirty, clock_before;
    std::vector<int32_t> pending;
    std::vector<char> is_pending;
    std::vector<Word> next;
    int64_t now = 0;
    int32_t clock = 0;
    Word runs = ~Word(0), counted = ~Word(0);
    bool timed = false, weighted = false, asynchronous = false;
    std::vector<Delay> delays;       // from each input of each node
    std::vector<Delay> transitions;  // of each net
    std::vector<float> weights;      // energy of a change of each net
    double energies[64] = {};        // of each run
    int32_t latest = 0;              // time of the last change after an edge
    Waveforms waves;
    std::vector<Event> wave;
    Pending pending_changes;
    Swings swings;

    Word value(int32_t net) const { return values[net]; }

    // Count a net's change from one settled value to another.
    void settle_at(Net &net, Word before, Word word) {
        int falling = __builtin_popcountll(before & ~word & counted);
        int rising = __builtin_popcountll(~before & word & counted);
        net.toggles += falling + rising;
        net.high += (falling - rising) * now;
    }

    void wake_readers(const Net &net) {
        for (int32_t k = net.first_reader; k < net.end_reader; k++)
            dirty[readers[k] >> 6] |= Word(1) << (readers[k] & 63);
    }

    void set(int32_t index, Word word) {
        Word before = values[index];
        if (!((word ^ before) & runs)) return;
        values[index] = word;
        Net &net = nets[index];
        settle_at(net, before, word);
        if (weighted && weights[index] > 0)
            for (Word left = (word ^ before) & counted; left; left &= left - 1)
                energies[__builtin_ctzll(left)] += weights[index];
        wake_readers(net);
        for (int32_t k = net.first_flop; k < net.end_flop; k++) {
            int32_t flop = flops_of[k];
            if (!is_pending[flop]) {
                is_pending[flop] = 1;
                pending.push_back(flop);
            }
        }
    }

    static Word evaluate(int32_t function, const Word *v, const int32_t *in) {
        switch (function) {
#include "functions.inc"
        }
        return 0;
    }

    void propagate() {
        for (size_t word = 0; word < dirty.size(); word++)
            while (dirty[word]) {
                int32_t node = int32_t(word * 64 + __builtin_ctzll(dirty[word]));
                dirty[word] &= dirty[word] - 1;
                set(output[node], evaluate(function[node], values.data(), &inputs[first_input[node]]));
                // A latch reads its own state; it has settled.
                dirty[word] &= ~(Word(1) << (node & 63));
            }
    }

    // A net that starts to move at the edge: an input, a state, or an output of a macro after its delay.
    void start(int32_t net, Word word, Delay delay) {
        if (!timed) {
            set(net, word);
            return;
        }
        Word before = value(net), changed = (before ^ word) & runs;
        if (!changed) return;
        wave.clear();
        pending_changes.clear();
        pending_changes.add(delay.rise, changed & word);
        pending_changes.add(delay.fall, changed & ~word);
        mature(before, INT32_MAX);
        keep(net);
    }

    // Append the pending changes up to a time to the waveform; the value after them.
    Word mature(Word present, int32_t time) {
        while (!pending_changes.empty() && pending_changes.time() <= time) {
            int32_t when = pending_changes.time();
            if (Word changed = pending_changes.take()) wave.push_back({when, present ^= changed});
        }
        return present;
    }

    // Keep the waveform of a net, count it, and wake the readers.
    void keep(int32_t index) {
        if (wave.empty()) return;
        waves.put(index, wave);
        latest = std::max(latest, wave.back().time);
        Net &net = nets[index];
        int64_t changes = 0;
        Word before = value(index);
        for (const Event &event : wave) {
            changes += __builtin_popcountll((before ^ event.word) & counted);
            before = event.word;
        }
        net.glitches += changes - __builtin_popcountll((value(index) ^ before) & counted);
        net.lost += swings.lost(
            value(index), wave.data(), wave.data() + wave.size(), counted, transitions[index], weights[index], energies
        );
        wake_readers(net);
    }

    // The waveform of a node's output from those of its inputs.
    void transfer(int32_t node) {
        static const int32_t in_order[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                           16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
        int32_t first = first_input[node], pins = first_input[node + 1] - first, own = -1;
        const Event *next[MOST_PINS], *last[MOST_PINS];
        Word level[MOST_PINS], changed[MOST_PINS];
        for (int32_t k = 0; k < pins; k++) {
            int32_t net = inputs[first + k];
            level[k] = value(net);
            next[k] = waves.events.data() + waves.first[net];
            last[k] = waves.events.data() + waves.end[net];
            if (net == output[node]) own = k;
        }
        Word present = value(output[node]), target = present;
        wave.clear();
        pending_changes.clear();
        for (;;) {
            int32_t time = INT32_MAX;
            for (int32_t k = 0; k < pins; k++)
                if (next[k] != last[k]) time = std::min(time, next[k]->time);
            present = mature(present, time);
            if (time == INT32_MAX) break;
            for (int32_t k = 0; k < pins; k++) {
                changed[k] = 0;
                if (next[k] == last[k] || next[k]->time != time) continue;
                changed[k] = level[k] ^ next[k]->word;
                level[k] = next[k]++->word;
            }
            Word wanted = evaluate(function[node], level, in_order);
            Word different = (wanted ^ target) & runs, overtaken = different & (present ^ target);
            if (!different) continue;
            if (overtaken) pending_changes.cancel(overtaken);
            different &= ~overtaken;
            schedule(time, different & wanted, &delays[first], changed, pins, &Delay::rise);
            schedule(time, different & ~wanted, &delays[first], changed, pins, &Delay::fall);
            target ^= different | overtaken;
            if (own >= 0) level[own] = target;
        }
        keep(output[node]);
    }

    // Changes of an output after the delay of the input that changed; of several, the shortest delay counts.
    void schedule(int32_t time, Word left, const Delay *delay, const Word *changed, int32_t pins, int32_t Delay::*edge) {
        while (left) {
            int32_t fastest = -1;
            for (int32_t k = 0; k < pins; k++)
                if ((changed[k] & left) && (fastest < 0 || delay[k].*edge < delay[fastest].*edge)) fastest = k;
            if (fastest < 0) break;
            pending_changes.add(time + delay[fastest].*edge, left & changed[fastest]);
            left &= ~changed[fastest];
        }
    }

    // Waveforms of everything behind the nets that move, then their settled values.
    void propagate_waves() {
        for (size_t word = 0; word < dirty.size(); word++)
            while (dirty[word]) {
                int32_t node = int32_t(word * 64 + __builtin_ctzll(dirty[word]));
                dirty[word] &= dirty[word] - 1;
                transfer(node);
                dirty[word] &= ~(Word(1) << (node & 63));
            }
        for (int32_t index : waves.moved) {
            Net &net = nets[index];
            Word before = value(index);
            values[index] = waves.last(index);
            settle_at(net, before, values[index]);
            asynchronous |= net.first_flop != net.end_flop;
        }
    }

    // Next state of a flip-flop, from the values before the edge.
    Word sampled(const Flop &flop, Word rising) const {
        Word state = (value(flop.state) & ~rising) | (value(flop.data) & rising);
        if (flop.preset >= 0) state |= value(flop.preset);
        if (flop.clear >= 0) state &= ~value(flop.clear);
        return state;
    }

    // Access of a macro, from the values before the edge; what its outputs become is appended to `next`.
    void access(Macro &macro, Word rising) {
        Word enable = value(macro.enable), write = value(macro.write), read = value(macro.read);
        for (int state = 0; state < 8; state++) {
            Word match = (state & 4 ? enable : ~enable) & (state & 2 ? write : ~write) & (state & 1 ? read : ~read);
            macro.edges[state] += __builtin_popcountll(rising & match & counted);
            if (weighted && macro.energies[state] > 0)
                for (Word left = rising & match & counted; left; left &= left - 1)
                    energies[__builtin_ctzll(left)] += macro.energies[state];
        }
        size_t first = next.size(), width = macro.data_out.size();
        for (int32_t net : macro.data_out) next.push_back(value(net));
        for (Word left = rising & enable & (write | read) & runs; left;) {
            Word alike = left;
            size_t address = 0;
            for (size_t bit = 0; bit < macro.address.size(); bit++) {
                Word one = value(macro.address[bit]);
                bool high = one >> __builtin_ctzll(left) & 1;
                alike &= high ? one : ~one;
                address |= size_t(high) << bit;
            }
            left &= ~alike;
            Word *word = &macro.contents[address * width];
            for (size_t bit = 0; bit < width; bit++) {
                Word stored = alike & write & (macro.mask.empty() ? ~Word(0) : value(macro.mask[bit]));
                word[bit] = (word[bit] & ~stored) | (value(macro.data_in[bit]) & stored);
                next[first + bit] = (next[first + bit] & ~(alike & read)) | (word[bit] & alike & read);
            }
        }
    }

    // Flip-flops and macros whose clocks moved take their next states; false if there were none.
    bool capture() {
        if (pending.empty()) return false;
        int32_t number = int32_t(flops.size());
        next.clear();
        for (int32_t index : pending) {
            Word clock_now = value(index < number ? flops[index].clock : macros[index - number].clock);
            Word rising = clock_now & ~clock_before[index];
            clock_before[index] = clock_now;
            if (index < number)
                next.push_back(sampled(flops[index], rising));
            else
                access(macros[index - number], rising);
        }
        std::vector<int32_t> done;
        done.swap(pending);
        const Word *state = next.data();
        for (int32_t index : done) {
            is_pending[index] = 0;
            if (index < number) {
                start(flops[index].state, *state++, {0, 0});
                continue;
            }
            const Macro &macro = macros[index - number];
            for (size_t k = 0; k < macro.data_out.size(); k++) start(macro.data_out[k], *state++, macro.delays[k]);
        }
        return true;
    }

    void settle() {
        do propagate();
        while (capture());
    }

    // Changes of the macros' pins, taken when all have settled, apart where the enable is high.
    void watch() {
        for (Macro &macro : macros) {
            Word enable = value(macro.enable);
            for (size_t k = 0; k < macro.watched.size(); k++) {
                Word now_at = value(macro.watched[k]);
                Word changed = (now_at ^ macro.before[k]) & counted;
                if (timed) watch_glitches(macro, k, changed, enable);
                macro.before[k] = now_at;
                if (!changed) continue;
                macro.changes[k] += __builtin_popcountll(changed);
                macro.enabled[k] += __builtin_popcountll(changed & enable);
            }
        }
    }

    // Changes of a macro's pin beyond that of its settled value.
    void watch_glitches(Macro &macro, size_t k, Word settled, Word enable) {
        int32_t net = macro.watched[k];
        int64_t changes = -__builtin_popcountll(settled), enabled = -__builtin_popcountll(settled & enable);
        Word before = macro.before[k];
        for (int32_t event = waves.first[net]; event < waves.end[net]; event++) {
            Word changed = (before ^ waves.events[event].word) & counted;
            before = waves.events[event].word;
            changes += __builtin_popcountll(changed);
            enabled += __builtin_popcountll(changed & enable);
        }
        if (!waves.moves(net)) return;
        macro.glitches[k] += changes;
        macro.enabled_glitches[k] += enabled;
    }

    // Count other runs from now on.
    void select(Word other) {
        for (size_t k = 0; k < nets.size(); k++)
            nets[k].high += (__builtin_popcountll(values[k] & counted) - __builtin_popcountll(values[k] & other)) * now;
        counted = other;
    }

    // An edge of the clock. Inputs change with the flip-flops: one after the other would be changes in no time.
    template <typename Drive> void edge(Word level, Drive drive) {
        waves.clear();
        set(clock, level);
        propagate();
        capture();
        drive();
        if (timed) propagate_waves();
        settle();
    }

    template <typename Drive> void rise(Drive drive) { edge(~Word(0), drive); }

    void fall() {
        now++;
        watch();
        edge(0, [] {});
        now++;
    }
};

#pragma GCC visibility push(default)
extern "C" {

Simulator *gates_new(
    int32_t nets, int32_t nodes, const int32_t *function, const int32_t *first_input, const int32_t *inputs,
    const int32_t *output, int32_t flops, const int32_t *flop_nets, int32_t macros, const int32_t *macro_nets,
    int32_t clock, Word runs
) {
    Simulator *s = new Simulator;
    s->function.assign(function, function + nodes);
    s->first_input.assign(first_input, first_input + nodes + 1);
    s->inputs.assign(inputs, inputs + first_input[nodes] + 1);
    s->output.assign(output, output + nodes);
    s->nets.resize(nets);
    s->values.assign(nets, 0);
    s->dirty.assign((nodes + 63) / 64, 0);
    s->clock = clock;
    s->runs = s->counted = runs;
    std::vector<std::vector<int32_t>> readers(nets), watching(nets);
    for (int32_t node = 0; node < nodes; node++) {
        s->dirty[node >> 6] |= Word(1) << (node & 63);
        for (int32_t k = first_input[node]; k < first_input[node + 1]; k++) readers[inputs[k]].push_back(node);
    }
    for (int32_t index = 0; index < flops; index++) {
        const int32_t *nets_of = flop_nets + 5 * index;
        Flop flop = {nets_of[0], nets_of[1], nets_of[2], nets_of[3], nets_of[4]};
        s->flops.push_back(flop);
        watching[flop.clock].push_back(index);
        if (flop.clear >= 0) watching[flop.clear].push_back(index);
        if (flop.preset >= 0) watching[flop.preset].push_back(index);
    }
    for (int32_t index = 0; index < macros; index++) {
        Macro macro = {};
        macro.clock = macro_nets[0];
        macro.enable = macro_nets[1];
        macro.write = macro_nets[2];
        macro.read = macro_nets[3];
        int32_t addresses = macro_nets[4], width = macro_nets[5], masks = macro_nets[6], watched = macro_nets[7];
        const int32_t *place = macro_nets + 8;
        macro.address.assign(place, place + addresses);
        macro.data_in.assign(place + addresses, place + addresses + width);
        macro.mask.assign(place + addresses + width, place + addresses + width + masks);
        place += addresses + width + masks;
        macro.data_out.assign(place, place + width);
        macro.watched.assign(place + width, place + width + watched);
        macro_nets = place + width + watched;
        macro.contents.assign((size_t(1) << addresses) * width, 0);
        macro.before.assign(watched, 0);
        macro.changes.assign(watched, 0);
        macro.enabled.assign(watched, 0);
        macro.glitches.assign(watched, 0);
        macro.enabled_glitches.assign(watched, 0);
        macro.delays.assign(width, {0, 0});
        watching[macro.clock].push_back(flops + index);
        s->macros.push_back(macro);
    }
    s->clock_before.assign(flops + macros, 0);
    s->is_pending.assign(flops + macros, 1);
    for (int32_t index = 0; index < flops + macros; index++) s->pending.push_back(index);
    for (int32_t net = 0; net < nets; net++) {
        s->nets[net].first_reader = int32_t(s->readers.size());
        s->readers.insert(s->readers.end(), readers[net].begin(), readers[net].end());
        s->nets[net].end_reader = int32_t(s->readers.size());
        s->nets[net].first_flop = int32_t(s->flops_of.size());
        s->flops_of.insert(s->flops_of.end(), watching[net].begin(), watching[net].end());
        s->nets[net].end_flop = int32_t(s->flops_of.size());
    }
    s->waves.resize(nets);
    s->delays.assign(first_input[nodes] + 1, {0, 0});
    s->transitions.assign(nets, {0, 0});
    s->weights.assign(nets, 0);
    s->values[1] = ~Word(0);
    // Clocks that are inverted on their way are at 1 from the start: that is no edge.
    s->propagate();
    for (int32_t index = 0; index < flops; index++) s->clock_before[index] = s->value(s->flops[index].clock);
    for (int32_t index = 0; index < macros; index++)
        s->clock_before[flops + index] = s->value(s->macros[index].clock);
    s->settle();
    return s;
}

// Delays from each input of each node and from the clock to each output of each macro, and the transition times of nets.
void gates_delays(Simulator *s, const Delay *inputs, const Delay *macros, const Delay *transitions) {
    std::copy(inputs, inputs + s->delays.size(), s->delays.begin());
    for (Macro &macro : s->macros)
        for (Delay &delay : macro.delays) delay = *macros++;
    std::copy(transitions, transitions + s->transitions.size(), s->transitions.begin());
}

// What a change of each net and a clock edge of each macro, by enable, write and read, add to the energy of a run.
void gates_weights(Simulator *s, const float *nets, const double *macros) {
    s->weighted = true;
    std::copy(nets, nets + s->weights.size(), s->weights.begin());
    for (Macro &macro : s->macros)
        for (double &energy : macro.energies) energy = *macros++;
}

// Simulate with delays from now on, or without.
void gates_timed(Simulator *s, int32_t timed) { s->timed = timed; }

// Energy of each run since the last call, by the weights.
void gates_energies(Simulator *s, double *energies) {
    std::memcpy(energies, s->energies, sizeof(s->energies));
    std::fill(s->energies, s->energies + 64, 0.0);
}

// Time of the last change after an edge; negative if a clock or an asynchronous input came out of delayed logic.
int32_t gates_latest(Simulator *s) { return s->asynchronous ? -1 : s->latest; }

void gates_glitches(Simulator *s, int64_t *glitches, double *lost) {
    for (const Net &net : s->nets) {
        *glitches++ = net.glitches;
        *lost++ = net.lost;
    }
}

void gates_free(Simulator *s) { delete s; }

// Forget all counts, and count the given runs from now on.
void gates_clear(Simulator *s, Word counted) {
    for (Net &net : s->nets) {
        net.toggles = net.high = net.glitches = 0;
        net.lost = 0;
    }
    s->latest = 0;
    s->counted = 0;
    s->select(counted & s->runs);
    for (Macro &macro : s->macros) {
        std::memset(macro.edges, 0, sizeof(macro.edges));
        for (size_t k = 0; k < macro.watched.size(); k++) {
            macro.before[k] = s->value(macro.watched[k]);
            macro.changes[k] = macro.enabled[k] = macro.glitches[k] = macro.enabled_glitches[k] = 0;
        }
    }
}

// Count the given runs from now on, beside what was counted before.
void gates_select(Simulator *s, Word counted) { s->select(counted & s->runs); }

int64_t gates_now(Simulator *s) { return s->now; }

void gates_counts(Simulator *s, int64_t *toggles, int64_t *high) {
    for (size_t k = 0; k < s->nets.size(); k++) {
        toggles[k] = s->nets[k].toggles;
        high[k] = s->nets[k].high + __builtin_popcountll(s->values[k] & s->counted) * s->now;
    }
}

// Counts of a macro: clock edges by enable, write and read, and changes of the watched pins.
// `pins` has a row for changes, enabled changes, glitches and enabled glitches.
void gates_accesses(Simulator *s, int32_t index, int64_t *edges, int64_t *pins) {
    const Macro &macro = s->macros[index];
    std::memcpy(edges, macro.edges, sizeof(macro.edges));
    for (const auto *counts : {&macro.changes, &macro.enabled, &macro.glitches, &macro.enabled_glitches})
        pins = std::copy(counts->begin(), counts->end(), pins);
}

// Values of nets, for peeking.
void gates_peek(Simulator *s, int32_t nets, const int32_t *net, Word *found) {
    for (int32_t k = 0; k < nets; k++) found[k] = s->value(net[k]);
}

// Give states of flip-flops other values in the runs of `mask`; counts see it as a change.
void gates_poke(Simulator *s, int32_t nets, const int32_t *net, const Word *words, Word mask) {
    for (int32_t k = 0; k < nets; k++) s->set(net[k], (s->value(net[k]) & ~mask) | (words[k] & mask));
    s->settle();
}

// Words of a macro from `address` on, [address][bit].
void gates_read_macro(Simulator *s, int32_t index, int32_t address, int32_t words, Word *found) {
    const Macro &macro = s->macros[index];
    size_t width = macro.data_out.size();
    std::memcpy(found, &macro.contents[address * width], words * width * sizeof(Word));
}

void gates_write_macro(Simulator *s, int32_t index, int32_t address, int32_t words, const Word *given, Word mask) {
    Macro &macro = s->macros[index];
    size_t width = macro.data_out.size();
    Word *place = &macro.contents[address * width];
    for (size_t k = 0; k < words * width; k++) place[k] = (place[k] & ~mask) | (given[k] & mask);
}

int64_t gates_state_size(Simulator *s) {
    int64_t size = int64_t(s->nets.size() + s->clock_before.size());
    for (const Macro &macro : s->macros) size += int64_t(macro.contents.size());
    return size;
}

// Everything that one run holds, a byte a bit; nothing may be on its way.
void gates_save(Simulator *s, int32_t run, char *state) {
    for (Word word : s->values) *state++ = word >> run & 1;
    for (Word word : s->clock_before) *state++ = word >> run & 1;
    for (const Macro &macro : s->macros)
        for (Word word : macro.contents) *state++ = word >> run & 1;
}

// Put the runs of `mask` in a saved state; counts do not see it.
void gates_load(Simulator *s, const char *state, Word mask) {
    auto put = [&](Word &word) { word = *state++ ? word | mask : word & ~mask; };
    Word counted = s->counted;
    s->select(counted & ~mask);
    for (Word &word : s->values) put(word);
    s->select(counted);
    for (Word &word : s->clock_before) put(word);
    for (Macro &macro : s->macros) {
        for (Word &word : macro.contents) put(word);
        for (size_t k = 0; k < macro.watched.size(); k++) macro.before[k] = s->value(macro.watched[k]);
    }
}

// Cycles with given inputs: words[cycle][input]; outputs are taken at the end of each cycle.
void gates_vectors(
    Simulator *s, int64_t cycles, int32_t inputs, const int32_t *input_nets, const Word *words, int32_t outputs,
    const int32_t *output_nets, Word *found
) {
    for (int64_t cycle = 0; cycle < cycles; cycle++) {
        s->rise([&] {
            for (int32_t k = 0; k < inputs; k++) s->start(input_nets[k], words[cycle * inputs + k], {0, 0});
        });
        s->fall();
        for (int32_t k = 0; k < outputs; k++) found[cycle * outputs + k] = s->value(output_nets[k]);
    }
}

// A stream in, streams out, all by valid and ready. Beats are payload bits [run][beat][word]; beat b is offered from cycle
// earliest[b] on. Ports out: nets of valid, ready (driven to 1), number of payload bits, payload. Ends when `expected` beats
// came out of every run at every port, or after `limit` cycles, in any case then if `exactly`. Returns the number of cycles;
// negative if the records are full.
int64_t gates_stream(
    Simulator *s, int64_t limit, int32_t exactly, int32_t valid, int32_t ready, int32_t bits, const int32_t *payload,
    int64_t beats, const Word *data, const int64_t *earliest, int32_t ports, const int32_t *port_nets,
    const int64_t *expected, int64_t room, Record *records, int64_t *count, int64_t *accepted
) {
    std::vector<int64_t> beat(64, 0);
    std::vector<Word> held;
    for (int32_t k = 0; k < bits; k++) held.push_back(s->value(payload[k]));
    std::vector<int64_t> missing;
    std::vector<const int32_t *> port;
    const int32_t *place = port_nets;
    int64_t left = 0, cycle = 0;
    for (int32_t p = 0; p < ports; p++) {
        port.push_back(place);
        place += 3 + place[2];
        for (int run = 0; run < 64; run++) {
            bool used = s->runs >> run & 1;
            missing.push_back(used ? expected[p] : 0);
            left += used ? expected[p] : 0;
        }
    }
    int32_t words = (bits + 63) / 64;
    Word offered = 0;
    *count = 0;
    for (; cycle < limit && (exactly || left > 0); cycle++) {
        for (int run = 0; run < 64; run++) {
            if (!(s->runs >> run & 1) || (offered >> run & 1)) continue;
            if (beat[run] >= beats || earliest[beat[run]] > cycle) continue;
            offered |= Word(1) << run;
            const Word *from = data + (run * beats + beat[run]) * words;
            for (int32_t k = 0; k < bits; k++) {
                Word bit = from[k >> 6] >> (k & 63) & 1;
                held[k] = (held[k] & ~(Word(1) << run)) | (bit << run);
            }
        }
        s->rise([&] {
            s->start(valid, offered, {0, 0});
            for (int32_t k = 0; k < bits; k++) s->start(payload[k], held[k], {0, 0});
            for (int32_t p = 0; p < ports; p++) s->start(port[p][1], ~Word(0), {0, 0});
        });
        s->fall();
        Word taken = offered & s->value(ready);
        offered &= ~taken;
        for (int run = 0; run < 64; run++) beat[run] += taken >> run & 1;
        for (int32_t p = 0; p < ports; p++) {
            Word out = s->value(port[p][0]) & s->runs;
            while (out) {
                int run = __builtin_ctzll(out);
                out &= out - 1;
                if (*count >= room) return -1;
                Record &record = records[(*count)++];
                record.cycle = cycle;
                record.port = p;
                record.run = run;
                std::memset(record.payload, 0, sizeof(record.payload));
                for (int32_t k = 0; k < port[p][2] && k < 256; k++)
                    record.payload[k >> 6] |= (s->value(port[p][3 + k]) >> run & 1) << (k & 63);
                if (missing[p * 64 + run] > 0) {
                    missing[p * 64 + run]--;
                    left--;
                }
            }
        }
    }
    for (int run = 0; run < 64; run++) accepted[run] = beat[run];
    return cycle;
}

}
