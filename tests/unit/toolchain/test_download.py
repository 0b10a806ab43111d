"""Downloads from a real server on this machine that breaks in the ways servers break."""

import socket
import threading
import time
from pathlib import Path

import pytest
from served import Server, sha256

import bringup.system.download
from bringup.errors import FetchError, StorageError
from bringup.system.download import GoneError, Wanted, download, shown
from bringup.system.downloads import DownloadCache, obtain_all
from bringup.system.fs import file_sha256

DATA = bytes(range(256)) * 9000  # 2.3 MB, so that more than one block goes through
HASH = sha256(DATA)


def wanted(server: Server, data: bytes = DATA, name: str = "a.whl") -> Wanted:
    server.files[f"/{name}"] = data
    return Wanted(url=f"{server.url}/{name}", sha256=sha256(data), filename=name, size=len(data))


def test_writes_the_file_and_counts_its_bytes(server, tmp_path):
    counted = []
    server.files["/a.whl"] = DATA
    made = download(f"{server.url}/a.whl", tmp_path / "x/a.whl", sha256=HASH, on_bytes=counted.append)
    assert made.read_bytes() == DATA
    assert sum(counted) == len(DATA)
    assert len(counted) > 1
    assert [path.name for path in made.parent.iterdir()] == ["a.whl"]


def test_resumes_a_broken_transfer_where_it_broke(server, tmp_path):
    server.files["/a.whl"], server.cuts["/a.whl"] = DATA, [1_500_000]
    download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH, retries=1)
    assert server.requests == [("/a.whl", ""), ("/a.whl", "bytes=1500000-")]
    assert file_sha256(tmp_path / "a.whl") == HASH


def test_a_host_that_is_silent_at_first_gets_more_time(tmp_path, monkeypatch):
    monkeypatch.setattr(bringup.system.download, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(bringup.system.download, "FIRST_PAUSE_SECONDS", 0.01)
    answered = threading.Event()

    def answer(listener: socket.socket) -> None:
        held = [listener.accept()[0] for _ in range(2)]  # keeps two requests waiting for ever
        with listener.accept()[0] as third:
            third.recv(1 << 16)
            time.sleep(0.15)  # longer than the first attempt would have waited
            third.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + DATA)
            answered.set()
        for one in held:
            one.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = threading.Thread(target=answer, args=(listener,))
        host.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.whl"
        got = download(url, tmp_path / "a.whl", sha256=HASH, retries=2)
        host.join()
    assert answered.is_set()
    assert got.read_bytes() == DATA


def test_what_has_arrived_is_kept_for_the_next_call(server, tmp_path):
    server.files["/a.whl"], server.cuts["/a.whl"] = DATA, [1000]
    with pytest.raises(FetchError, match=r"a\.whl.*127\.0\.0\.1.*1000 of 2304000 bytes") as caught:
        download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH, retries=0)
    assert "--offline" in caught.value.hint
    assert (tmp_path / "a.whl.part").stat().st_size == 1000
    assert not (tmp_path / "a.whl").exists()
    download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH, retries=0)
    assert server.requests[-1] == ("/a.whl", "bytes=1000-")


def test_a_complete_part_file_needs_no_byte_more(server, tmp_path):
    server.files["/a.whl"] = DATA
    (tmp_path / "a.whl.part").write_bytes(DATA)
    download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH, retries=0)
    assert (tmp_path / "a.whl").read_bytes() == DATA


def test_wrong_hash_names_file_expected_and_got_and_leaves_nothing(server, tmp_path):
    server.files["/a.whl"] = b"other"
    with pytest.raises(FetchError) as caught:
        download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH, size=len(DATA))
    for part in ("a.whl", HASH, sha256(b"other"), "truncated", str(len(DATA))):
        assert part in caught.value.message
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_stale_part_file_does_not_spoil_the_download(server, tmp_path):
    server.files["/a.whl"] = DATA
    (tmp_path / "a.whl.part").write_bytes(b"from another file")
    download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH, retries=1)
    assert (tmp_path / "a.whl").read_bytes() == DATA


def test_missing_file_is_not_asked_for_twice(server, tmp_path):
    with pytest.raises(GoneError, match=r"127\.0\.0\.1 does not have /gone\.whl: HTTP 404"):
        download(f"{server.url}/gone.whl", tmp_path / "a.whl", sha256=HASH)
    assert len(server.requests) == 1


def test_server_error_is_asked_again(server, tmp_path):
    server.files["/a.whl"], server.statuses["/a.whl"] = DATA, [503]
    download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH, retries=1)
    assert len(server.requests) == 2


def test_no_network_names_the_host_and_the_way_out(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nothing listens
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/a.whl"
        with pytest.raises(FetchError, match=r"cannot fetch a\.whl from 127\.0\.0\.1: .*refused") as caught:
            download(url, tmp_path / "a.whl", sha256=HASH, retries=0)
    assert "--mirror" in caught.value.hint


def test_password_is_sent_and_never_shown(server, tmp_path):
    server.files["/a.whl"] = b"x"
    url = server.url.replace("//", "//me:s3cret@")
    with pytest.raises(FetchError) as caught:
        download(f"{url}/a.whl", tmp_path / "a.whl", sha256=HASH)
    assert server.authorizations == ["Basic bWU6czNjcmV0"]
    assert "s3cret" not in caught.value.message + caught.value.hint
    assert "s3cret" not in shown(url)


def test_full_disk_is_a_storage_error(server, tmp_path):
    server.files["/a.whl"] = DATA
    (tmp_path / "a.whl.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="no space left") as caught:
        download(f"{server.url}/a.whl", tmp_path / "a.whl", sha256=HASH)
    assert caught.value.exit_code == 14


def test_place_that_cannot_be_written_is_a_storage_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        download(f"{server.url}/a.whl", tmp_path / "file/a.whl", sha256=HASH)


def test_file_addresses(tmp_path):
    (tmp_path / "source").write_bytes(DATA)
    download((tmp_path / "source").as_uri(), tmp_path / "a.whl", sha256=HASH)
    with pytest.raises(GoneError, match="does not exist"):
        download((tmp_path / "nothing").as_uri(), tmp_path / "b.whl", sha256=HASH)
    with pytest.raises(FetchError, match="neither http"):
        download("ftp://host/x", tmp_path / "b.whl", sha256=HASH)


def test_cache_fetches_once_and_keeps_the_name(server, tmp_path):
    cache = DownloadCache(tmp_path)
    first = cache.obtain(wanted(server))
    assert first.name == "a.whl"
    assert cache.obtain(wanted(server)) == first == cache.get(HASH) == cache.path_for(HASH, "a.whl")
    assert len(server.requests) == 1


def test_many_threads_fetch_one_file_once(server, tmp_path):
    one = wanted(server)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(DownloadCache(tmp_path).obtain(one))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(server.requests) == 1


def test_damaged_cache_entry_is_fetched_again(server, tmp_path):
    cache = DownloadCache(tmp_path)
    one = wanted(server)
    cache.obtain(one).write_bytes(b"rotten")
    assert cache.get(HASH, check=True) is None
    files = obtain_all(cache, [(HASH, "a")], lambda missing: [one] if HASH in missing else [])
    assert files[HASH].read_bytes() == DATA


def test_offline_uses_the_cache_and_says_what_is_missing(server, tmp_path):
    cache = DownloadCache(tmp_path)
    cache.obtain(wanted(server))
    assert obtain_all(cache, [(HASH, "a 1.0")], lambda _: [], offline=True)[HASH].read_bytes() == DATA
    with pytest.raises(FetchError, match=r"b 2\.0 \(sha256 00.*--offline"):
        obtain_all(cache, [(HASH, "a 1.0"), ("00" * 32, "b 2.0")], lambda _: [], offline=True)


def test_file_that_nobody_can_place_is_an_error(tmp_path):
    with pytest.raises(FetchError, match=r"no address is known for b 2\.0"):
        obtain_all(DownloadCache(tmp_path), [("00" * 32, "b 2.0")], lambda _: [])


def test_one_failure_stops_the_other_transfers(server, tmp_path):
    good = wanted(server)
    bad = Wanted(url=f"{server.url}/gone", sha256="00" * 32, filename="gone", size=1 << 30)
    with pytest.raises(GoneError):
        obtain_all(DownloadCache(tmp_path), [(bad.sha256, "gone"), (HASH, "a")], lambda _: [good, bad])


def test_adopt_checks_the_hash(tmp_path):
    (tmp_path / "a.whl").write_bytes(DATA)
    cache = DownloadCache(tmp_path / "cache")
    assert cache.adopt(tmp_path / "a.whl", HASH).read_bytes() == DATA
    with pytest.raises(FetchError, match="wrong hash"):
        cache.adopt(tmp_path / "a.whl", "00" * 32)
