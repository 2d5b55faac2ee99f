from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from eventmesh.errors import StateError
from eventmesh.state import directory

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:25 / /mnt/share rw,relatime shared:1 - nfs4 server:/x rw
31 22 0:26 / /mnt/share/local rw - ext4 /dev/sdb rw
32 22 0:27 / /mnt/my\\040files rw - cifs //server/x rw
33 22 0:28 / /data rw - ext4 /dev/sdc rw
34 33 0:29 / /data rw - fuse.sshfs me@there: rw
short line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/.eventmesh", "ext4"),
        ("/mnt/share", "nfs4"),
        ("/mnt/share/a/b", "nfs4"),
        ("/mnt/shared", "ext4"),
        ("/mnt/share/local/a", "ext4"),
        ("/mnt/my files/a", "cifs"),
        ("/data/a", "fuse.sshfs"),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, kind: str) -> None:
    assert directory.find_file_system(Path(path), MOUNTS) == kind


def test_no_mount_is_no_answer() -> None:
    assert directory.find_file_system(Path("/a"), "") is None


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 254:0 / {tmp_path}/state rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(directory, "_MOUNTS", mounts)
    with pytest.raises(StateError, match=r"network file system \(nfs4\).*local disk"):
        directory.prepare_directory(tmp_path / "state")


def test_a_missing_directory_is_made_private(tmp_path: Path) -> None:
    made = directory.prepare_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert directory.prepare_directory(made) == made


def test_a_directory_everyone_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StateError, match=f"writable by everyone.*chmod o-w {tmp_path}"):
        directory.prepare_directory(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
def test_a_directory_of_someone_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(StateError, match="belongs to user 12345, but eventmesh runs as user 0"):
        directory.prepare_directory(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StateError, match="not writable"):
        directory.prepare_directory(tmp_path)


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match="cannot make the state directory"):
        directory.prepare_directory(tmp_path / "state")
    with pytest.raises(StateError, match="is not a directory"):
        directory.check_directory(tmp_path / "state")


def test_a_place_where_nothing_can_be_made_is_refused() -> None:
    with pytest.raises(StateError, match="cannot make the state directory /proc/nothing"):
        directory.prepare_directory(Path("/proc/nothing"))


def test_a_missing_directory_is_not_made_by_a_check(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no state directory"):
        directory.check_directory(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_files_are_made_private_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "file"
    directory.make_private_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("kept")
    file.chmod(0o644)
    directory.make_private_file(file)
    assert (stat.S_IMODE(file.stat().st_mode), file.read_text()) == (0o600, "kept")


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="must be a plain file"):
        directory.make_private_file(tmp_path / "file")
    assert not (tmp_path / "elsewhere").exists()
