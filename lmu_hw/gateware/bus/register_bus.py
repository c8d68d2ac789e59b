"""The bus between an interface and the registers: single cycles, answered at once."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.host.registers import ADDRESS_WIDTH

__all__ = ["RegisterBus"]


class RegisterBus(wiring.Signature):
    """Reads and writes of whole 32-bit registers, as the interface sees them.

    Members
    -------
    write : Out(1)
        In this cycle, write `write_data` to register `write_address`, or be refused by `write_error`.
    write_address, read_address : Out
        Number of a register: its byte address over 4.
    write_data : Out(32)
        The value.
    write_strobes : Out(4)
        The bytes of it to write.
    write_error : In(1)
        With `write`: refused.
    read_data : In(32)
        Value of the register `read_address`, 0 if there is none.
    read_error : In(1)
        There is no register `read_address`.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "write": Out(1),
                "write_address": Out(ADDRESS_WIDTH - 2),
                "write_data": Out(32),
                "write_strobes": Out(4),
                "write_error": In(1),
                "read_address": Out(ADDRESS_WIDTH - 2),
                "read_data": In(32),
                "read_error": In(1),
            }
        )
