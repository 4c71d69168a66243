"""The demo's refusals are one line; what it shows is what the tests of the command line see."""

import pytest

from sim import demo


@pytest.mark.parametrize("error", (PermissionError(13, "Permission denied", "build/demo"),
                                   OSError(28, "No space left on device")))
def test_demo_that_cannot_write_is_one_line(capsys, monkeypatch, error):
    def fail(console):
        raise error
    monkeypatch.setattr(demo, "demo", fail)
    assert demo.main() == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and error.strerror in text and text.count("\n") == 1
