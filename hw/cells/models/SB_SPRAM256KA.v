// Behavioural model of the iCE40 UltraPlus' 256 kbit single-port RAM, for simulation only.
// Covers what hw/cells/ice40.py uses: never asleep. Data after a write is inverted data: the
// cell's own answer is undefined.
// Written from Lattice FPGA-TN-02022, iCE40 SPRAM Usage Guide.
module SB_SPRAM256KA (
    input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
    input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
    output reg [15:0] DATAOUT
);
    reg [15:0] words [0:16383];
    wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
    always @(posedge CLOCK) begin
        if (STANDBY || SLEEP || !POWEROFF)
            $fatal(1, "SB_SPRAM256KA: a control pin this model does not cover");
        if (CHIPSELECT) begin
            if (WREN) begin
                words[ADDRESS] <= (words[ADDRESS] & ~mask) | (DATAIN & mask);
                DATAOUT <= ~DATAIN;
            end else
                DATAOUT <= words[ADDRESS];
        end
    end
endmodule
