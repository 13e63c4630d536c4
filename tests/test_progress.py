import logging

import pytest

from koilo.progress import clock, log, log_to_file, progress, start_logging


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")], ids=str
)
def test_a_duration_reads_as_a_clock(seconds, shown):
    assert clock(seconds) == shown


def test_messages_go_to_the_standard_error_of_the_moment_and_only_once(capsys):
    start_logging()
    start_logging()
    log.info("12 slides")
    assert capsys.readouterr().err == "12 slides\n"


def test_tracebacks_and_details_go_to_the_file_alone(tmp_path, capsys):
    start_logging()
    with log_to_file(tmp_path / "run.log"):
        try:
            raise ValueError("broken")
        except ValueError:
            log.debug("slide a failed", exc_info=True)
        log.info("1 slide failed")
    written = (tmp_path / "run.log").read_text()
    assert "Traceback" in written
    assert "ValueError: broken" in written
    assert capsys.readouterr().err == "1 slide failed\n"
    assert all(not isinstance(handler, logging.FileHandler) for handler in log.handlers)


def test_where_there_is_no_terminal_progress_is_a_plain_line_with_an_eta(monkeypatch, capsys):
    start_logging()
    monkeypatch.setattr("koilo.progress._LINE_EVERY_S", 0.0)
    with progress("reading", 4, unit="tiles") as advance:
        advance(1)
    shown = capsys.readouterr().err
    assert shown.startswith("reading: 1 of 4 tiles, ETA ")
