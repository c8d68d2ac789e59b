// Zero-delay simulation of a gate netlist, 64 independent runs at a time: bit k of every word belongs to run k.
//
// Nodes are evaluated in topological order, and only when an input changed, so no net glitches. Changes and time at 1 are
// counted for every net, exactly. The cell functions are in functions.inc, generated from the Liberty file.

#include <cstdint>
#include <cstring>
#include <vector>

typedef uint64_t Word;

struct Flop {
    int32_t clock, data, clear, preset, state;
};

struct Record {
    int64_t cycle;
    int32_t port;
    int32_t run;
    Word payload[4];
};

struct Net {
    Word value = 0;
    int64_t toggles = 0, high = 0, since = 0;
    int32_t first_reader = 0, end_reader = 0, first_flop = 0, end_flop = 0;
};

struct Simulator {
    std::vector<int32_t> function, first_input, inputs, output;
    std::vector<int32_t> readers, flops_of;
    std::vector<Flop> flops;
    std::vector<Net> nets;
    std::vector<Word> dirty, clock_before;
    std::vector<int32_t> pending;
    std::vector<char> is_pending;
    std::vector<Word> next;
    int64_t now = 0;
    int32_t clock = 0;
    Word runs = ~Word(0);

    Word value(int32_t net) const { return nets[net].value; }

    void set(int32_t index, Word word) {
        Net &net = nets[index];
        Word before = net.value;
        Word changed = (word ^ before) & runs;
        if (!changed) return;
        net.toggles += __builtin_popcountll(changed);
        net.high += __builtin_popcountll(before & runs) * (now - net.since);
        net.since = now;
        net.value = word;
        for (int32_t k = net.first_reader; k < net.end_reader; k++)
            dirty[readers[k] >> 6] |= Word(1) << (readers[k] & 63);
        for (int32_t k = net.first_flop; k < net.end_flop; k++) {
            int32_t flop = flops_of[k];
            if (!is_pending[flop]) {
                is_pending[flop] = 1;
                pending.push_back(flop);
            }
        }
    }

    Word evaluate(int32_t node) const {
        const int32_t *in = &inputs[first_input[node]];
        const Net *v = nets.data();
        switch (function[node]) {
#include "functions.inc"
        }
        return 0;
    }

    void propagate() {
        for (size_t word = 0; word < dirty.size(); word++)
            while (dirty[word]) {
                int32_t node = int32_t(word * 64 + __builtin_ctzll(dirty[word]));
                dirty[word] &= dirty[word] - 1;
                set(output[node], evaluate(node));
                // A latch reads its own state; it has settled.
                dirty[word] &= ~(Word(1) << (node & 63));
            }
    }

    void settle() {
        for (;;) {
            propagate();
            if (pending.empty()) return;
            next.clear();
            for (int32_t index : pending) {
                const Flop &flop = flops[index];
                Word clock_now = value(flop.clock);
                Word rising = clock_now & ~clock_before[index];
                clock_before[index] = clock_now;
                Word state = (value(flop.state) & ~rising) | (value(flop.data) & rising);
                if (flop.preset >= 0) state |= value(flop.preset);
                if (flop.clear >= 0) state &= ~value(flop.clear);
                next.push_back(state);
            }
            std::vector<int32_t> done;
            done.swap(pending);
            for (int32_t index : done) is_pending[index] = 0;
            for (size_t k = 0; k < done.size(); k++) set(flops[done[k]].state, next[k]);
        }
    }

    void rise() {
        set(clock, ~Word(0));
        settle();
    }

    void fall() {
        now++;
        set(clock, 0);
        settle();
        now++;
    }
};

extern "C" {

Simulator *gates_new(
    int32_t nets, int32_t nodes, const int32_t *function, const int32_t *first_input, const int32_t *inputs,
    const int32_t *output, int32_t flops, const int32_t *flop_nets, int32_t clock, Word runs
) {
    Simulator *s = new Simulator;
    s->function.assign(function, function + nodes);
    s->first_input.assign(first_input, first_input + nodes + 1);
    s->inputs.assign(inputs, inputs + first_input[nodes] + 1);
    s->output.assign(output, output + nodes);
    s->nets.resize(nets);
    s->dirty.assign((nodes + 63) / 64, 0);
    s->clock = clock;
    s->runs = runs;
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
    s->clock_before.assign(flops, 0);
    s->is_pending.assign(flops, 1);
    for (int32_t index = 0; index < flops; index++) s->pending.push_back(index);
    for (int32_t net = 0; net < nets; net++) {
        s->nets[net].first_reader = int32_t(s->readers.size());
        s->readers.insert(s->readers.end(), readers[net].begin(), readers[net].end());
        s->nets[net].end_reader = int32_t(s->readers.size());
        s->nets[net].first_flop = int32_t(s->flops_of.size());
        s->flops_of.insert(s->flops_of.end(), watching[net].begin(), watching[net].end());
        s->nets[net].end_flop = int32_t(s->flops_of.size());
    }
    s->nets[1].value = ~Word(0);
    // Clocks that are inverted on their way are at 1 from the start: that is no edge.
    s->propagate();
    for (int32_t index = 0; index < flops; index++) s->clock_before[index] = s->value(s->flops[index].clock);
    s->settle();
    return s;
}

void gates_free(Simulator *s) { delete s; }

void gates_clear(Simulator *s) {
    for (Net &net : s->nets) {
        net.toggles = net.high = 0;
        net.since = s->now;
    }
}

int64_t gates_counts(Simulator *s, int64_t *toggles, int64_t *high) {
    for (Net &net : s->nets) {
        net.high += __builtin_popcountll(net.value & s->runs) * (s->now - net.since);
        net.since = s->now;
        *toggles++ = net.toggles;
        *high++ = net.high;
    }
    return s->now;
}

// Cycles with given inputs: words[cycle][input]; outputs are taken at the end of each cycle.
void gates_vectors(
    Simulator *s, int64_t cycles, int32_t inputs, const int32_t *input_nets, const Word *words, int32_t outputs,
    const int32_t *output_nets, Word *found
) {
    for (int64_t cycle = 0; cycle < cycles; cycle++) {
        s->rise();
        for (int32_t k = 0; k < inputs; k++) s->set(input_nets[k], words[cycle * inputs + k]);
        s->settle();
        s->fall();
        for (int32_t k = 0; k < outputs; k++) found[cycle * outputs + k] = s->value(output_nets[k]);
    }
}

// A stream in, streams out, all by valid and ready. Beats are payload bits [run][beat][word]; beat b is offered from cycle
// earliest[b] on. Ports out: nets of valid, ready (driven to 1), number of payload bits, payload. Ends when `expected` beats
// came out of every run at every port, or after `limit` cycles. Returns the number of cycles; negative if the records are full.
int64_t gates_stream(
    Simulator *s, int64_t limit, int32_t valid, int32_t ready, int32_t bits, const int32_t *payload, int64_t beats,
    const Word *data, const int64_t *earliest, int32_t ports, const int32_t *port_nets, const int64_t *expected,
    int64_t room, Record *records, int64_t *count, int64_t *accepted
) {
    std::vector<int64_t> beat(64, 0);
    std::vector<Word> held(bits, 0);
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
    for (; cycle < limit && left > 0; cycle++) {
        s->rise();
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
        s->set(valid, offered);
        for (int32_t k = 0; k < bits; k++) s->set(payload[k], held[k]);
        for (int32_t p = 0; p < ports; p++) s->set(port[p][1], ~Word(0));
        s->settle();
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
