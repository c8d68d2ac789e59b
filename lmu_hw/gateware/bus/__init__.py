"""Wrappers of the accelerator for buses: AXI and SPI."""
