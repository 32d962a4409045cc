"""What tests that use libvirt-python share: its event loop in a thread, gathered events, codes of errors, guests created
again.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import atexit
import threading
import time

import libvirt

from patience import PATIENCE


class EventLoop:
    """libvirt's default event loop, in a thread; must run before the connections are opened.

    A process has one, to its end: connections that came while it ran send and answer keep-alives by it, and those of
    later tests are given to it too, whether somebody runs it or not.
    """

    running = None

    @classmethod
    def start(cls):
        cls.running = cls.running or cls()

    def __init__(self):
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        self.is_stopping = False
        self.waker = libvirt.virEventAddTimeout(-1, lambda *_: None, None)
        self.thread = threading.Thread(target=self.run, name="libvirt's events", daemon=True)
        self.thread.start()
        atexit.register(self.stop)

    def run(self):
        while not self.is_stopping:
            libvirt.virEventRunDefaultImpl()

    def stop(self):
        """Before the interpreter goes, which would end the thread wherever it is, perhaps with a lock of libvirt's."""
        self.is_stopping = True
        libvirt.virEventUpdateTimeout(self.waker, 0)
        self.thread.join(10)


_callbacks = []  # (connection, number) of what hear() asked for


def hear(connection, domain, kind, func, opaque=None):
    """As connection.domainEventRegisterAny(), until stop_hearing()."""
    number = connection.domainEventRegisterAny(domain, kind, func, opaque)
    _callbacks.append((connection, number))


def stop_hearing(connection):
    """Comes before connection.close(): a connection with callbacks stays open behind it."""
    for each in [pair for pair in _callbacks if pair[0] is connection]:
        _callbacks.remove(each)
        try:
            connection.domainEventDeregisterAny(each[1])
        except libvirt.libvirtError:
            assert not connection.isAlive()


class Heard:
    """Events of one kind, gathered until stop_hearing(): (name of the domain, what the callback is given ...)."""

    def __init__(self, connection, number):
        self.seen = []
        self.changed = threading.Condition()
        hear(connection, None, number, self.note)

    def note(self, _connection, domain, *rest):
        with self.changed:
            self.seen.append((domain.name(), *rest[:-1]))
            self.changed.notify_all()

    def wait(self, fits, seconds=60):
        with self.changed:
            assert self.changed.wait_for(lambda: any(fits(event) for event in self.seen), seconds * PATIENCE), self.seen
            return next(event for event in self.seen if fits(event))


def receive(stream, most=4096, seconds=120):
    """What comes next of a stream that does not block; b"" at its end. The event loop runs beside the tests:
    virStreamRecv() of a stream that blocks may wait for ever, for what came between its look and its wait."""
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
