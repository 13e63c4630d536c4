from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from koilo.errors import OutputError
from koilo.files import (
    atomic_path,
    ensure_folder,
    folder_lock,
    read_csv_rows,
    remove_file,
    sha256_file,
    sha256_text,
    write_bytes,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_leaves_no_part_behind(tmp_path):
    write_text(tmp_path / "new" / "ä.txt", "größe\n")
    assert (tmp_path / "new" / "ä.txt").read_bytes() == "größe\n".encode()
    assert names(tmp_path / "new") == ["ä.txt"]


def test_an_error_while_writing_keeps_the_old_file_and_removes_the_part(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def break_off():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("the writer broke")

    with pytest.raises(RuntimeError, match="the writer broke"):
        break_off()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_process_killed_between_write_and_rename_leaves_no_final_name(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from koilo.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.json")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.json").exists()
    assert all(name.endswith(".part") for name in names(tmp_path))


@pytest.mark.parametrize("write", [write_bytes, write_text, write_json])
def test_a_file_in_the_folders_place_is_one_clear_line(tmp_path, write):
    (tmp_path / "out").write_text("I am a file")
    value = {write_bytes: b"x", write_text: "x", write_json: {}}[write]
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        write(tmp_path / "out" / "a", value)
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        ensure_folder(tmp_path / "out")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        remove_file(tmp_path / "out" / "a")


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OutputError, match=r"size this process may write.*run the same command"):
            write_bytes(tmp_path / "a.bin", bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []


def test_json_refuses_what_json_cannot_say(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"p": float("nan")})
    write_json(tmp_path / "a.json", {"größe": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"größe": [1, None]}
    assert "größe" in (tmp_path / "a.json").read_text("utf-8")


def test_a_full_disk_leaves_no_probe_either(tmp_path, monkeypatch):
    def full(path, data):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        ensure_folder(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_ensure_folder_leaves_no_probe(tmp_path):
    assert names(ensure_folder(tmp_path / "a" / "b")) == []


def test_removing_what_is_not_there_is_no_error(tmp_path):
    remove_file(tmp_path / "absent")
    write_text(tmp_path / "a", "x")
    remove_file(tmp_path / "a")
    assert names(tmp_path) == []


def test_hashes_are_those_of_sha256(tmp_path):
    write_text(tmp_path / "a", "koilo")
    assert sha256_file(tmp_path / "a") == sha256_text("koilo")
    assert sha256_text("").startswith("e3b0c44298fc1c14")


def test_a_folder_is_locked_for_others_and_free_again_after_a_kill(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from koilo.files import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="in use by another koilo run"), folder_lock(tmp_path):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with folder_lock(tmp_path):
        assert (tmp_path / ".koilo.lock").exists()


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_is_read_as_windows_and_spreadsheets_write_it(tmp_path, ends, encoding):
    lines = ["slide_id,note", 'ä,"a, ""b"""', "", "c,,,", "short"]
    (tmp_path / "t.csv").write_bytes(ends.join([*lines, ""]).encode(encoding))
    columns, rows = read_csv_rows(tmp_path / "t.csv")
    assert columns == ("slide_id", "note")
    assert [list(row.values()) for row in rows] == [["ä", 'a, "b"'], ["c", ""], ["short", ""]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('id,note\na,"never closed\nb,\nc,\n', "a quote may not be closed"),
        ("id,note,split\na,pain, bleeding,train\n", "line 2 has more fields than the header"),
        ("id;note\na;b\n", "parted by ; and not by commas"),
    ],
)
def test_a_csv_that_would_be_read_otherwise_than_meant_is_refused(tmp_path, text, said):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_csv_rows(tmp_path / "t.csv")
