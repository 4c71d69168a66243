// Behavioural model of the iCE40 UltraPlus' DSP, for simulation only.
// Covers what hw/cells/mac.py uses: two 8x8 products, input and product registers, latency 2; or
// both added to C and D, with output registers, latency 3.
// Written from Lattice FPGA-TN-02007, DSP Function Usage Guide for iCE40 Devices.
module SB_MAC16 #(
    parameter NEG_TRIGGER = 1'b0, parameter C_REG = 1'b0, parameter A_REG = 1'b0,
    parameter B_REG = 1'b0, parameter D_REG = 1'b0,
    parameter TOP_8x8_MULT_REG = 1'b0, parameter BOT_8x8_MULT_REG = 1'b0,
    parameter PIPELINE_16x16_MULT_REG1 = 1'b0, parameter PIPELINE_16x16_MULT_REG2 = 1'b0,
    parameter TOPOUTPUT_SELECT = 2'b0, parameter TOPADDSUB_LOWERINPUT = 2'b0,
    parameter TOPADDSUB_UPPERINPUT = 1'b0, parameter TOPADDSUB_CARRYSELECT = 2'b0,
    parameter BOTOUTPUT_SELECT = 2'b0, parameter BOTADDSUB_LOWERINPUT = 2'b0,
    parameter BOTADDSUB_UPPERINPUT = 1'b0, parameter BOTADDSUB_CARRYSELECT = 2'b0,
    parameter MODE_8x8 = 1'b0, parameter A_SIGNED = 1'b0, parameter B_SIGNED = 1'b0
) (
    input CLK, CE, input [15:0] C, A, B, D,
    input AHOLD, BHOLD, CHOLD, DHOLD, IRSTTOP, IRSTBOT, ORSTTOP, ORSTBOT,
    input OLOADTOP, OLOADBOT, ADDSUBTOP, ADDSUBBOT, OHOLDTOP, OHOLDBOT, CI, ACCUMCI, SIGNEXTIN,
    output [31:0] O, output CO, ACCUMCO, SIGNEXTOUT
);
    reg [15:0] a, b;
    reg signed [17:0] top, bottom;
    wire signed [8:0] a1 = {A_SIGNED && a[15], a[15:8]}, a0 = {A_SIGNED && a[7], a[7:0]};
    wire signed [8:0] b1 = {B_SIGNED && b[15], b[15:8]}, b0 = {B_SIGNED && b[7], b[7:0]};
    reg [31:0] sums;
    assign O = TOPOUTPUT_SELECT == 2 ? {top[15:0], bottom[15:0]} : sums;
    assign {CO, ACCUMCO, SIGNEXTOUT} = 0;

    initial if (NEG_TRIGGER || !A_REG || !B_REG || !TOP_8x8_MULT_REG || !BOT_8x8_MULT_REG
                || TOPOUTPUT_SELECT != BOTOUTPUT_SELECT || !MODE_8x8 || C_REG || D_REG
                || TOPOUTPUT_SELECT != 2 && (TOPOUTPUT_SELECT != 1 || TOPADDSUB_LOWERINPUT != 1
                    || BOTADDSUB_LOWERINPUT != 1 || !TOPADDSUB_UPPERINPUT || !BOTADDSUB_UPPERINPUT
                    || TOPADDSUB_CARRYSELECT || BOTADDSUB_CARRYSELECT))
        $fatal(1, "SB_MAC16: a parameter this model does not cover");
    always @(posedge CLK) begin
        if (!CE || AHOLD || BHOLD || IRSTTOP || IRSTBOT || TOPOUTPUT_SELECT == 1 && (ORSTTOP
            || ORSTBOT || OLOADTOP || OLOADBOT || ADDSUBTOP || ADDSUBBOT || OHOLDTOP || OHOLDBOT))
            $fatal(1, "SB_MAC16: a control pin this model does not cover");
        a <= A;
        b <= B;
        top <= a1 * b1;
        bottom <= a0 * b0;
        sums <= {top[15:0] + C, bottom[15:0] + D};
    end
endmodule
