"""For tests: random networks and activity, AXI and SPI hosts for cocotb benches, the power rules of an old OpenSTA."""
