"""AXI4-Stream and AXI4-Lite in cocotb: agents that stall at random, and a checker of the channels' rules."""

import random
from collections import deque
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, Event, RisingEdge

__all__ = ["AxiBench", "ChannelRules", "ResetRules", "ResponseRules", "Sink", "Source"]


class ChannelRules:
    """Rules of one channel: a valid payload stays, unchanged, until it is taken.

    Parameters
    ----------
    name : str
        For messages.
    """

    def __init__(self, name: str):
        self.name = name
        self.waiting: Any = None

    def step(self, valid: bool, ready: bool, payload: Any) -> str | None:
        """Take in one clock edge; the rule that it breaks, if it does. The payload counts only with `valid`."""
        waiting, self.waiting = self.waiting, payload if valid and not ready else None
        if waiting is None:
            return None
        if not valid:
            return f"{self.name}: valid fell before ready"
        return None if payload == waiting else f"{self.name}: payload changed from {waiting} to {payload} before ready"


class ResponseRules:
    """Rule of a response channel: no response without a request that was taken in an earlier cycle.

    Parameters
    ----------
    name : str
        For messages.
    requests : int
        Channels that make up a request.
    """

    def __init__(self, name: str, requests: int):
        self.name = name
        self.taken = [0] * requests
        self.answered = 0

    def step(self, taken: tuple[bool, ...], valid: bool, ready: bool) -> str | None:
        """Take in one clock edge: which request channels moved, and the response channel."""
        broken = valid and min(self.taken) <= self.answered
        self.answered += valid and ready
        self.taken = [before + moved for before, moved in zip(self.taken, taken, strict=True)]
        return f"{self.name}: response without a request" if broken else None


class ResetRules:
    """Rule of a channel in reset: nothing is offered in the cycle after an edge in reset.

    Parameters
    ----------
    name : str
        For messages.
    """

    def __init__(self, name: str):
        self.name = name
        self.before = False

    def step(self, reset: bool, valid: bool) -> str | None:
        """Take in one clock edge: whether it is in reset, and what is offered."""
        broken = self.before and valid
        self.before = reset
        return f"{self.name}: valid after an edge in reset" if broken else None


class _Channel:
    """Handles of a channel."""

    def __init__(self, dut: Any, prefix: str, separator: str, fields: tuple[str, ...]):
        self.name = prefix
        self.valid = getattr(dut, f"{prefix}{separator}valid")
        self.ready = getattr(dut, f"{prefix}{separator}ready")
        self.fields = [getattr(dut, f"{prefix}{separator}{field}") for field in fields]

    def sample(self) -> tuple[bool, bool, tuple[int, ...]]:
        """Valid, ready and, if valid, the payload; unknown values raise an error."""
        valid, ready = bool(int(self.valid.value)), bool(int(self.ready.value))
        return valid, ready, tuple(int(field.value) for field in self.fields) if valid else ()


class Source:
    """Sends payloads; valid does not wait for ready, and rises late at random.

    Parameters
    ----------
    channel : _Channel
        Where to.
    rng : random.Random
        Decides on stalls.
    stall : float
        Probability of a cycle without a new payload.
    """

    def __init__(self, channel: _Channel, rng: random.Random, stall: float):
        self.channel, self.rng, self.stall = channel, rng, stall
        self.queue: deque[tuple[int, ...]] = deque()
        self.offering = self.moved = False
        self.sent = 0
        channel.valid.value = 0

    def step(self) -> None:
        """Once in a cycle, after its clock edge."""
        self.moved = self.offering and bool(int(self.channel.ready.value))
        self.sent += self.moved
        if self.moved or not self.offering:
            self.offering = bool(self.queue) and self.rng.random() >= self.stall
            payload = self.queue.popleft() if self.offering else [self.rng.getrandbits(len(f)) for f in self.fields]
            for field, value in zip(self.fields, payload, strict=True):
                field.value = value & ((1 << len(field)) - 1)
            self.channel.valid.value = int(self.offering)

    @property
    def fields(self) -> list[Any]:
        """Handles of the payload."""
        return self.channel.fields

    @property
    def idle(self) -> bool:
        """Whether everything was taken."""
        return not self.queue and not self.offering


class Sink:
    """Takes payloads, checks the channel's rules; ready is low at random.

    Parameters
    ----------
    channel : _Channel
        Where from.
    rng : random.Random
        Decides on stalls.
    stall : float
        Probability that ready is low in a cycle.
    """

    def __init__(self, channel: _Channel, rng: random.Random, stall: float):
        self.channel, self.rng, self.stall = channel, rng, stall
        self.rules = ChannelRules(channel.name)
        self.reset_rules = ResetRules(channel.name)
        self.taken: list[tuple[int, ...]] = []
        self.valid = self.ready = False
        channel.ready.value = 0

    def step(self) -> str | None:
        """Once in a cycle, after its clock edge; the rule that was broken."""
        self.valid, self.ready, payload = self.channel.sample()
        if self.valid and self.ready:
            self.taken.append(payload)
        self.channel.ready.value = int(self.rng.random() >= self.stall)
        return self.rules.step(self.valid, self.ready, payload)


class AxiBench:
    """All agents around one accelerator with AXI.

    Parameters
    ----------
    dut : cocotb handle
        The module ``NAME_axi``.
    stall : float
        Probability of a stall in each cycle on each channel.
    seed : int
        Of the stalls.
    """

    def __init__(self, dut: Any, stall: float, seed: int):
        self.dut = dut
        rng = random.Random(seed)
        user = ("user",) if hasattr(dut, "s_axis_tuser") else ()
        self.features = Source(_Channel(dut, "s_axis", "_t", ("data", "last", *user)), rng, stall)
        self.logits = Sink(_Channel(dut, "m_axis_logits", "_t", ("data", "last")), rng, stall)
        self.decisions = Sink(_Channel(dut, "m_axis_decision", "_t", ("data", "last")), rng, stall)
        self._aw = Source(_Channel(dut, "s_axil_aw", "", ("addr", "prot")), rng, stall)
        self._w = Source(_Channel(dut, "s_axil_w", "", ("data", "strb")), rng, stall)
        self._ar = Source(_Channel(dut, "s_axil_ar", "", ("addr", "prot")), rng, stall)
        self._b = Sink(_Channel(dut, "s_axil_b", "", ("resp",)), rng, stall)
        self._r = Sink(_Channel(dut, "s_axil_r", "", ("data", "resp")), rng, stall)
        self._write_rules, self._read_rules = ResponseRules("s_axil_b", 2), ResponseRules("s_axil_r", 1)
        self._waiting: dict[str, deque[Event]] = {"b": deque(), "r": deque()}
        self._requests = [0, 0]
        self.violations: list[str] = []
        self.cycle = 0
        self._task: Any = None

    async def start(self, reset_cycles: int = 4) -> None:
        """Reset the accelerator, and start all agents."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 2)  # outputs are unknown until the first edge in reset
        self._task = cocotb.start_soon(self._run())
        await ClockCycles(self.dut.aclk, reset_cycles)
        self.dut.aresetn.value = 1

    def stop(self) -> None:
        """Stop all agents, and put the accelerator into reset."""
        if self._task is not None:
            self._task.cancel()
        self.dut.aresetn.value = 0

    async def _run(self) -> None:
        while True:
            await RisingEdge(self.dut.aclk)
            self.cycle += 1
            for source in (self.features, self._aw, self._w, self._ar):
                source.step()
            sinks = (self.logits, self.decisions, self._b, self._r)
            broken = [sink.step() for sink in sinks]
            reset = not int(self.dut.aresetn.value)
            broken += [sink.reset_rules.step(reset, sink.valid) for sink in sinks]
            broken.append(self._write_rules.step((self._aw.moved, self._w.moved), self._b.valid, self._b.ready))
            broken.append(self._read_rules.step((self._ar.moved,), self._r.valid, self._r.ready))
            self.violations += [f"cycle {self.cycle}: {rule}" for rule in broken if rule]
            for name, sink in (("b", self._b), ("r", self._r)):
                if sink.valid and sink.ready and self._waiting[name]:
                    self._waiting[name].popleft().set()

    async def write(self, address: int, data: int, strobes: int = 15) -> int:
        """Write a register; the response."""
        order = self._requests[0]
        self._requests[0] += 1
        self._aw.queue.append((address, 0))
        self._w.queue.append((data, strobes))
        await self._answer("b")
        return self._b.taken[order][0]

    async def read(self, address: int) -> tuple[int, int]:
        """Read a register; its value and the response."""
        order = self._requests[1]
        self._requests[1] += 1
        self._ar.queue.append((address, 0))
        await self._answer("r")
        value, response = self._r.taken[order]
        return value, response

    async def _answer(self, name: str) -> None:
        event = Event()
        self._waiting[name].append(event)
        await event.wait()

    def send(self, values: tuple[int, ...], end: bool = False) -> None:
        """Queue one frame."""
        for index, value in enumerate(values):
            last = index == len(values) - 1
            self.features.queue.append((value, int(last), int(last and end))[: len(self.features.fields)])

    async def sent(self) -> None:
        """Wait until every frame queued was taken."""
        while not self.features.idle:
            await RisingEdge(self.dut.aclk)
