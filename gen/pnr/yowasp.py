"""Run a YoWASP tool with a stack deep enough for designs of this size; a script of its own.

``python yowasp.py MODULE FUNCTION ARGUMENT...``. WebAssembly gets 512 KiB by default, which ABC's
recursions exceed ("call stack exhausted").
"""

import importlib
import sys
import threading

import wasmtime
from wasmtime._bindings import wasmtime_config_async_stack_size_set

WASM_STACK_BYTES = 256 << 20
THREAD_STACK_BYTES = WASM_STACK_BYTES + (16 << 20)  # the tool runs in a thread of the runtime's


class DeepConfig(wasmtime.Config):
    """wasmtime's configuration, with the deep stack."""

    def __init__(self):
        super().__init__()
        # wasmtime wants the stack of calls that it does not make here to be no smaller
        wasmtime_config_async_stack_size_set(self.ptr(), WASM_STACK_BYTES)
        self.max_wasm_stack = WASM_STACK_BYTES


def main() -> int:
    """Run FUNCTION of MODULE, as the tool's own entry point would."""
    module, function, *arguments = sys.argv[1:]
    wasmtime.Config = DeepConfig
    threading.stack_size(THREAD_STACK_BYTES)
    return getattr(importlib.import_module(module), function)(arguments)


if __name__ == "__main__":
    sys.exit(main())
