"""Files that leave: Verilog, port lists, IP-XACT, FuseSoC cores, and the replay bundle."""
