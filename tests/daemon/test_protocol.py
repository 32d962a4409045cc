"""The protocol as raw bytes: numbers, errors, access, limits, events.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import socket
import struct

import pytest
import rpc

CODE_INTERNAL, CODE_NO_SUPPORT, CODE_DENIED, CODE_RPC = 1, 3, 29, 39


def callable_procedures(*programs):
    protocol = rpc.Protocol()
    return [p for p in protocol.procedures if "E" not in p.flags and p.program in programs]


def test_unknown_procedure_is_answered_as_clients_expect(lodged):
    with lodged.client().open() as client:
        procedure = rpc.Procedure(["remote", "999", "NO_SUCH", "-", "-", "-", "open"])
        client.protocol.by_name["remote", "NO_SUCH"] = procedure
        with pytest.raises(rpc.RpcError) as caught:
            client.call("NO_SUCH")
    assert caught.value.code == CODE_RPC
    assert caught.value.domain == 7
    assert caught.value.message.startswith("unknown procedure")


def test_every_write_is_refused_on_the_read_only_socket(lodged):
    refused, allowed = [], []
    with lodged.client("-ro").open() as client:
        for procedure in callable_procedures("remote", "qemu"):
            if procedure.name in ("CONNECT_OPEN", "CONNECT_CLOSE"):
                continue
            try:
                client.call(procedure.name, procedure.program)
            except rpc.RpcError as error:
                if error.code == CODE_DENIED:
                    refused.append(procedure)
                    continue
            allowed.append(procedure)
    assert not [p.name for p in allowed if p.access.startswith("write")]
    assert not [p.name for p in refused if not p.access.startswith("write")]
    # A second look that does not come from the table: verbs that change something.
    verbs = ("_CREATE", "_DEFINE", "_UNDEFINE", "_DESTROY", "_DELETE", "_SET_", "_ATTACH",
             "_DETACH", "_RESUME", "_SUSPEND", "_REBOOT", "_SHUTDOWN", "_SAVE", "_RESTORE",
             "_MIGRATE_P", "_PIN_", "_RESIZE", "_UPLOAD", "_DOWNLOAD", "_OPEN_", "_SCREENSHOT",
             "_SEND_", "_PEEK", "_COMMAND", "_WIPE", "_RENAME", "_REVERT", "_BEGIN")
    names = {p.name for p in allowed}
    suspicious = [n for n in names if any(v in n for v in verbs)
                  and not re.search("_DEFINED_|_PIN_INFO|MANAGED_SAVE_(GET|IMAGE)|_IS_", n)]
    assert not suspicious


@pytest.mark.parametrize("name,values", [
    ("DOMAIN_GET_XML_DESC", {"flags": 1}),
    ("DOMAIN_GET_XML_DESC", {"flags": 8}),
    ("DOMAIN_INTERFACE_ADDRESSES", {"source": 1}),
    ("DOMAIN_GET_VCPUS_FLAGS", {"flags": 8}),
])
def test_reads_that_show_more_are_refused_read_only(lodged, name, values):
    with lodged.client("-ro").open() as client:
        with pytest.raises(rpc.RpcError) as caught:
            client.call(name, **values)
        assert caught.value.code == CODE_DENIED


def test_nothing_is_answered_before_open(lodged):
    with lodged.client() as client:
        for procedure in callable_procedures("remote", "qemu"):
            if procedure.access == "open" or procedure.name in ("CONNECT_OPEN",
                                                                "CONNECT_SUPPORTS_FEATURE"):
                continue
            with pytest.raises(rpc.RpcError) as caught:
                client.call(procedure.name, procedure.program)
            assert caught.value.code == CODE_INTERNAL, procedure.name


def test_every_procedure_answers_something(lodged):
    """Default arguments to all of them: a reply, and the daemon lives."""
    with lodged.client().open() as client:
        for procedure in callable_procedures("remote", "qemu"):
            if procedure.name in ("CONNECT_OPEN", "CONNECT_CLOSE"):
                continue
            try:
                client.call(procedure.name, procedure.program)
            except rpc.RpcError:
                pass
        assert client.call("CONNECT_GET_TYPE")["type"] == "QEMU"


def test_bytes_after_the_arguments_are_refused(lodged):
    with lodged.client().open() as client:
        procedure = client.protocol.by_name["remote", "CONNECT_GET_TYPE"]
        client.send(procedure, b"\0\0\0\0", serial=77)
        with pytest.raises(rpc.RpcError) as caught:
            client.wait(77, "CONNECT_GET_TYPE")
        assert caught.value.code == CODE_RPC


def test_replies_carry_the_serials_of_pipelined_calls(lodged):
    with lodged.client().open() as client:
        serials = [client.start("CONNECT_GET_LIB_VERSION") for _ in range(500)]
        for serial in reversed(serials):
            assert client.wait(serial, "CONNECT_GET_LIB_VERSION")["lib_ver"] > 9000000


def test_node_info_has_the_size_on_the_wire_that_clients_expect(lodged):
    with lodged.client().open() as client:
        serial = client.start("NODE_GET_INFO")
        while serial not in client.replies:
            client.receive()
        assert len(client.replies[serial][5]) == 128 + 32
        serial = client.start("NODE_GET_SECURITY_MODEL")
        while serial not in client.replies:
            client.receive()
        assert len(client.replies[serial][5]) == 36


def test_events_of_unknown_numbers_cannot_be_registered(lodged):
    with lodged.client().open() as client:
        first = client.call("CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY", eventID=0)
        second = client.call("CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY", eventID=27)
        assert first["callbackID"] != second["callbackID"]
        with pytest.raises(rpc.RpcError):
            client.call("CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY", eventID=28)
        client.call("CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY",
                    callbackID=first["callbackID"])
        with pytest.raises(rpc.RpcError):
            client.call("CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY",
                        callbackID=first["callbackID"])


@pytest.mark.parametrize("length", [0, 27, 33554437, 0xFFFFFFFF])
def test_a_length_out_of_bounds_ends_the_connection(lodged, length):
    with lodged.client().open() as client:
        client.sock.sendall(struct.pack(">7I", length, 0x20008086, 1, 3, 0, 1, 0))
        with pytest.raises(ConnectionError):
            client.receive()


def test_a_descriptor_with_a_call_is_closed_where_none_is_wanted(lodged):
    with lodged.client().open() as client:
        client.call("CONNECT_GET_TYPE")
        before = lodged.count_fds()
        procedure = client.protocol.by_name["remote", "CONNECT_GET_TYPE"]
        for serial in range(100, 120):
            client.send(procedure, struct.pack(">I", 1), kind=rpc.CALL_WITH_FDS, serial=serial)
            null = os.open("/dev/null", os.O_RDONLY)
            socket.send_fds(client.sock, [b"\0"], [null])
            os.close(null)
            assert client.wait(serial, "CONNECT_GET_TYPE")["type"] == "QEMU"
        assert lodged.count_fds() == before


def test_unasked_descriptors_end_the_connection(lodged):
    before = lodged.count_fds()
    with lodged.client().open() as client:
        null = os.open("/dev/null", os.O_RDONLY)
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for _ in range(50):
                socket.send_fds(client.sock, [b"\0"], [null])
            while True:
                client.receive()
        os.close(null)
    assert lodged.count_fds() <= before


def test_keepalive_pings_are_answered(lodged):
    with lodged.client().open() as client:
        client.send(client.protocol.by_name["keepalive", "PING"], b"", kind=rpc.MESSAGE)
        message = client.receive()
        assert message[:3] == (rpc.PROGRAMS["keepalive"], 2, rpc.MESSAGE)
