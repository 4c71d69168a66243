// Behavioural models of the ECP5's cells at the rim of a board, for simulation only.
// Written from Lattice FPGA-TN-02200 (PLL), FPGA-TN-02039 (USRMCLK) and FPGA-TN-02032 (pads).

// The output runs at the input's rate: whoever drives that drives it at the core's.
module EHXPLLL #(
    parameter FEEDBK_PATH = "", parameter CLKOS3_ENABLE = "", parameter CLKOS3_DIV = 0,
    parameter CLKI_DIV = 0, parameter CLKFB_DIV = 0, parameter CLKOP_ENABLE = "",
    parameter CLKOP_DIV = 0, parameter CLKOP_CPHASE = 0, parameter CLKOP_FPHASE = 0
) (
    input CLKI, RST, STDBY, output CLKOP, output LOCK
);
    reg [5:0] cycles = 0;
    initial if (FEEDBK_PATH != "INT_OS3" || CLKOS3_ENABLE != "ENABLED" || CLKOS3_DIV != 1)
        $fatal(1, "EHXPLLL: a parameter this model does not cover");
    assign CLKOP = CLKI;
    assign LOCK = cycles[5];
    always @(posedge CLKI) cycles <= RST || STDBY ? 0 : cycles + {5'b0, !LOCK};
endmodule

// The configuration clock's pin; a test bench looks at `pin`.
module USRMCLK (input USRMCLKI, USRMCLKTS);
    wire pin = USRMCLKTS ? 1'bz : USRMCLKI;
endmodule

module IB (input I, output O);
    assign O = I;
endmodule

module OBZ (input I, T, output O);
    assign O = T ? 1'bz : I;
endmodule

module BB (input I, T, output O, inout B);
    assign B = T ? 1'bz : I;
    assign O = B;
endmodule
