// Behavioural model of the iCE40's 4 kbit block RAM, for simulation only.
// Covers what hw/cells/ice40.py uses: one clock, both ports of one width, clock enables of the
// write port, no mask. A word that is read while it is written comes out inverted: the cell's
// own answer is undefined.
// Written from Lattice FPGA-TN-02002, Memory Usage Guide for iCE40 Devices.
module SB_RAM40_4K #(
    parameter READ_MODE = 0, parameter WRITE_MODE = 0
) (
    input RCLK, RCLKE, RE, input [10:0] RADDR, output [15:0] RDATA,
    input WCLK, WCLKE, WE, input [10:0] WADDR, input [15:0] WDATA, MASK
);
    localparam W = 16 >> READ_MODE;
    reg [W-1:0] words [0:(256 << READ_MODE) - 1];
    reg [W-1:0] out;
    wire [W-1:0] in;
    wire [7+READ_MODE:0] wa = WADDR[7+READ_MODE:0], ra = RADDR[7+READ_MODE:0];

    initial if (READ_MODE != WRITE_MODE || READ_MODE > 3 || READ_MODE < 0)
        $fatal(1, "SB_RAM40_4K: a parameter this model does not cover");
    always @(posedge RCLK)
        if (!RCLKE || !RE || !WE || MASK != 0)
            $fatal(1, "SB_RAM40_4K: a control pin this model does not cover");

    generate
        if (READ_MODE == 0) begin : x16
            assign in = WDATA;
            assign RDATA = out;
        end else if (READ_MODE == 1) begin : x8
            assign in = {WDATA[14], WDATA[12], WDATA[10], WDATA[8],
                         WDATA[6], WDATA[4], WDATA[2], WDATA[0]};
            assign RDATA = {1'b0, out[7], 1'b0, out[6], 1'b0, out[5], 1'b0, out[4],
                            1'b0, out[3], 1'b0, out[2], 1'b0, out[1], 1'b0, out[0]};
        end else if (READ_MODE == 2) begin : x4
            assign in = {WDATA[13], WDATA[9], WDATA[5], WDATA[1]};
            assign RDATA = {2'b0, out[3], 3'b0, out[2], 3'b0, out[1], 3'b0, out[0], 1'b0};
        end else begin : x2
            assign in = {WDATA[11], WDATA[3]};
            assign RDATA = {4'b0, out[1], 7'b0, out[0], 3'b0};
        end
    endgenerate
    always @(posedge RCLK) begin
        out <= (WCLKE && wa == ra) ? ~words[ra] : words[ra];
        if (WCLKE) words[wa] <= in;
    end
endmodule
