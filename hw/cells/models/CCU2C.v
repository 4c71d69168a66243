// Behavioural model of the ECP5's pair of LUTs with carry, for simulation only.
// Covers what hw/cells/gated.py uses: no injected carry.
// Written from Lattice FPGA-TN-02032, ECP5 and ECP5-5G, slices in ripple mode.
module CCU2C #(
    parameter [15:0] INIT0 = 0, parameter [15:0] INIT1 = 0,
    parameter INJECT1_0 = "YES", parameter INJECT1_1 = "YES"
) (
    input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
    output S0, S1, COUT
);
    initial if (INJECT1_0 != "NO" || INJECT1_1 != "NO")
        $fatal(1, "CCU2C: a parameter this model does not cover");
    wire p0 = INIT0[{D0, C0, B0, A0}], p1 = INIT1[{D1, C1, B1, A1}];
    wire c0 = p0 ? CIN : INIT0[{2'b00, B0, A0}];
    assign S0 = p0 ^ CIN, S1 = p1 ^ c0;
    assign COUT = p1 ? c0 : INIT1[{2'b00, B1, A1}];
endmodule
