// Behavioural model of the ECP5's 18 kbit block RAM, for simulation only.
// Covers what hw/cells/dp16kd.py uses: one clock, output registers, both ports of one width
// (18, 9, 4, 2, 1), or 36 bits with port A writing and port B reading. A word that is read while
// the other port writes it comes out inverted: the cell's own answer is undefined.
// Written from Lattice FPGA-TN-02204 (TN1264), ECP5 and ECP5-5G Memory Usage Guide.
module DP16KD #(
    parameter DATA_WIDTH_A = 18, parameter DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG", parameter REGMODE_B = "NOREG",
    parameter RESETMODE = "SYNC", parameter ASYNC_RESET_RELEASE = "SYNC",
    parameter CSDECODE_A = "0b000", parameter CSDECODE_B = "0b000",
    parameter WRITEMODE_A = "NORMAL", parameter WRITEMODE_B = "NORMAL",
    parameter CLKAMUX = "CLKA", parameter CLKBMUX = "CLKB",
    parameter GSR = "ENABLED"
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

    initial begin
        if (REGMODE_A != "OUTREG" || REGMODE_B != "OUTREG" || RESETMODE != "SYNC"
            || CSDECODE_A != "0b000" || CSDECODE_B != "0b000" || CLKAMUX != "CLKA"
            || CLKBMUX != "CLKB" || WRITEMODE_A != "NORMAL" || WRITEMODE_B != "NORMAL"
            || GSR != "DISABLED" || DATA_WIDTH_A != DATA_WIDTH_B)
            $fatal(1, "DP16KD: a parameter this model does not cover");
    end
    always @(posedge CLKA)
        if (!CEA || !CEB || !OCEA || !OCEB || RSTA || RSTB || CSA0 || CSA1 || CSA2
            || CSB0 || CSB1 || CSB2)
            $fatal(1, "DP16KD: a control pin this model does not cover");

    generate
        if (DATA_WIDTH_A == 36) begin : pseudo
            // Address in pins 13..5, byte enables in 3..0 of the writing port.
            reg [35:0] words [0:511];
            reg [35:0] array, out;
            wire [8:0] wa = ada[13:5], ra = adb[13:5];
            assign {dob, doa} = out;
            always @(posedge CLKA) begin
                out <= array;
                array <= (WEA && ada[3:0] != 0 && wa == ra) ? ~words[ra] : words[ra];
                if (WEA) begin
                    if (&ada[3:0])
                        words[wa] <= {dib, dia};
                    else if (|ada[3:0])
                        $fatal(1, "DP16KD: byte enables of 36 bits must all be alike");
                end
                if (WEB)
                    $fatal(1, "DP16KD: port B of 36 bits cannot write");
            end
        end else if (DATA_WIDTH_A == 18) begin : x18
            // Address in pins 13..4, byte enables in 1..0.
            reg [17:0] words [0:1023];
            reg [17:0] array_a, array_b, out_a, out_b;
            wire [9:0] aa = ada[13:4], ab = adb[13:4];
            wire [17:0] mask_a = {{9{ada[1]}}, {9{ada[0]}}}, mask_b = {{9{adb[1]}}, {9{adb[0]}}};
            assign doa = out_a;
            assign dob = out_b;
            always @(posedge CLKA) begin
                out_a <= array_a;
                out_b <= array_b;
                if (!WEA) array_a <= (WEB && aa == ab) ? ~words[aa] : words[aa];
                if (!WEB) array_b <= (WEA && aa == ab) ? ~words[ab] : words[ab];
                if (WEA) words[aa] <= (words[aa] & ~mask_a) | (dia & mask_a);
                if (WEB) words[ab] <= (words[ab] & ~mask_b) | (dib & mask_b);
            end
        end else begin : narrow
            // Address in the highest pins; 9 bits have a parity bit, 4 to 1 bits do not.
            localparam W = DATA_WIDTH_A;
            localparam LOW = W == 9 ? 3 : W == 4 ? 2 : W == 2 ? 1 : 0;
            reg [W-1:0] words [0:(16384 >> LOW) - 1];
            reg [W-1:0] array_a, array_b, out_a, out_b;
            wire [13-LOW:0] aa = ada[13:LOW], ab = adb[13:LOW];
            assign doa = {{(18-W){1'b0}}, out_a};
            assign dob = {{(18-W){1'b0}}, out_b};
            initial if (W != 9 && W != 4 && W != 2 && W != 1)
                $fatal(1, "DP16KD: width %0d is not covered", W);
            always @(posedge CLKA) begin
                out_a <= array_a;
                out_b <= array_b;
                if (!WEA) array_a <= (WEB && aa == ab) ? ~words[aa] : words[aa];
                if (!WEB) array_b <= (WEA && aa == ab) ? ~words[ab] : words[ab];
                if (WEA) words[aa] <= dia[W-1:0];
                if (WEB) words[ab] <= dib[W-1:0];
            end
        end
    endgenerate
endmodule
