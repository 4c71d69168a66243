// What sim/harness.cpp drives, around the shell that was synthesised (gen/pnr/shell.py): each access
// goes through its pins bit by bit. The core has no more than WAIT cycles for an answer, and no store.
module sim_top #(parameter OFFSET_BITS = 16, parameter WAIT = 16) (
  input clk, rst, cyc, stb, we,
  input [2:0] space, input [31:0] offset, dat_w, page, input page_valid,
  output [31:0] dat_r, output ack, err, irq, page_ready, rewind,
  output [31:0] line_bytes, p0_addr, p1_addr,
  output [63:0] p0_mask, p1_mask,
  output [511:0] p0_data, p1_data
);
  localparam REQUEST = 1 + 1 + 4 + 3 + OFFSET_BITS + 32;  // go, we, sel, space, offset, data
  localparam ANSWER = 3 + 32;                             // irq, err, ack, data
  // `count` of an access: 0 takes it; then the request's bits; then `shift` is low for WAIT cycles.
  localparam LOW = REQUEST + 1, HIGH = LOW + WAIT;
  localparam FIRST = HIGH + 1;                            // the shell sees `shift` a cycle later
  reg [9:0] count = 0;
  reg [REQUEST-1:0] request = 0;
  reg [ANSWER-1:0] answer = 0;
  wire so;
  wire shift = count < LOW || count >= HIGH;
  wire done = count == FIRST + (we ? 3 : ANSWER);         // of a write, the first bits will do
  always @(posedge clk) begin
    count <= cyc & stb & ~rst & ~done ? count + 1 : 0;
    request <= count != 0 ? request << 1
        : cyc & stb ? {1'b1, we, 4'hf, space, offset[OFFSET_BITS-1:0], dat_w} : 0;
    answer <= {answer[ANSWER-2:0], so};
  end
  shell netlist (.clk(clk), .rst(rst), .shift(shift), .si(request[REQUEST-1]), .so(so)
`ifdef PAGES
                 , .page(1'b0), .more()
`endif
                );
  assign dat_r = answer[31:0];
  assign {err, ack} = (we ? answer[1:0] : answer[33:32]) & {2{done}};
  assign {irq, page_ready, rewind} = 3'b001;
  assign line_bytes = 1;
  assign {p0_addr, p0_mask, p0_data, p1_addr, p1_mask, p1_data} = 0;
endmodule
