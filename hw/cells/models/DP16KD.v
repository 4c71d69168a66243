// Behavioural model of the ECP5's 18 kbit block RAM, for the simulation of RTL and netlists.
// Ports of 1, 2, 4, 9 or 18 bits, alike or not; or port A writes 36 bits and port B reads any width.
// A bit that is read while the other port writes it comes out inverted: the cell's own answer is
// undefined. Both ports writing one bit end the simulation. No initial contents, no global reset.
// RST clears what a port shows, whatever CE and OCE say, and suppresses its writes. Better leave it:
// an ECP5 was seen to read zeros where it was driven (github.com/thejefflarson/little-cpu/pull/272).
// Written from Lattice FPGA-TN-02204 (TN1264), ECP5 and ECP5-5G Memory Usage Guide; order of bits
// at unlike widths, and reset, as in Yosys' lattice/brams_16kd.txt and brams_map_16kd.v.
module DP16KD #(
    parameter DATA_WIDTH_A = 18, parameter DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG", parameter REGMODE_B = "NOREG",
    parameter RESETMODE = "SYNC", parameter ASYNC_RESET_RELEASE = "SYNC",
    parameter CSDECODE_A = "0b000", parameter CSDECODE_B = "0b000",
    parameter WRITEMODE_A = "NORMAL", parameter WRITEMODE_B = "NORMAL",
    parameter CLKAMUX = "CLKA", parameter CLKBMUX = "CLKB",
    parameter GSR = "DISABLED"
) (
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    input DIA4, DIA3, DIA2, DIA1, DIA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    input DIB4, DIB3, DIB2, DIB1, DIB0,
    input CLKA, CEA, OCEA, WEA, RSTA, CSA2, CSA1, CSA0,
    input CLKB, CEB, OCEB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    output DOA4, DOA3, DOA2, DOA1, DOA0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    output DOB4, DOB3, DOB2, DOB1, DOB0
);
    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2,
                       ADA1, ADA0};
    wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2,
                       ADB1, ADB0};
    wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7,
                       DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7,
                       DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [17:0] doa, dob;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
            DOA4, DOA3, DOA2, DOA1, DOA0} = doa;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
            DOB4, DOB3, DOB2, DOB1, DOB0} = dob;

    localparam WIDE = DATA_WIDTH_A == 36;  // pseudo dual port: read data leave on A and B
    reg [35:0] lines [0:511];              // four bytes; widths below 9 leave the ninth bits alone
    wire [8:0] line [0:1];
    wire [35:0] writes [0:1];              // bits of the line that a port writes at its next edge
    wire [35:0] shown [0:1];
    wire clash = line[0] == line[1];
    assign doa = WIDE ? shown[1][17:0] : shown[0][17:0];
    assign dob = DATA_WIDTH_B == 36 ? shown[1][35:18] : shown[1][17:0];

    initial if (GSR == "ENABLED" || DATA_WIDTH_B == 36 && !WIDE)
        $fatal(1, "DP16KD: a parameter this model does not cover");

    genvar p;
    generate for (p = 0; p < 2; p = p + 1) begin : port
        localparam W = p ? DATA_WIDTH_B : DATA_WIDTH_A;
        localparam BYTES = W == 36 ? 4 : W == 18 ? 2 : 1, BITS = W > 9 ? 9 : W;
        localparam REGISTER = p ? REGMODE_B == "OUTREG" : REGMODE_A == "OUTREG";
        localparam THROUGH = p ? WRITEMODE_B == "WRITETHROUGH" : WRITEMODE_A == "WRITETHROUGH";
        localparam BEFORE = p ? WRITEMODE_B == "READBEFOREWRITE" : WRITEMODE_A == "READBEFOREWRITE";
        localparam INVERT = p ? CLKBMUX == "INV" : CLKAMUX == "INV";
        localparam [39:0] DECODE = p ? CSDECODE_B : CSDECODE_A;  // "0b", CS2, CS1, CS0
        localparam [35:0] WORD = (36'd1 << W) - 36'd1;
        wire clk = (p ? CLKB : CLKA) ^ INVERT, rst = p ? RSTB : RSTA;
        wire clear = RESETMODE == "ASYNC" && rst;
        wire ce = p ? CEB : CEA, oce = p ? OCEB : OCEA, we = p ? WEB : WEA;
        wire [2:0] cs = p ? {CSB2, CSB1, CSB0} : {CSA2, CSA1, CSA0};
        wire on = ce && cs == {DECODE[16], DECODE[8], DECODE[0]};
        // The address is at the top; wide ports have their byte enables at the bottom.
        wire [13:0] ad = p ? adb : ada;
        wire [35:0] di = WIDE ? {dib, dia} : p ? dib : dia;
        wire [BYTES-1:0] enables = W >= 18 ? ad[BYTES-1:0] : 1'b1;
        wire [5:0] low = W == 36 ? 0 : W == 18 ? 18 * ad[4] : 9 * ad[4:3]
            + (W == 4 ? 4 * ad[2] : W == 2 ? 2 * ad[2:1] : W == 1 ? ad[2:0] : 0);
        reg [35:0] mask, stored, array, out;
        integer n;
        always @(*) begin
            mask = 0;
            for (n = 0; n < BYTES; n = n + 1)
                mask[9*n +: BITS] = {BITS{enables[n] && on && we && !rst}};
        end
        assign line[p] = ad[13:5];
        assign writes[p] = mask << low;
        assign shown[p] = REGISTER ? out : array;

        initial if (W != 36 && W != 18 && W != 9 && W != 4 && W != 2 && W != 1)
            $fatal(1, "DP16KD: width %0d does not exist", W);
        always @(posedge clk or posedge clear)
            if (rst) begin
                array <= 0;
                out <= 0;
            end else begin
                if (oce) out <= array;
                stored = lines[line[p]] ^ (clash ? writes[1 - p] : 36'd0);
                if (THROUGH) stored = stored & ~writes[p] | di << low & writes[p];
                if (on && (!we || THROUGH || BEFORE)) array <= stored >> low & WORD;
            end
        always @(posedge clk) begin
            for (n = 0; n < BYTES; n = n + 1)
                if (mask[9*n]) lines[line[p]][low + 9 * n +: BITS] <= di[9*n +: BITS];
            if (clash && (writes[0] & writes[1]) != 0)
                $fatal(1, "DP16KD: both ports write one bit");
            if (WIDE && p == 1 && we)
                $fatal(1, "DP16KD: port B cannot write where port A has 36 bits");
        end
    end endgenerate
endmodule
