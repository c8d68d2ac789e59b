"""What a host says to the hardware: registers, packets, and SPI."""
