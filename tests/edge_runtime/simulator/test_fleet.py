"""A fleet with pauses, and its networks."""

import socket
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_edge.simulator.device_profiles import DeviceClass, Period
from pocketrec_edge.simulator.fleet import run_fleet
from pocketrec_edge.simulator.loopback_networks import (
    MOST_NETWORKS,
    address_in,
    check_networks,
)
from pocketrec_edge.simulator.plan import Plan
from pocketrec_edge.sync.http import Network
from pocketrec_server.http.networks import network_of

PERIOD = Period(from_hour=0, kb_per_s=100, latency_ms=1, metered=False, charging=True)
KIND = DeviceClass(
    name="a",
    share=1.0,
    cpu_slowdown=1.0,
    memory_mib=4000.0,
    storage_mib=100.0,
    offline_share=0.3,
    period=(PERIOD,),
)


def lived(work: Path, bundle: Path, *pauses: float):
    """Results of three phones of two classes, without times; the pauses with the phones so far."""
    plan = Plan(
        bundle=str(bundle),
        server="http://127.0.0.1:1",
        root=str(work.parent / "1.root.json"),  # a sync fails before it connects
        channel="stable",
        engine="onnx",
        minutes=60,
        anytime=True,
        sync_every_min=7,
        consent=True,
        seed=3,
    )
    phones = 0
    seen = []

    def one_more() -> None:
        nonlocal phones
        phones += 1

    work.mkdir()
    lives = run_fleet(
        [(KIND, 2), (replace(KIND, name="b"), 1)],
        plan,
        work,
        keep=True,
        on_phone=one_more,
        pauses=pauses,
        on_pause=lambda minute: seen.append((minute, phones)),
    )
    results = [
        [replace(result, total_ms=[], first_ms=[]) for result in life.results] for life in lives
    ]
    assert all(life.peak_bytes > 0 for life in lives)
    return results, seen, phones


def test_pauses_change_nothing_that_phones_do(tiny_release, tmp_path):
    plain, none, phones = lived(tmp_path / "plain", tiny_release)
    assert (none, phones) == ([], 3)
    assert [len(results) for results in plain] == [2, 1]
    assert all(result.acts and result.put_off for results in plain for result in results)
    paused, seen, steps = lived(tmp_path / "paused", tiny_release, 0.5, 21, 40.25)
    assert seen == [(0.5, 3), (21, 6), (40.25, 9)]
    assert steps == 12
    assert paused == plain


def test_each_network_is_one_to_the_server():
    names = {network_of(address_in(n)) for n in range(MOST_NETWORKS)}
    assert len(names) == MOST_NETWORKS and network_of("127.0.0.1") not in names


@pytest.mark.parametrize("server", ["http://192.0.2.7:80", "https://example.com", "http://[::1]:1"])
def test_networks_need_a_server_on_the_loopback(server):
    check_networks(1, server)
    with pytest.raises(InputError, match=r"3 networks: .* is not a loopback address of IPv4"):
        check_networks(3, server)


def test_a_system_without_the_addresses_is_told(monkeypatch):
    check_networks(3, "http://127.0.0.1:8080")
    check_networks(3, "http://localhost:8080")

    class NoSuchAddress(socket.socket):
        def bind(self, address):
            raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "socket", NoSuchAddress)
    with pytest.raises(InputError, match=r"cannot send from 127.64.2.1 \(Cannot assign"):
        check_networks(3, "http://127.0.0.1:8080")


def test_requests_come_from_the_source_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        network = Network(source_address=address_in(300))
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        asked = Thread(target=network.exchange, args=("GET", url, {}))
        asked.start()
        connection, (address, _) = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        asked.join()
    assert address == "127.65.44.1"
