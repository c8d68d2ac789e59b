# Builds the top of the Arty A7: vivado -mode batch -source artya7.tcl, beside lmu_artya7.v and artya7.xdc, which
# `lmu-hw verilog MODEL --board artya7 --out DIR` writes. This project has no Vivado: the script was never run.
read_verilog lmu_artya7.v
read_xdc artya7.xdc
synth_design -top lmu_artya7 -part xc7a35ticsg324-1L
opt_design
place_design
route_design
report_utilization -file utilization.rpt
report_timing_summary -file timing.rpt
write_bitstream -force lmu_artya7.bit
