"""A client of the remote protocol for tests: knows every procedure from src/schema/remote.tsv.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import array
import os
import re
import socket
import ssl
import struct

from patience import PATIENCE

TABLE = os.path.join(os.path.dirname(__file__), "..", "..", "src", "schema", "remote.tsv")
PROGRAMS = {"remote": 0x20008086, "qemu": 0x20008087, "admin": 0x06900690,
            "keepalive": 0x6B656570}
CALL, REPLY, MESSAGE, STREAM, CALL_WITH_FDS, REPLY_WITH_FDS, STREAM_HOLE = range(7)
OK, ERROR, CONTINUE = range(3)
SIMPLE = {"i": ">i", "u": ">I", "h": ">q", "uh": ">Q", "d": ">d", "c": ">i", "uc": ">I",
          "us": ">I"}


class RpcError(Exception):
    def __init__(self, code, domain, message):
        super().__init__(f"{message} (code {code}, domain {domain})")
        self.code, self.domain, self.message = code, domain, message


class Procedure:
    def __init__(self, row):
        self.program, number, self.name, self.flags, self.args, self.ret, self.access = row
        self.number = int(number)


class Protocol:
    def __init__(self, path=TABLE):
        self.structs, self.procedures = {}, []
        with open(path, encoding="utf-8") as source:
            for line in source:
                if line.startswith("#") or not line.strip():
                    continue
                row = line.rstrip("\n").split("\t")
                if row[0] == "struct":
                    self.structs[row[2]] = self.structs[row[3]] = row[4]
                else:
                    procedure = Procedure(row)
                    self.procedures.append(procedure)
                    if "E" in procedure.flags:
                        self.structs["@" + procedure.name] = procedure.args
        self.by_name = {(p.program, p.name): p for p in self.procedures}

    def members(self, shape):
        for text in shape.split() if shape != "-" else []:
            yield re.fullmatch(r"(\w+):(@?\w+)(\?|\[=?\d+\])?", text).groups()

    # --- encoding ---

    def encode(self, shape, values):
        return b"".join(self.encode_member(kind, suffix, values.get(name))
                        for name, kind, suffix in self.members(shape))

    def encode_member(self, kind, suffix, value):
        if suffix == "?":
            if value is None:
                return struct.pack(">I", 0)
            return struct.pack(">I", 1) + self.encode_one(kind, value)
        if kind == "bytes":
            return self.counted(value or b"")
        if suffix and suffix.startswith("[="):
            size = int(suffix[2:-1])
            value = (value or b"").ljust(size, b"\0")
            return b"".join(struct.pack(">I", byte) for byte in value)
        if suffix:
            value = value or []
            return struct.pack(">I", len(value)) + b"".join(
                self.encode_one(kind, item) for item in value)
        return self.encode_one(kind, value)

    @staticmethod
    def counted(data):
        return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)

    def encode_one(self, kind, value):
        if kind in SIMPLE:
            return struct.pack(SIMPLE[kind], value or 0)
        if kind == "s":
            return self.counted((value if value is not None else "x").encode())
        if kind == "uuid":
            return value or bytes(16)
        if kind == "T":
            return self.encode_typed_param(value)
        return self.encode(self.structs[kind], value or {})

    def encode_typed_param(self, param):
        field, kind, value = param
        head = self.counted(field.encode()) + struct.pack(">I", kind)
        if kind == 7:
            return head + self.counted(value.encode())
        return head + struct.pack({1: ">i", 2: ">I", 3: ">q", 4: ">Q", 5: ">d", 6: ">i"}[kind],
                                  value)

    # --- decoding ---

    def decode(self, shape, data):
        values, at = self.decode_at(shape, data, 0)
        assert at == len(data), f"{len(data) - at} bytes are left"
        return values

    def decode_at(self, shape, data, at):
        out = {}
        for name, kind, suffix in self.members(shape):
            out[name], at = self.decode_member(kind, suffix, data, at)
        return out, at

    def decode_member(self, kind, suffix, data, at):
        if suffix == "?":
            present, at = struct.unpack_from(">I", data, at)[0], at + 4
            return self.decode_one(kind, data, at) if present else (None, at)
        if kind == "bytes":
            return self.counted_at(data, at)
        count = None
        if suffix and suffix.startswith("[="):
            count = int(suffix[2:-1])
        elif suffix:
            count, at = struct.unpack_from(">I", data, at)[0], at + 4
        if count is None:
            return self.decode_one(kind, data, at)
        items = []
        for _ in range(count):
            item, at = self.decode_one(kind, data, at)
            items.append(item)
        return items, at

    @staticmethod
    def counted_at(data, at):
        size = struct.unpack_from(">I", data, at)[0]
        return data[at + 4:at + 4 + size], at + 4 + size + (-size % 4)

    def decode_one(self, kind, data, at):
        if kind in SIMPLE:
            form = SIMPLE[kind]
            return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
        if kind == "s":
            text, at = self.counted_at(data, at)
            return text.decode(), at
        if kind == "uuid":
            return data[at:at + 16], at + 16
        if kind == "T":
            field, at = self.decode_one("s", data, at)
            number, at = struct.unpack_from(">I", data, at)[0], at + 4
            value, at = self.decode_one({1: "i", 2: "u", 3: "h", 4: "uh", 5: "d", 6: "i",
                                         7: "s"}[number], data, at)
            return (field, number, value), at
        return self.decode_at(self.structs[kind], data, at)


class Client:
    """One connection. Events and stream packets that come between replies are kept."""

    def __init__(self, path=None, protocol=None, sock=None):
        self.protocol = protocol or Protocol()
        if sock is None:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(300 * PATIENCE)  # a test that waits in vain fails
            sock.connect(path)
        self.sock = sock
        self.serial = 0
        self.events, self.streams, self.replies = [], [], {}
        self.fds = []
        self.buffer = b""

    def open(self, name="qemu:///system", flags=0):
        self.call("AUTH_LIST")
        self.call("CONNECT_OPEN", name=name, flags=flags)
        return self

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def send(self, procedure, payload, kind=CALL, serial=None, status=OK):
        head = struct.pack(">7I", 28 + len(payload), PROGRAMS[procedure.program], 1,
                           procedure.number, kind, serial or 0, status)
        self.sock.sendall(head + payload)

    def start(self, name, program="remote", /, **values):
        """Sends a call; returns its serial."""
        procedure = self.protocol.by_name[program, name]
        self.serial += 1
        self.send(procedure, self.protocol.encode(procedure.args, values), serial=self.serial)
        return self.serial

    def receive_exactly(self, size):
        while len(self.buffer) < size:
            control = socket.CMSG_LEN(32 * 4)
            if isinstance(self.sock, ssl.SSLSocket):
                data, ancillary = self.sock.recv(1 << 18), []
            else:
                data, ancillary, _, _ = self.sock.recvmsg(1 << 18, control)
            for _, _, raw in ancillary:
                fds = array.array("i")
                fds.frombytes(raw[:len(raw) - len(raw) % 4])
                self.fds.extend(fds)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def receive(self):
        """Takes one message and files it."""
        length = struct.unpack(">I", self.receive_exactly(4))[0]
        data = self.receive_exactly(length - 4)
        program, _, number, kind, serial, status = struct.unpack(">6I", data[:24])
        message = (program, number, kind, serial, status, data[24:])
        if kind in (REPLY, REPLY_WITH_FDS):
            self.replies[serial] = message
        elif kind == MESSAGE:
            self.events.append(message)
        else:
            self.streams.append(message)
        return message

    def wait(self, serial, name, program="remote"):
        while serial not in self.replies:
            self.receive()
        _, _, kind, _, status, payload = self.replies.pop(serial)
        procedure = self.protocol.by_name[program, name]
        if status == ERROR:
            error = self.protocol.decode(self.protocol.structs["error"], payload)
            raise RpcError(error["code"], error["domain"], error["message"])
        if kind == REPLY_WITH_FDS:
            self.receive_exactly(struct.unpack(">I", payload[:4])[0])
            payload = payload[4:]
        return self.protocol.decode(procedure.ret, payload)

    def call(self, name, program="remote", /, **values):
        return self.wait(self.start(name, program, **values), name, program)
