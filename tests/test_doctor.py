import json
from pathlib import Path

from koilo import doctor
from koilo.doctor import DoctorConfig


def test_a_sound_installation_has_no_errors(tmp_path, capsys):
    assert doctor.doctor(DoctorConfig(out=tmp_path, json=True)) == 0
    checks = json.loads(capsys.readouterr().out)
    assert {"koilo", "torch", "openslide", "jpeg", "disk"} <= {check["name"] for check in checks}
    assert all(check["fix"] for check in checks if check["state"] != "ok")


def test_a_folder_that_cannot_be_written_is_an_error_with_a_fix(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("in the way")
    assert doctor.doctor(DoctorConfig(out=file)) == 1
    shown = capsys.readouterr().out
    assert "a file stands where a folder is needed" in shown
    assert "choose another folder" in shown


def test_a_torchvision_that_does_not_load_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "0.29.2")

    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    check = doctor._check_torchvision()
    assert check.state == "error"
    assert "uninstall torchvision" in check.fix


def test_a_check_that_itself_fails_is_an_error_and_the_others_still_run(monkeypatch):
    def explode():
        raise OSError("library not found")

    monkeypatch.setattr(doctor, "_check_openslide", explode)
    checks = {check.name: check for check in doctor.run_checks(Path("."))}
    assert checks["openslide"].state == "error"
    assert "library not found" in checks["openslide"].message
    assert checks["jpeg"].state == "ok"
