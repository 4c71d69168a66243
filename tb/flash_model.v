// An SPI flash with QE bit, apart from tb/flash_model.py so that both must agree with the reader:
// reads over 1, 2 and 4 wires, deep power-down until 0xAB. What it was not made for stops the
// simulation. The file flash.hex is its contents from BASE on.
module flash_model #(parameter BASE = 0, BYTES = 65536, RELEASE_CYCLES = 36) (
    input clk, cs_n, sck, input [3:0] dq_o, dq_oe, output [3:0] dq_i);
  reg [7:0] memory [0:BYTES - 1];
  integer n;
  initial begin
    for (n = 0; n < BYTES; n = n + 1) memory[n] = 8'hFF;
    $readmemh("flash.hex", memory);
  end

  reg asleep = 1;
  reg [6:0] clocks = 0;        // of the head; stays at the last of the dummies
  reg [31:0] head = 0;
  reg [26:0] bits = 0;         // that were sent
  reg [15:0] rest = 0;
  wire [7:0] opcode = head[31:24];
  wire reads = !asleep && clocks == 40 && (opcode == 'h0B || opcode == 'h3B || opcode == 'h6B);
  wire [2:0] wires = opcode == 'h0B ? 1 : opcode == 'h3B ? 2 : 4;
  wire [23:0] address = head[23:0] + bits[26:3] - BASE;
  wire [7:0] here = address < BYTES ? memory[address] : 8'hFF;
  wire [7:0] left = here << bits[2:0];
  wire [3:0] drive = !reads || cs_n ? 0 : wires == 1 ? 2 : wires == 2 ? 3 : 15;
  wire [3:0] sent = wires == 1 ? {2'b0, left[7], 1'b0} : wires == 2 ? {2'b0, left[7:6]} : left[7:4];
  reg [3:0] noise = 5;
  assign dq_i = (sent & drive) | (noise & ~drive);

  wire pulse = sck & ~clk;
  always @(posedge pulse) begin
    if (cs_n) stop("clocked without being selected");
    if (clocks < 32) begin
      if (!dq_oe[0]) stop("given no bit of the head");
      head <= {head[30:0], dq_o[0]};
    end
  end
  always @(negedge pulse) begin
    noise <= {noise[2:0], noise[3] ^ noise[2]};
    if (clocks < 40) clocks <= clocks + 1;
    else bits <= bits + wires;
  end
  always @(posedge clk) begin
    if (dq_oe & drive) stop("driven against");
    if (rest != 0) rest <= rest - 1;
  end
  always @(negedge cs_n) if (rest != 0) stop("selected while it woke up");
  always @(posedge cs_n) begin
    if (asleep && clocks >= 8 && opcode == 'hAB) begin
      asleep <= 0;
      rest <= RELEASE_CYCLES;
    end
    clocks <= 0;
    bits <= 0;
  end

  task stop(input [31 * 8 - 1:0] what);
    begin
      $display("the flash is %0s", what);
      $stop;
    end
  endtask
endmodule
