"""What tests of accelerators use: random networks and activity, bus and SPI hosts for cocotb benches."""
