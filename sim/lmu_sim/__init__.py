"""Running hardware: cocotb benches, simulator runners and the compiled batch simulator."""
