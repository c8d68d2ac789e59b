"""What the load port takes, in an accelerator with weights in RAM."""

from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import Plan

__all__ = ["load_beats", "load_words"]


def _memories(plan: Plan) -> tuple[MemoryPlan, ...]:
    """Memories that are loaded, by index."""
    return (*plan.weight_memories, plan.parameters)


def load_words(plan: Plan) -> list[tuple[int, int, int]]:
    """Words for the load port: memory (weight memories in order, then the parameters), address, data."""
    images = plan.images()
    return [
        (index, address, word)
        for index, memory in enumerate(_memories(plan))
        for address, word in enumerate(images[memory.name])
    ]


def load_beats(plan: Plan) -> int:
    """32-bit pieces that a word for the load port is written in."""
    return -(-max(memory.width for memory in _memories(plan)) // 32)
