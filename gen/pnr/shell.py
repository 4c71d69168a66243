"""A shell that puts the core's bus behind five pins, so that any package can hold it."""

from gen.verilog import TOP
from hw.config import CoreConfig

SHELL = "shell"
TEXT = """\
// While `shift` is high, an access {{go, we, sel, adr, dat_w}} enters at `si`, `go` first, and the
// former answer {{irq, err, ack, dat_r}} leaves at `so`, irq first. While it is low, the access
// runs once. Every path between core and shell starts and ends in a register.{pages_text}
module {shell} (input clk, input rst, input shift, input si, output so{pages_pins});
  reg [1:0] reset = 2'b11;
  reg shifting = 1, in = 0, strobe = 0, finished = 0;
  reg [{request_high}:0] request = 0;
  wire [31:0] dat_r;
  wire ack, err, irq;
  always @(posedge clk) begin
    reset <= {{reset[0], rst}};
    shifting <= shift;
    in <= si;
    if (shifting) begin
      request <= {{request[{request_high} - 1:0], in}};
      finished <= 0;
      strobe <= 0;
    end else begin
      strobe <= request[{request_high}] & ~finished & ~(strobe & (ack | err));
      if (strobe & (ack | err)) begin
        request[{request_high}:{answer_low}] <= {{irq, err, ack, dat_r}};
        finished <= 1;
      end
    end
  end
{pages_logic}  assign so = request[{request_high}];
  {top} core (
    .clk(clk), .rst(reset[1]), .irq(irq), .bus__cyc(strobe), .bus__stb(strobe),
    .bus__we(request[{we}]), .bus__sel(request[{we} - 1:{we} - 4]),
    .bus__adr(request[{we} - 5:32]), .bus__dat_w(request[31:0]),
    .bus__dat_r(dat_r), .bus__ack(ack), .bus__err(err){pages_ports});
endmodule
"""
PAGES = {
    "pages_text": "\n// A pulse on `page` offers dat_w as a word of the backing store.",
    "pages_pins": ", input page, output more",
    "pages_logic": """\
  reg page_in = 0, more_out = 0;
  wire ready, rewind;
  always @(posedge clk) begin
    page_in <= page;
    more_out <= ready & ~rewind;
  end
  assign more = more_out;
""",
    "pages_ports": """,
    .pages__payload(request[31:0]), .pages__valid(page_in), .pages__ready(ready),
    .rewind(rewind)"""}


def shell(config: CoreConfig) -> str:
    """Return the Verilog of the shell around a core."""
    we = 32 + config.space_bits + 3 + 4
    pages = PAGES if config.pages else dict.fromkeys(PAGES, "")
    return TEXT.format(shell=SHELL, top=TOP, request_high=we + 1, answer_low=we + 2 - 35, we=we,
                       **pages)
