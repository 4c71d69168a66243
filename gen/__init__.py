"""The generator: a network and a configuration become a program image, Verilog and reports."""
