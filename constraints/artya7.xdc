# Digilent Arty A7-35T, xc7a35ticsg324-1L: pins of the top lmu_artya7.
# Made from lmu_hw/boards/board.py; never edited. Sources of the pins:
#   https://github.com/Digilent/digilent-xdc/blob/master/Arty-A7-35-Master.xdc
#   https://github.com/amaranth-lang/amaranth-boards/blob/main/amaranth_boards/arty_a7.py

# This project has no Vivado: these constraints were never run.
create_clock -name oscillator -period 10 [get_ports clk]
create_generated_clock -name divided -source [get_ports clk] -divide_by 8 [get_pins {divided_reg[2]/Q}]
set_property CFGBVS VCCO [current_design]
set_property CONFIG_VOLTAGE 3.3 [current_design]
set_property -dict {PACKAGE_PIN E3 IOSTANDARD LVCMOS33} [get_ports {clk}]
set_property -dict {PACKAGE_PIN C2 IOSTANDARD LVCMOS33} [get_ports {button_n}]
set_property -dict {PACKAGE_PIN A9 IOSTANDARD LVCMOS33} [get_ports {rx}]
set_property -dict {PACKAGE_PIN D10 IOSTANDARD LVCMOS33} [get_ports {tx}]
set_property -dict {PACKAGE_PIN H5 IOSTANDARD LVCMOS33} [get_ports {led[0]}]
set_property -dict {PACKAGE_PIN J5 IOSTANDARD LVCMOS33} [get_ports {led[1]}]
set_property -dict {PACKAGE_PIN T9 IOSTANDARD LVCMOS33} [get_ports {led[2]}]
set_property -dict {PACKAGE_PIN T10 IOSTANDARD LVCMOS33} [get_ports {led[3]}]
set_property -dict {PACKAGE_PIN F6 IOSTANDARD LVCMOS33} [get_ports {led_ready}]
set_property -dict {PACKAGE_PIN G3 IOSTANDARD LVCMOS33} [get_ports {led_trouble}]
