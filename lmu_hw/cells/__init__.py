"""What a cell library knows: Liberty, process design kits, SRAM macros, netlists, and delays."""
