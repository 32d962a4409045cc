#!/usr/bin/python3
"""A polkit authority on the bus of DBUS_SYSTEM_BUS_ADDRESS that answers as argv[1] says and prints what it is asked.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import sys

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

NAME = "org.freedesktop.PolicyKit1"
# (is authorized, is a challenge, details)
ANSWERS = {"yes": (True, False, {}), "no": (False, False, {}), "challenge": (False, True, {}),
           "cancelled": (False, False, {"polkit.dismissed": "true"})}


class Authority(dbus.service.Object):
    @dbus.service.method(NAME + ".Authority", in_signature="(sa{sv})sa{ss}us", out_signature="(bba{ss})")
    def CheckAuthorization(self, subject, action, _details, flags, _cancellation):
        kind, facts = subject
        print(kind, action, int(facts["pid"]), int(facts["start-time"]), int(facts["uid"]), int(flags), flush=True)
        allowed, challenge, details = ANSWERS[sys.argv[1]]
        if sys.argv[1] == "yes-to-look":
            allowed = action.endswith("monitor")
        return (allowed, challenge, dbus.Dictionary(details, signature="ss"))

    @dbus.service.method(dbus.PROPERTIES_IFACE, in_signature="s", out_signature="a{sv}")
    def GetAll(self, _interface):
        return dbus.Dictionary({"BackendName": "stub", "BackendVersion": "0", "BackendFeatures": dbus.UInt32(0)}, signature="sv")


ANSWERS["yes-to-look"] = (False, False, {})
DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
name = dbus.service.BusName(NAME, bus)
Authority(bus, "/org/freedesktop/PolicyKit1/Authority")
print("ready", flush=True)
GLib.MainLoop().run()
