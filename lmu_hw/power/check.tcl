# Computes in OpenSTA 2.0.17 (Debian: apt-get install opensta) the power that lmu-hw computes by that version's rules.
# Run it in its own folder:
#
#   sta -no_splash -exit check.tcl               the first kind of sound
#   SOUND=noise sta -no_splash -exit check.tcl   another one; settings.tcl lists them
#
# The last line that it prints says whether the sums agree within 0.2 %. The exit status does not: that version of
# OpenSTA always ends with 0.
#
# The netlist, wires and activities lie beside this script. The cells are read from the Liberty files that settings.tcl
# names: change the paths there if yours are elsewhere.

# The `source` of that version goes on after an error; this one stops.
proc include {path} {
  set file [open $path]
  set text [read $file]
  close $file
  uplevel #0 $text
}

# That version takes an energy that is a single number for joules, whatever the units of the file are. The number is
# written as a table instead. Compressed files are read here too.
proc load_liberty {path} {
  set file [open $path rb]
  set text [read $file]
  close $file
  set copied 0
  if {[string match *.gz $path]} {
    set text [zlib gunzip $text]
    set copied 1
  }
  set scalar {(rise_power|fall_power)(\s*\(\s*)"?scalar"?(\s*\)\s*\{\s*values\s*\(\s*)"?([-+.0-9eE]+)"?(\s*\))}
  if {[regsub -all $scalar $text {\1\2lmu_hw_flat\3"\4, \4"\5} text]} {
    set flat {power_lut_template (lmu_hw_flat) { variable_1 : input_transition_time; index_1 ("0, 1"); }}
    regsub {library\s*\([^)]*\)\s*\{} $text "&\n$flat\n" text
    set copied 1
  }
  if {!$copied} {
    read_liberty $path
    return
  }
  set file [file tempfile copy lmu-hw-check.lib]
  fconfigure $file -translation binary
  puts -nonewline $file $text
  close $file
  read_liberty $copy
  file delete $copy
}

# Activity of a net that is no clock: changes per cycle, part of the time at 1, and its pins. The public command
# `set_power_activity -pins` fails in that version; this is the one below it.
proc a {toggles duty args} {
  foreach pin $args {
    sta::set_power_pin_activity [get_pins $pin] $toggles $duty
  }
}

proc check {} {
  global env expected frame_rate liberty sounds top
  include settings.tcl
  if {[sta::version] != "2.0.17"} {
    puts "This is OpenSTA [sta::version]. The expected sums are those of 2.0.17; other versions have other rules."
  }
  set sound [expr {[info exists env(SOUND)] ? $env(SOUND) : [lindex $sounds 0]}]
  if {[lsearch $sounds $sound] < 0} {
    error "SOUND must be one of $sounds, not $sound"
  }
  foreach path $liberty {
    load_liberty $path
  }
  read_verilog netlist_opensta.v
  if {![link_design $top]} {
    error "the netlist cannot be linked"
  }
  set_cmd_units -time ns -capacitance fF
  include constraints.sdc
  include wires.sdc
  include activity_$sound.tcl
  # Watt: internal, switching, leakage; more values follow.
  set watts [lrange [sta::design_power [sta::cmd_corner]] 0 2]
  set worst 0
  puts [format "%-20s %12s %12s %12s" "nJ/frame, $sound" OpenSTA lmu-hw difference]
  foreach name {internal switching leakage} watt $watts sum $expected($sound) {
    set energy [expr {$watt / $frame_rate * 1e9}]
    set difference [expr {$sum ? 100 * ($energy / $sum - 1) : 0}]
    set worst [expr {max($worst, abs($difference))}]
    puts [format "%-20s %12.5f %12.5f %10.4f %%" $name $energy $sum $difference]
  }
  puts [format "largest difference: %.4f %%" $worst]
  puts [expr {$worst <= 0.2 ? "PASS: the sums agree within 0.2 %" : "FAIL: the sums differ by more than 0.2 %"}]
}

if {[catch check message]} {
  puts "FAIL: $message"
}
exit
