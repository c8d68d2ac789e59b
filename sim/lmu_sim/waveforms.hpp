// Waveforms of nets within half a clock cycle: 64 independent runs, bit k of every word belongs to run k.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

typedef uint64_t Word;

// Delays to a rising and to a falling edge, and times of events, in steps of the resolution that Python sets.
struct Delay {
    int32_t rise, fall;
};

struct Event {
    int32_t time;
    Word word;  // value of the net from then on
};

// Changes of an output that are on their way, sorted by time. Each run has one at most: it is inertial.
class Pending {
  public:
    void clear() { groups.clear(), head = 0; }

    bool empty() const { return head == groups.size(); }

    int32_t time() const { return groups[head].time; }

    // The runs of the next change.
    Word take() { return groups[head++].word; }

    void cancel(Word runs) {
        for (size_t k = head; k < groups.size(); k++) groups[k].word &= ~runs;
    }

    void add(int32_t time, Word runs) {
        if (!runs) return;
        size_t k = groups.size();
        while (k > head && groups[k - 1].time > time) k--;
        if (k > head && groups[k - 1].time == time)
            groups[k - 1].word |= runs;
        else
            groups.insert(groups.begin() + k, Event{time, runs});
    }

  private:
    std::vector<Event> groups;
    size_t head = 0;
};

// The waveforms of this half cycle, by net.
struct Waveforms {
    std::vector<Event> events;
    std::vector<int32_t> first, end;  // events of each net; equal if it does not move
    std::vector<int32_t> moved;       // nets with events

    void resize(size_t nets) {
        first.assign(nets, 0);
        end.assign(nets, 0);
    }

    void clear() {
        for (int32_t net : moved) first[net] = end[net] = 0;
        moved.clear();
        events.clear();
    }

    bool moves(int32_t net) const { return first[net] != end[net]; }

    void put(int32_t net, const std::vector<Event> &wave) {
        first[net] = int32_t(events.size());
        events.insert(events.end(), wave.begin(), wave.end());
        end[net] = int32_t(events.size());
        moved.push_back(net);
    }

    Word last(int32_t net) const { return events[end[net] - 1].word; }
};

// The swings of a net in half a cycle. Its voltage is a straight ramp that takes the transition time for a full swing and
// turns round at the next change; each change counts as the part of a full swing that it makes.
class Swings {
  public:
    // What the changes of `counted` runs lack to full swings; their energies are added to `energies` by run.
    double lost(
        Word before, const Event *event, const Event *end, Word counted, Delay transition, float weight,
        double *energies
    ) {
        Word seen = 0, again = 0;
        double lost = 0;
        for (; event != end; event++) {
            Word changed = (before ^ event->word) & counted;
            before = event->word;
            again |= changed & seen;
            for (Word left = changed & seen; left; left &= left - 1) {
                int run = __builtin_ctzll(left);
                // The change before went the other way.
                int32_t whole = event->word >> run & 1 ? transition.fall : transition.rise;
                int32_t gap = event->time - since[run];
                float made = gap < whole ? std::min(way[run], float(gap) / float(whole)) : way[run];
                lost += 1 - made;
                energies[run] += weight * made;
                way[run] = 1 - (way[run] - made);
                since[run] = event->time;
            }
            for (Word left = changed & ~seen; left; left &= left - 1) {
                int run = __builtin_ctzll(left);
                way[run] = 1;
                since[run] = event->time;
            }
            seen |= changed;
        }
        for (Word left = seen; left; left &= left - 1) energies[__builtin_ctzll(left)] += weight;
        for (Word left = again; left; left &= left - 1) {
            int run = __builtin_ctzll(left);
            lost += 1 - way[run];
            energies[run] -= weight * (1 - way[run]);
        }
        return lost;
    }

  private:
    int32_t since[64];  // time of the last change of a run
    float way[64];      // of the voltage from there to the rail, 1 for a full swing
};
