// Behavioural models of the iCE40 UltraPlus' cells at the rim of a board, for simulation only.
// Written from Lattice FPGA-TN-02052 (PLL), FPGA-DS-02008 (RGB driver) and the iCE40 Technology
// Library (SB_IO).

// Covers an output that is plain or changes with both edges of the clock, and an unregistered input.
module SB_IO #(
    parameter [5:0] PIN_TYPE = 0, parameter PULLUP = 0, parameter IO_STANDARD = ""
) (
    inout PACKAGE_PIN, input OUTPUT_CLK, OUTPUT_ENABLE, D_OUT_0, D_OUT_1, output D_IN_0
);
    localparam OUTPUT = PIN_TYPE[5:2];
    reg first, second;
    initial if (PIN_TYPE[1:0] != 1 || (OUTPUT != 0 && OUTPUT != 10 && OUTPUT != 4))
        $fatal(1, "SB_IO: a pin type this model does not cover");
    always @(posedge OUTPUT_CLK) first <= D_OUT_0;
    always @(negedge OUTPUT_CLK) second <= D_OUT_1;
    assign D_IN_0 = PACKAGE_PIN;
    generate
        if (OUTPUT == 10) assign PACKAGE_PIN = OUTPUT_ENABLE ? D_OUT_0 : 1'bz;
        if (OUTPUT == 4) assign PACKAGE_PIN = OUTPUT_CLK ? first : second;
    endgenerate
endmodule

// The output runs at the input's rate: whoever drives that drives it at the core's.
module SB_PLL40_CORE #(
    parameter FEEDBACK_PATH = "", parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0,
    parameter [2:0] DIVQ = 0, parameter [2:0] FILTER_RANGE = 0
) (
    input REFERENCECLK, RESETB, BYPASS, output PLLOUTGLOBAL, output LOCK
);
    reg [5:0] cycles = 0;
    initial if (FEEDBACK_PATH != "SIMPLE")
        $fatal(1, "SB_PLL40_CORE: a parameter this model does not cover");
    assign PLLOUTGLOBAL = REFERENCECLK;
    assign LOCK = cycles[5];
    always @(posedge REFERENCECLK)
        cycles <= RESETB && !BYPASS ? cycles + {5'b0, !LOCK} : 0;
endmodule

module SB_PLL40_PAD #(
    parameter FEEDBACK_PATH = "", parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0,
    parameter [2:0] DIVQ = 0, parameter [2:0] FILTER_RANGE = 0
) (
    input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, output LOCK
);
    SB_PLL40_CORE #(.FEEDBACK_PATH(FEEDBACK_PATH)) pll (
        .REFERENCECLK(PACKAGEPIN), .RESETB(RESETB), .BYPASS(BYPASS),
        .PLLOUTGLOBAL(PLLOUTGLOBAL), .LOCK(LOCK));
endmodule

// The LEDs light while their pins are low.
module SB_RGBA_DRV #(
    parameter CURRENT_MODE = "", parameter RGB0_CURRENT = "", parameter RGB1_CURRENT = "",
    parameter RGB2_CURRENT = ""
) (
    input CURREN, RGBLEDEN, RGB0PWM, RGB1PWM, RGB2PWM, output RGB0, RGB1, RGB2
);
    assign {RGB2, RGB1, RGB0} = ~({RGB2PWM, RGB1PWM, RGB0PWM} & {3{CURREN & RGBLEDEN}});
endmodule
