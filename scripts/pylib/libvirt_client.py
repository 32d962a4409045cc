"""What tests that use libvirt-python share: its event loop in a thread, gathered events, codes of errors, guests created
again.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import contextlib
import threading
import time

import libvirt

from patience import PATIENCE


@contextlib.contextmanager
def running_event_loop():
    """libvirt's default event loop, in a thread; must run before the connections are opened."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    libvirt.virEventRegisterDefaultImpl()
    stopping = threading.Event()

    def run():
        while not stopping.is_set():
            libvirt.virEventRunDefaultImpl()

    timer = libvirt.virEventAddTimeout(50, lambda *_: None, None)  # so that it looks at `stopping`
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        libvirt.virEventRemoveTimeout(timer)


class Heard:
    """Events of one kind, gathered: (name of the domain, what the callback is given ...)."""

    def __init__(self, connection, number):
        self.seen = []
        self.changed = threading.Condition()
        self.connection = connection
        self.handle = connection.domainEventRegisterAny(None, number, self.note, None)

    def note(self, _connection, domain, *rest):
        with self.changed:
            self.seen.append((domain.name(), *rest[:-1]))
            self.changed.notify_all()

    def wait(self, fits, seconds=60):
        with self.changed:
            assert self.changed.wait_for(lambda: any(fits(event) for event in self.seen), seconds * PATIENCE), self.seen
            return next(event for event in self.seen if fits(event))


def receive(stream, most=4096, seconds=120):
    """What comes next of a stream that does not block; b"" at its end. Where an event loop runs, virStreamRecv() of a
    stream that blocks may wait for ever, for what came between its look and its wait."""
    until = time.monotonic() + seconds * PATIENCE
    while (part := stream.recv(most)) == -2:
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.01)
    return part


def code_of(call, *arguments):
    """The code of the error that the call ends with."""
    try:
        call(*arguments)
    except libvirt.libvirtError as error:
        return error.get_error_code()
    raise AssertionError(f"{call} succeeded")


def create_again(connection, xml, flags=0):
    """A transient guest of a name that an ended one had.

    libvirtd tells that a guest has stopped, or ended it for a client, before its name is free.
    """
    deadline = time.monotonic() + 60 * PATIENCE
    while True:
        try:
            return connection.createXML(xml, flags)
        except libvirt.libvirtError as error:
            removing = (error.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED and
                        error.get_error_message().endswith("is already being removed"))
            if not removing or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
