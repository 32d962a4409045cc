"""A guest agent played by a test on a channel's socket.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import socket
import threading


class Agent:
    """Answers as qemu-ga does. The engine connects to the socket too, and says nothing."""

    def __init__(self, path):
        self.answers = {}
        self.calls = []
        self.silent = False
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        pending = b""
        while True:
            data = peer.recv(65536)
            if not data:
                return
            pending += data.replace(b"\xff", b"")
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                answer = self.answer(json.loads(line))
                if answer is not None and not self.silent:
                    peer.sendall(answer)

    def answer(self, call):
        name, arguments = call["execute"], call.get("arguments", {})
        if name == "guest-sync-delimited":
            # What an earlier caller left comes first, and is to be passed over.
            return b'{"return": "stale"}\n\xff' + json.dumps({"return": arguments["id"]}).encode() + b"\n"
        self.calls.append((name, arguments))
        if name not in self.answers:
            return b'{"error": {"class": "CommandNotFound", "desc": "The command ' + name.encode() + b' has not been found"}}\n'
        result = self.answers[name]
        return None if result is None else json.dumps({"return": result}).encode() + b"\n"

    def stop(self):
        self.server.close()
